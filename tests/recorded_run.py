"""A run of the shipped matrix as it is recorded, without one: its plan in the ledger, its results in the store."""

from dataclasses import replace
from pathlib import Path

from toy_study import commit_of

from orchestrator.host.checkpoints import attempt_folder
from orchestrator.last_run import cluster_json
from orchestrator.plan.select import select
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.study import Study

SHIPPED = Path(__file__).parents[1] / "matrix.yaml"


def write_matrix(path: Path) -> Path:
    """A copy of the shipped matrix, with its two small profiles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small, mark, _ = SHIPPED.read_text(encoding="utf-8").partition("\n  study:")
    assert mark
    path.write_text(f"{small}\n", encoding="utf-8")
    return path


def record(study: Study, at: float, **selection: object) -> Study:
    """What `run` records before it starts anything."""
    settings = cluster_json(study.cluster, study.cluster_file)
    with Ledger.open(study.home / NAME) as ledger:
        ledger.record_plan(study.plan, selection, matrix=study.matrix, at=at, settings=settings)
    return study


def run(study: Study, at: float, rows: str = "context-k1") -> frozenset[str]:
    """Record a run, and the results of one row; returns their fingerprints."""
    record(study, at, rows=rows)
    return make_results(study, rows)


def make_results(study: Study, rows: str) -> frozenset[str]:
    """Commit a result of each job of these rows that has none; returns their fingerprints."""
    jobs, wanted = study.plan.jobs, select(study.plan, rows)
    for job in (job for job in jobs.values() if job.id in wanted and job.fingerprint not in study.store.commits()):
        folder = study.store.prepare(job.stage, job.fingerprint, "a001-x")
        (folder / "result.txt").write_text(job.label, encoding="utf-8")
        attempt_folder(study.home, job.fingerprint, "a001-x").mkdir(parents=True)
        (attempt_folder(study.home, job.fingerprint, "a001-x") / "log.txt").write_text("a line", encoding="utf-8")
        inputs = {stage: {"fingerprint": jobs[need].fingerprint} for stage, need in job.inputs.items()}
        study.store.commit(replace(commit_of(job, "a001-x"), inputs=inputs), folder)
    return frozenset(jobs[job].fingerprint for job in wanted)
