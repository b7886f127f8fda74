"""The run context: what every part of one run shares, and the settings that a run takes from cluster/*.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.events import RunEvents
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.resilient_store import ResilientStore
from orchestrator.schedule.retry_policy import RetryLimits


class ExecutionSettings(Protocol):
    """What a request takes from cluster/*.yaml; nothing of it enters a fingerprint."""

    @property
    def grace_s(self) -> float:
        """Seconds between being asked to stop and being killed."""

    @property
    def checkpoint_every_s(self) -> float:
        """Seconds between checkpoints."""

    @property
    def deepspeed(self) -> Mapping[str, Any]:
        """DeepSpeed settings beside those the study fixes."""

    @property
    def deterministic(self) -> bool:
        """Deterministic kernels."""

    @property
    def keep(self) -> Literal["weights", "full"]:
        """What is published of a training."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Where things lie that the study names only."""


class ClusterSettings(ExecutionSettings, Protocol):
    """What the controller takes from cluster/*.yaml."""

    @property
    def retries(self) -> RetryLimits:
        """How many endings of each kind a job survives."""

    @property
    def pause_after(self) -> int:
        """Number of jobs that fail alike before their stage is paused."""

    @property
    def unknown_s(self) -> float:
        """Seconds to wait while only attempts of unknown state are left."""

    @property
    def avoid_s(self) -> float:
        """Seconds for which a host is excluded after two endings without progress."""

    @property
    def on_event(self) -> str | None:
        """The user's notification command."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What every part of one run shares; made once, by `run`."""

    plan: Plan
    home: Path
    """`outputs/{study}`."""
    clock: Clock
    store: ResilientStore
    ledger: Ledger
    events: RunEvents
    settings: ClusterSettings

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """All jobs of the plan by fingerprint."""
        return {job.fingerprint: job for job in self.plan.jobs.values()}
