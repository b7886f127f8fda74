"""`echo-matrix reshard JOB`: the converted checkpoint is that of a new attempt, and the next one resumes from it."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_training import train_once, train_request, zero

from orchestrator.commands.reshard import convert_checkpoint
from orchestrator.errors import PlanError
from orchestrator.host.checkpoints import attempt_folder, newest_checkpoint
from orchestrator.opening import open_study
from orchestrator.plan.job import Job
from orchestrator.schedule.ledger.database import NAME, Attempt, JobRecord, Ledger
from orchestrator.study import Study

Pool = dict[str, str]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Study:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    return open_study(root / "matrix.yaml")


@pytest.fixture
def job(study: Study) -> Job:
    """A training that failed because it was to go on with other shards."""
    job = next(job for job in study.plan.jobs.values() if job.label == "train/ssm-blockwise/s0")
    with Ledger.open(study.home / NAME) as ledger:
        ledger.record_intent(
            Attempt(
                id="a001-old",
                fingerprint=job.fingerprint,
                job=job.id,
                label=job.label,
                stage=job.stage,
                host="h",
                intended=1.0,
                ended=2.0,
                ending="bad_input",
                step=4,
            )
        )
        ledger.record_job(
            JobRecord(fingerprint=job.fingerprint, state="failed", reason="shards", stage="train", signature="", at=2.0)
        )
    return job


def test_the_converted_checkpoint_is_what_the_next_attempt_resumes_from(
    study: Study, job: Job, pool: Pool, tmp_path: Path
) -> None:
    request = train_request(
        tmp_path / "training",
        pool,
        "ssm-blockwise",
        training={"sample_every": 0, "steps": 6},
        how={"deepspeed": zero(1)},
    )
    train_once(request, stop_at=4)
    old = attempt_folder(study.home, job.fingerprint, "a001-old") / "checkpoints"
    shutil.copytree(Path(request.work) / "checkpoints", old)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}

    made = convert_checkpoint(study, job, ranks=2, stage=2)

    newest = newest_checkpoint(study.home, job.fingerprint)
    assert newest is not None
    assert (newest.path, newest.step, newest.attempt) == (made.checkpoint, made.step, made.attempt)
    state = json.loads((newest.path / "state.json").read_text(encoding="utf-8"))
    assert (state["world_size"], state["zero_stage"], state["step"]) == (2, 2, made.step)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    with Ledger.read(study.home / NAME) as ledger:
        booked = ledger.attempts(job.fingerprint)[-1]
        assert ledger.job_records() == {}
    assert (booked.id, booked.ending, booked.step) == (made.attempt, "interrupted", made.step)
    assert booked.detail == "made by `reshard` from a001-old: 2 ranks, ZeRO 2"
    assert study.standings()[job.id].state == "retry"


def test_what_cannot_be_converted_is_refused_and_nothing_is_left_of_the_try(study: Study, job: Job) -> None:
    with pytest.raises(PlanError, match="has no complete checkpoint; `echo-matrix run` starts it from the beginning"):
        convert_checkpoint(study, job, ranks=2, stage=1)
    step = attempt_folder(study.home, job.fingerprint, "a001-old") / "checkpoints" / "step-4"
    step.mkdir(parents=True)
    (step / "manifest.json").write_text(json.dumps({"step": 4, "files": []}), encoding="utf-8")
    with pytest.raises(PlanError, match=r"train/ssm-blockwise/s0: .*state\.json"):
        convert_checkpoint(study, job, ranks=2, stage=1)
    assert [folder.name for folder in step.parents[2].iterdir()] == ["a001-old"]
    data = next(job for job in study.plan.jobs.values() if job.stage == "data")
    with pytest.raises(PlanError, match="have no shards to convert"):
        convert_checkpoint(study, data, ranks=2, stage=1)
