"""`echo-matrix sync`: sends everything that is committed to MLflow; idempotent."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.plan.job import Plan, Standing
from orchestrator.requirements import require_libraries
from orchestrator.store.protocol import PROGRAM, Store
from orchestrator.tracking.mlflow.tracker import LOG, MlflowTracker
from orchestrator.tracking.protocol import JobChange

TIMEOUT_S = 3600.0


def sync(
    plan: Plan,
    standings: Mapping[str, Standing],
    store: Store,
    home: Path,
    uri: str | None = None,
    say: Callable[[str], None] = lambda _text: None,
    variables: Sequence[str] = (),
) -> int:
    """Send all completed jobs of `plan`, and the states of the others; returns how many completed jobs were sent.

    Nothing may be running: the run of a cell that has neither completed nor failed is set KILLED.

    Args:
        plan: the whole matrix of the profile.
        standings: by job id.
        store: of the study.
        home: `outputs/{study}`.
        uri: of the MLflow server; None: SQLite in `home`.
        say: is told what the user should know.
        variables: `environment.tracking` of the cluster file.

    Raises:
        RequirementError: MLflow is not installed.
        TrackingError: MLflow could not be written; says why, and where the log is.
        StoreError: an artifact cannot be read.
    """
    require_libraries(("mlflow",), "`sync`")
    told: list[str] = []
    tracker = MlflowTracker(home, plan, uri, told.append, hurried=True, variables=variables)
    tracker.start(standings)
    done = store.commits()
    shown = 0
    for job in plan.jobs.values():
        standing = standings.get(job.id, Standing(state="new", reason=""))
        if not job.spec.tracked:
            continue
        if job.fingerprint in done:
            commit = store.read(job.fingerprint)
            finished = Standing(state="done", reason=standing.reason)
            folder = store.fetch(job.fingerprint)
            made_by = commit.versions.get(PROGRAM, "")
            tracker.job_changed(JobChange(job.id, finished, commit.attempt, None, folder, commit.git, made_by))
            shown += 1
        elif standing.state in ("failed", "cancelled"):
            tracker.job_changed(JobChange(job.id, standing))
    report = home / "report"
    if (report / "index.html").is_file():
        tracker.report(report)
    if not tracker.close(TIMEOUT_S):
        raise TrackingError(
            f"not everything was sent to MLflow: {tracker.problem}; log: {home / LOG}; then `echo-matrix sync` again"
        )
    for text in told:
        say(text)
    return shown
