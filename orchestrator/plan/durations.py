"""Measured durations of jobs, kept by what makes jobs comparable; estimates are made from them. Pure."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.plan.estimates import StageDurations

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
    p95_s: float | None = None
    """Its 95 % quantile; None: not known."""
    share: float = 1.0
    """Of a whole job's time, where it made a part of its items and its FLOPs are not known."""


@dataclass
class MeasuredDurations:
    """What was measured on one class of hosts, those with devices or those without."""

    backend: str
    kind: str = ""
    """The newest kind of device that was measured with this backend, else with any."""
    of_backend: bool = False
    """Whether `kind` was measured with this backend."""
    by_kind: dict[str, dict[tuple[str, str], StageDurations]] = field(default_factory=dict)
    """Kind of device -> stage and what makes its jobs comparable (`comparable`) -> durations."""
    version: int = 0
    """Changes when estimates change."""

    def add(self, one: Duration) -> None:
        """Add a duration; those before it are of earlier jobs."""
        own = one.backend == self.backend
        if one.kind and (own or not self.of_backend) and (self.kind, self.of_backend) != (one.kind, own):
            self.kind, self.of_backend = one.kind, own
            self.version += 1
        stages = self.by_kind.setdefault(one.kind, {})
        for key in comparable(one.stage, one.smoke, one.profile, one.flops):
            stage = stages.setdefault(key, StageDurations())
            stage.add(one.branch, one.row, one.seconds / one.share, one.devices, one.flops)
            self.version += stage.needs_fit()

    @property
    def is_elsewhere(self) -> bool:
        """Whether all was measured with another backend, perhaps on other machines."""
        return bool(self.kind) and not self.of_backend

    @property
    def stages(self) -> Mapping[tuple[str, str], StageDurations]:
        """Those of `kind`, else those where the kind of device is not known."""
        return ChainMap(self.by_kind.get(self.kind, {}), self.by_kind.get("", {}))


def comparable(stage: str, smoke: bool, profile: str, flops: float | None) -> tuple[tuple[str, str], ...]:
    """Keys under which a duration is kept and an estimate looked for, the closest first.

    FLOPs make jobs of all profiles comparable; without them nothing else tells how large a job is. A job that computes
    next to nothing says nothing of those that compute.
    """
    if flops is not None and not smoke:
        return ((stage, "flops" if flops else "idle"),)
    stage = f"{stage} smoke" if smoke else stage
    return (stage, f"profile {profile}"), (stage, "any profile")
