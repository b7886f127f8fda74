"""Run context: what every part of one run shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from orchestrator.plan.durations import Duration
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.events import RunEvents
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.order import First
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
    finished: FinishedItems
    """What jobs may take over; grows with each job that is done."""
    expected: Mapping[str, JobEstimate]
    """Job id -> its estimate when the run began."""
    budget: Budget = field(default_factory=Budget)
    first: First | None = None
    """Which parts of the study are to be finished first; None: what begins the longest chain."""

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """All jobs of the plan by fingerprint."""
        return {job.fingerprint: job for job in self.plan.jobs.values()}

    def duration_of(self, job: Job, seconds: float, kind: str) -> Duration:
        """The duration of a job that took so long on this kind of device."""
        expected, flops = self.expected.get(job.id), self.forecaster.flops_of(job)
        return Duration(
            fingerprint=job.fingerprint,
            stage=job.stage,
            branch=job.branch or "",
            row=self.forecaster.row_of(job),
            smoke=job.smoke,
            profile=self.plan.profile,
            backend=self.settings.backend,
            kind=kind,
            cpus=job.resources.cpus,
            devices=job.resources.devices,
            flops=flops,
            seconds=seconds,
            estimated_s=None if expected is None else expected.seconds,
            basis="" if expected is None else expected.basis,
            p95_s=None if expected is None else expected.quantile(0.95),
            share=self.forecaster.share_of(job) if flops is None else 1.0,
        )
