"""Results of an older version: made under fingerprints that mean something else, so that no plan has them any more."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.store.protocol import PROGRAM, VERSION, Commit
from orchestrator.wording import counted

LOOKED_AT = 8
"""Commit records that are read to tell: those of one store are of one version, unless the study was begun anew."""


@dataclass(frozen=True, kw_only=True)
class OlderResults:
    """Results that no plan of this version has."""

    number: int
    made_by: str
    """The newest version among those that were looked at."""

    def __str__(self) -> str:
        """For people: one sentence."""
        of = f"echo-matrix {self.made_by}" if self.made_by else "an older version"
        results = counted(self.number, "result")
        return (
            f"the store has {results} of {of}, whose fingerprints mean something else, so this study starts anew; they "
            f"stay where they are: {of} shows and exports them (`results`, `export`)"
        )


def older_results(
    commits: frozenset[str], own: frozenset[str], read: Callable[[str], Commit | None]
) -> OlderResults | None:
    """The results of an older version in a store that has none of a plan; None: it has some, or a newer version's.

    Args:
        commits: fingerprints of the store's commit records.
        own: of the plan's jobs.
        read: a commit record; None: it cannot be read.
    """
    if not commits or not commits.isdisjoint(own):
        return None
    # Fingerprints are digests: the first by name are any.
    found = [record for name in sorted(commits)[:LOOKED_AT] if (record := read(name)) is not None]
    if not found or any(record.version >= VERSION for record in found):
        return None
    newest = max(found, key=lambda record: record.ended)
    return OlderResults(number=len(commits), made_by=newest.versions.get(PROGRAM, ""))
