"""Run context: what every part of one run shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestrator.plan.forecast import Forecaster, JobEstimate
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.events import RunEvents
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.resilient_store import ResilientStore
from orchestrator.spec.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Made once, by `run`."""

    plan: Plan
    home: Path
    """`outputs/{study}`."""
    clock: Clock
    store: ResilientStore
    ledger: Ledger
    events: RunEvents
    settings: Cluster
    forecaster: Forecaster
    """Estimates durations; learns from each job that ends well."""
    expected: Mapping[str, JobEstimate]
    """Job id -> its estimate when the run began."""

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """All jobs of the plan by fingerprint."""
        return {job.fingerprint: job for job in self.plan.jobs.values()}
