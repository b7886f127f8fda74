"""Jobs that are recognised on S3 have artifacts of their own there."""

from dataclasses import replace
from pathlib import Path

from grown_study import LARGE, SMALL, finish
from recorded_run import write_matrix
from s3_servers import Service

from orchestrator.opening import open_study
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.select import find_job
from orchestrator.schedule.recognition import recognise
from orchestrator.store.s3.store import S3Store

ROW = "context-k1"
RETURN = f"evaluate/return/{ROW}/s0"


def test_a_recognised_job_is_fetched_by_a_machine_that_has_never_seen_the_other(
    moto_service: Service, tmp_path: Path
) -> None:
    matrix = write_matrix(tmp_path / "project" / "matrix.yaml")
    small, large = (open_study(matrix, overrides=overrides).plan for overrides in (SMALL, LARGE))
    stages = ("data", "evaluate", "index", "latents", "train")
    location = moto_service.location(tmp_path / "here")
    store = S3Store(location)
    finish(large, store, ROW, stages=stages)
    job, whole = find_job(small, RETURN), find_job(large, RETURN)
    assert recognise([job], FinishedItems(store.commits(), store.read), store) == {job.fingerprint}
    store.withdraw(whole.fingerprint)
    other = S3Store(replace(location, cache=str(tmp_path / "there")))
    assert (other.fetch(job.fingerprint) / "cases.jsonl").is_file()
    assert other.read(job.fingerprint).items == job.items
