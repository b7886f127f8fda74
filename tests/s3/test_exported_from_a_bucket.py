"""`export` of a study whose results are in a bucket: the same crate, and nothing is fetched that is not in it."""

import shutil
from pathlib import Path

import pytest
from finished_study import finished_study
from s3_proxy import faulty
from s3_servers import Service

from orchestrator.crate.writing import write_crate
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store
from orchestrator.study import Study


def test_a_study_in_a_bucket_gives_the_same_crate_and_no_weights_are_fetched(
    moto_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = finished_study(tmp_path / "study", monkeypatch)
    with faulty(moto_service) as proxy:
        location = moto_service.behind(proxy.endpoint).location(tmp_path / "here")
        uploaded(study, make_store(location))
        elsewhere = moto_service.behind(proxy.endpoint).location(tmp_path / "there", location.url.rpartition("/")[2])
        expected = write_crate(study, tmp_path / "files")
        proxy.clear()
        study.__dict__["store"] = make_store(elsewhere)
        made = write_crate(study, tmp_path / "bucket")
        assert proxy.seen("GET", "cases.jsonl") and not proxy.seen("GET", "result.bin")
    assert (made.digest, made.done) == (expected.digest, 19)


def uploaded(study: Study, bucket: Store) -> None:
    """Publish the results of a finished study again, dependencies first."""
    for job in study.plan.jobs.values():
        commit = study.store.read(job.fingerprint)
        folder = bucket.prepare(job.stage, job.fingerprint, commit.attempt)
        for path in study.store.fetch(job.fingerprint).iterdir():
            if path.name != "manifest.json":
                shutil.copyfile(path, folder / path.name)
        assert bucket.commit(commit, folder)
