"""Progress of a run, for its view: what each live attempt does, and when it and the run will end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.plan.forecast import AHEAD, Forecaster, LiveTime
from orchestrator.plan.job import Job, State
from orchestrator.plan.makespan import Capacity
from orchestrator.schedule.attempt_monitor import WatchedAttempt
from orchestrator.schedule.job_states import JobStates


@dataclass(frozen=True, kw_only=True)
class AttemptProgress:
    """How far a live attempt has got."""

    label: str
    step: int
    of: int
    """0: not known."""
    phase: str
    elapsed_s: float
    eta_s: float | None = None
    """Estimated seconds until it ends; None: not known."""
    rate: float | None = None
    """Steps per second; None: not known."""
    metric: tuple[str, float] | None = None
    """Name and latest value of the metric that is shown."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far the run has got, for one refresh of the screen."""

    counts: Mapping[State, int]
    attempts: Sequence[AttemptProgress]
    """Longest running first."""
    elapsed_s: float
    eta_s: float | None
    """Estimated seconds until all is done; None: nothing to estimate from."""
    stops_in_s: float | None = None
    """The run is being stopped: seconds until attempts that have not stopped are killed; None: it is not."""


def progress_of(watched: WatchedAttempt, forecaster: Forecaster, now: float) -> AttemptProgress:
    """How far a live attempt has got; the time left is that of its steps, else that of its estimate if measured."""
    time = live_time(watched, now)
    eta_s = time.left_s
    if eta_s is None:
        estimate = forecaster.of(watched.job)
        eta_s = estimate.left_s(time.elapsed_s) if estimate.basis == "measured" else None
    phase = watched.phase or ("running" if watched.running else watched.waiting_reason.partition(":")[0] or "waiting")
    return AttemptProgress(
        label=watched.job.label,
        step=watched.step,
        of=watched.of,
        phase="unknown" if watched.unknown else phase,
        elapsed_s=now - watched.submitted_at,
        eta_s=eta_s if eta_s is not None and eta_s >= 0 and watched.running and not watched.unknown else None,
        rate=watched.pace.rate,
        metric=shown_metric(watched.job, watched.values),
    )


def live_time(watched: WatchedAttempt, now: float) -> LiveTime:
    """Time of a live attempt, at monotonic time `now`; while it waits for its turn, nothing has elapsed."""
    if not watched.running:
        return LiveTime(elapsed_s=0.0)
    if watched.started_at is None:  # an earlier controller saw it start
        return LiveTime(elapsed_s=now - watched.submitted_at, left_s=watched.pace.left_s(now))
    started = watched.started_at[1]
    return LiveTime(elapsed_s=now - started, left_s=watched.pace.left_s(now, started, watched.begun))


def shown_metric(job: Job, values: Mapping[str, float]) -> tuple[str, float] | None:
    """Name and value of the metric of a job that people see: its stage's `curve`, else `loss`; None: there is none."""
    name = job.spec.curve or "loss"
    return (name, values[name]) if name in values else None


def remaining_s(
    states: JobStates, live: Sequence[WatchedAttempt], forecaster: Forecaster, now: float, capacity: Capacity
) -> float | None:
    """Estimated seconds until all jobs that can run are done; the forecast of the first lines and of `status`.

    Where the capacity is not known, at so many attempts a time as there are now. None before anything was measured or
    while no attempt is live.
    """
    if not live:
        return None
    ids = {job_id for job_id in states.open_jobs() if states.state(job_id) in AHEAD}
    times = {watched.job.id: live_time(watched, now) for watched in live}
    left = forecaster.forecast(ids, capacity if capacity.is_known else Capacity(attempts=len(live)), times)
    return left.makespan_s if left.is_known else None
