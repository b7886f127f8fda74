"""Registered or explored: what was declared before the first evaluation, beside the findings."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.formats import commits
from reports.input import Registration, RegistrationStatus
from reports.measured import Measured
from reports.registration import metric_statuses

WORDS: Mapping[RegistrationStatus, str] = {
    "registered": "registered before the first evaluation",
    "changed": "changed after they were registered",
    "explored": "explored, not registered",
}
SHOWN = 12
"""Names of a line; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class RegistrationPart:
    """The section."""

    intro: str
    lines: Sequence[tuple[str, str, str]]
    """(what, its status in words, names)."""
    changes: Sequence[tuple[str, Sequence[str]]]
    """(when, what was changed) of each change after the registration."""


def registration_part(given: Registration | None, found: Measured) -> RegistrationPart | None:
    """The section; None: nothing was registered."""
    if given is None:
        return None
    when = f"Registered {_utc(given.at)}" + (f" at commit {commits(given.commit)}" if given.commit else "")
    late = (
        f", after {given.evaluations} evaluations were done, so that nothing counts as registered"
        if given.evaluations
        else ""
    )
    metrics = metric_statuses(given, found.means)
    lines = [
        *_lines("findings", given.findings),
        *_lines("rows", given.rows),
        *_lines("metrics", metrics),
    ]
    changed = [
        (f"amended {_utc(one.at)}, {one.evaluations} evaluations done by then", one.changes)
        for one in given.amendments
        if one.evaluations
    ]
    if given.changes:
        changed.append(("in all, from the registration to this report", given.changes))
    return RegistrationPart(intro=f"{when}{late}; digest {given.digest[:12]}.", lines=lines, changes=changed)


def _lines(what: str, statuses: Mapping[str, RegistrationStatus]) -> list[tuple[str, str, str]]:
    found = []
    for status, words in WORDS.items():
        names = [name for name, one in statuses.items() if one == status]
        if len(names) == len(statuses) and len(names) > SHOWN:
            found.append((what, words, f"all {len(names)}"))
        elif names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            found.append((what, words, ", ".join(names[:SHOWN]) + more))
    return found


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
