"""What the ledger holds, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.backends.protocol import Placement
from workloads.contract.request import Stage


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a job, as booked."""

    id: str
    fingerprint: str
    job: str
    label: str
    stage: str
    backend: str
    """Host it was placed on; empty where a rebuilt ledger does not know."""
    intended: float
    """When it was decided, by the driver's clock, seconds since 1970; for people: clocks go back."""
    ticket: str = ""
    """The backend's name for it; empty until its answer is booked."""
    started: float | None = None
    ended: float | None = None
    ending: str | None = None
    """None while it is open."""
    detail: str = ""
    begun: int = -1
    """Step of the checkpoint it resumed from; -1: from the start."""
    step: int = -1
    """Newest complete checkpoint it left; -1: none."""
    signature: str = ""
    """What makes its traceback equal to another's; empty without one."""
    cpus: int = 0
    """Of its place on the host; 0 where a rebuilt ledger does not know."""
    devices: tuple[int, ...] = ()
    """Numbers of the host's devices that it holds."""

    @property
    def placement(self) -> Placement:
        """Where it was placed."""
        return Placement(host=self.backend, cpus=self.cpus, devices=self.devices)


@dataclass(frozen=True, kw_only=True)
class JobNote:
    """What is held against a job: it failed, or it was cancelled."""

    fingerprint: str
    state: Literal["failed", "cancelled"]
    reason: str
    stage: Stage
    signature: str
    at: float


@dataclass(frozen=True, kw_only=True)
class LastPlan:
    """How the last plan was asked for; the report shows the same."""

    profile: str
    overrides: tuple[str, ...]
    selection: Mapping[str, Any]
