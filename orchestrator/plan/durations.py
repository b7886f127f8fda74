"""Measured durations of jobs, summed by what jobs have in common; estimates are made from them. Pure."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

ANY = "*"
"""In place of a profile: durations of all profiles together."""

SHARED = ""
"""In place of a row: jobs of stages that depend on no row."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long a job took that ended well, and what had been estimated."""

    fingerprint: str
    stage: str
    branch: str
    """Empty: its stage has none."""
    row: str
    """`SHARED`, or its first cell's row."""
    smoke: bool
    profile: str
    """Of the plan; empty: not known."""
    backend: str
    """Where it ran; empty: not known."""
    kind: str
    """The kind of device, as in its commit record; empty: not known."""
    cpus: int
    """0: it is not known where it ran, nor with how many devices."""
    devices: int
    flops: float | None
    """None: not known."""
    seconds: float
    """All attempts that its result is made of; time in a queue is not counted."""
    estimated_s: float | None = None
    """As estimated when its run began; None: not known."""
    basis: str = ""
    """Of that estimate."""


@dataclass
class SumOfDurations:
    """Durations that were measured alike."""

    number: int = 0
    seconds: float = 0.0
    timed_flops: float = 0.0
    """FLOPs of those where they are known and not 0."""
    timed_s: float = 0.0
    """Their seconds, times the devices of each."""
    unit_s: float = 0.0
    """All seconds, times the devices of each."""

    def add(self, one: Duration) -> None:
        """Add a duration."""
        units = max(1, one.devices)
        self.number += 1
        self.seconds += one.seconds
        self.unit_s += one.seconds * units
        if one.flops:
            self.timed_flops += one.flops
            self.timed_s += one.seconds * units

    def seconds_of(self, flops: float | None, devices: int) -> float:
        """Estimated duration of a job of this kind; devices share the work evenly."""
        if flops and self.timed_flops:
            return self.timed_s / self.timed_flops * flops / max(1, devices)
        return self.unit_s / self.number / max(1, devices)


@dataclass
class MeasuredDurations:
    """What was measured on one class of hosts, those with devices or those without."""

    backend: str
    kind: str = ""
    """The newest kind of device that was measured with this backend, else with any."""
    of_backend: bool = False
    """Whether `kind` was measured with this backend."""
    by_kind: dict[str, dict[tuple[str, ...], SumOfDurations]] = field(default_factory=dict)

    def add(self, one: Duration) -> None:
        """Add a duration; those before it are of earlier jobs."""
        own = one.backend == self.backend
        if one.kind and (own or not self.of_backend):
            self.kind, self.of_backend = one.kind, own
        sums = self.by_kind.setdefault(one.kind, {})
        for key in keys_of(one.stage, one.branch, one.row, one.smoke):
            sums.setdefault((one.profile, *key), SumOfDurations()).add(one)
            sums.setdefault((ANY, *key), SumOfDurations()).add(one)

    @property
    def sums(self) -> Mapping[tuple[str, ...], SumOfDurations]:
        """Those of `kind`, else those where the kind of device is not known."""
        return ChainMap(self.by_kind.get(self.kind, {}), self.by_kind.get("", {}))


def keys_of(stage: str, branch: str, row: str, smoke: bool) -> tuple[tuple[str, ...], ...]:
    """What a job has in common with others, from the closest to the widest."""
    stage = f"{stage} smoke" if smoke else stage
    return (stage, branch, row), (stage, branch), (stage,)
