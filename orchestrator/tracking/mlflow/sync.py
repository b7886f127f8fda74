"""`echo-matrix sync`: sends everything that is committed to MLflow; idempotent."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from orchestrator.errors import TrackingError
from orchestrator.plan.job import Plan, Standing
from orchestrator.requirements import require_libraries
from orchestrator.store.protocol import Store
from orchestrator.tracking.mlflow.child import LOG
from orchestrator.tracking.mlflow.tracker import WITHIN_S, MlflowTracker
from orchestrator.tracking.replay import RecordedAttempt, completed_change, ended_change
from reports.input import PAGE


def sync(
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    home: Path,
    uri: str | None = None,
    say: Callable[[str], None] = lambda _text: None,
    attempts: Mapping[str, Sequence[RecordedAttempt]] = MappingProxyType({}),
    variables: Sequence[str] = (),
) -> int:
    """Send all completed jobs of `plan`, and the states of the others; returns how many completed jobs were sent.

    Nothing may be running: the run of a cell that is shown as running is set KILLED, or SCHEDULED if it waits.

    Args:
        plan: all rows of the plan.
        standings: by job id.
        store: of the study.
        home: `outputs/{study}`.
        uri: of the MLflow server; None: SQLite in `home`.
        say: is told what the user should know.
        attempts: by job fingerprint, for the times of jobs that failed.
        variables: `environment.tracking` of the cluster file.

    Raises:
        RequirementError: MLflow is not installed.
        TrackingError: MLflow could not be written; says why, and where the log is.
        StoreError: an artifact cannot be read.
    """
    require_libraries(("mlflow",), "`sync`")
    told: list[str] = []
    tracker = MlflowTracker(home, plan, uri, told.append, live=False, variables=variables)
    tracker.start(standings)
    done = store.commits()
    shown = 0
    for job in plan.jobs.values():
        standing = standings.get(job.id, Standing(state="new", reason=""))
        if not job.spec.tracked:
            continue
        if job.fingerprint in done:
            tracker.job_changed(completed_change(job, store))
            shown += 1
        elif standing.state in ("failed", "cancelled"):
            tracker.job_changed(ended_change(job, standing, attempts.get(job.fingerprint, ())))
    report = home / "report"
    if (report / PAGE).is_file():
        tracker.report(report)
    if not tracker.close(WITHIN_S):
        raise TrackingError(
            f"not everything was sent to MLflow: {tracker.problem}; log: {home / LOG}; then `echo-matrix sync` again"
        )
    for text in told:
        say(text)
    return shown
