"""Growth: which finished jobs have items of a job that is not done, so that it makes the missing ones only.

Nothing here reads a store: records are given by a function, and are asked for only where a fingerprint has the base of
a job that is open.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.plan.fingerprint import base_of
from orchestrator.plan.job import Job


class FinishedJob(Protocol):
    """What is read of a commit record."""

    @property
    def fingerprint(self) -> str:
        """Of the job."""

    @property
    def items(self) -> Mapping[str, str]:
        """Item -> content."""

    @property
    def measured(self) -> str:
        """Digest of what they were measured with."""

    @property
    def manifest(self) -> str:
        """sha256 of the list of its files."""

    @property
    def inputs(self) -> Mapping[str, Mapping[str, str]]:
        """Stage -> fingerprint and manifest of what it has read."""


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """Items of a finished job that another takes over."""

    fingerprint: str
    items: tuple[str, ...]
    """Sorted."""
    measured: bool
    """They were measured with the same too."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What finished jobs have of the items of an open one."""

    taken: tuple[TakenOver, ...] = ()
    missing: tuple[str, ...] = ()
    """Items that have to be made."""
    removed: int = 0
    """Items of those missing that a finished job has made, and whose videos `gc` has removed."""
    within: str = ""
    """Fingerprint of a finished job whose artifact is all that this one would make; empty: there is none."""

    @property
    def measured_again(self) -> int:
        """Items that are taken over and measured in another way."""
        return sum(len(one.items) for one in self.taken if not one.measured)


NONE = Growth()

LEAST_SHARE = 0.02
"""Of a whole job's work: one that lacks no item has values of all of them to make, and is not idle."""


@dataclass(frozen=True, kw_only=True)
class ItemCounts:
    """How many items some jobs want, and where they are from."""

    wanted: int = 0
    taken: int = 0
    """That finished jobs have: all those of a job that is done."""
    measured_again: int = 0
    """Of those taken, the ones that are measured in another way."""

    @property
    def missing(self) -> int:
        """That have to be made."""
        return self.wanted - self.taken

    @property
    def missing_share(self) -> float:
        """Of those wanted, 0 to 1."""
        return self.missing / self.wanted if self.wanted else 1.0

    def __add__(self, other: "ItemCounts") -> "ItemCounts":
        """Of both together."""
        return ItemCounts(
            wanted=self.wanted + other.wanted,
            taken=self.taken + other.taken,
            measured_again=self.measured_again + other.measured_again,
        )


def counts_of(job: Job, growth: Growth | None, *, done: bool) -> ItemCounts | None:
    """The items of a job; None: it has none, or none that are counted for people.

    Args:
        job: of a plan.
        growth: of it, while it is not done; None: nothing is known of finished jobs.
        done: whether it is.
    """
    if not job.items or not job.spec.item:
        return None
    wanted = len(job.items)
    if done:
        return ItemCounts(wanted=wanted, taken=wanted)
    found = growth or NONE
    taken = sum(len(one.items) for one in found.taken)
    return ItemCounts(wanted=wanted, taken=taken, measured_again=found.measured_again)


def share_left(growth: Callable[[Job], Growth]) -> Callable[[Job], float]:
    """Which share of a job's work is left, once what others have made is taken over; above 0, at most 1.

    Args:
        growth: of a job.
    """

    def left(job: Job) -> float:
        found = growth(job) if job.items else NONE
        return max(LEAST_SHARE, len(found.missing) / len(job.items)) if job.items and found.taken else 1.0

    return left


class FinishedItems:
    """The items of finished jobs, by base."""

    def __init__(
        self,
        commits: Iterable[str],
        read: Callable[[str], FinishedJob | None],
        removed: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """Take fingerprints of finished jobs, what reads the record of one, and which of them have no videos any more.

        A record that `read` does not give is not taken over from.
        """
        self._read = read
        self._removed = removed
        self._by_base: dict[str, set[str]] = {}
        self._records: dict[str, FinishedJob | None] = {}
        for fingerprint in commits:
            self.add(fingerprint)

    def add(self, fingerprint: str) -> None:
        """Another job has finished."""
        self._by_base.setdefault(base_of(fingerprint), set()).add(fingerprint)

    def growth(self, job: Job) -> Growth:
        """What finished jobs have of the items of a job that is not done."""
        if job.items is None:
            return NONE
        there = (self._record(fingerprint) for fingerprint in self._by_base.get(job.base, ()))
        records = [record for record in there if record is not None and record.items and self._stands(record)]
        if job.spec.continued:
            return _continued(job, records)
        left = dict(job.items)
        taken: list[TakenOver] = []
        pooled = job.is_pooled
        # Those that were measured alike come first, then those with most items; the order is always the same.
        records.sort(key=lambda one: (one.measured != job.measured, -len(one.items), one.fingerprint))
        for record in records:
            if not pooled and record.measured == job.measured and job.items.items() <= record.items.items():
                return Growth(within=record.fingerprint)
        lacking: dict[str, None] = {}
        for record in records:
            if self._lacks_videos(record):
                lacking |= dict.fromkeys(name for name, content in left.items() if record.items.get(name) == content)
                continue
            names = tuple(name for name, content in left.items() if record.items.get(name) == content)
            if names:
                same = record.measured == job.measured
                taken.append(TakenOver(fingerprint=record.fingerprint, items=names, measured=same))
            for name in names:
                del left[name]
        return Growth(taken=tuple(taken), missing=tuple(left), removed=sum(name in left for name in lacking))

    def _lacks_videos(self, record: FinishedJob) -> bool:
        """Whether its videos were removed, or those that it has read: others of the same cases may have other bits."""
        removed = self._removed()
        sources = (read.get("fingerprint", "") for read in record.inputs.values())
        return record.fingerprint in removed or any(source in removed for source in sources)

    def _stands(self, record: FinishedJob) -> bool:
        """Whether what it was made from is still there, and was not made again since."""
        for read in record.inputs.values():
            fingerprint = read.get("fingerprint", "")
            there = fingerprint in self._by_base.get(base_of(fingerprint), ())
            source = self._record(fingerprint) if there else None
            if source is None or source.manifest != read.get("manifest"):
                return False
        return True

    def _record(self, fingerprint: str) -> FinishedJob | None:
        if fingerprint not in self._records:
            self._records[fingerprint] = self._read(fingerprint)
        return self._records[fingerprint]


def _continued(job: Job, records: Iterable[FinishedJob]) -> Growth:
    """A job is done by no other one of its base: it begins with the state of the longest that it is the same as."""
    most = min(job.step, job.budget - 1)  # one without a step left would have nothing to tell
    others = [one for one in records if one.fingerprint != job.fingerprint]
    able = [(item, one.fingerprint) for one in others for item in one.items if int(item) <= most]
    missing = tuple(job.items or ())
    if not able:
        return Growth(missing=missing)
    item, fingerprint = max(able)
    return Growth(taken=(TakenOver(fingerprint=fingerprint, items=(item,), measured=False),), missing=missing)
