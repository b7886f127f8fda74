"""What a finished study costs in requests: its listing, and files only where they are read."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from finished_study import finished_study
from s3_proxy import FaultProxy, faulty
from s3_servers import Service

from orchestrator.commands.run.run_study import report_of
from orchestrator.opening import open_study
from orchestrator.reporting.rebuild import report_if_needed
from orchestrator.store.protocol import RECENT_S
from orchestrator.store.s3 import objects
from orchestrator.study import Study

PAGE = 7


@pytest.fixture(scope="module")
def proxy(moto_service: Service) -> Iterator[FaultProxy]:
    with faulty(moto_service) as proxy:
        yield proxy


def lists(proxy: FaultProxy) -> int:
    return proxy.seen("GET", "list-type=2")


def test_a_finished_study_costs_its_listing(proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = finished_study(tmp_path / "study", monkeypatch)
    place = proxy.service.behind(proxy.endpoint).location(tmp_path)
    Path("s3.yaml").write_text(
        f"backend: ray\nstore: {{kind: s3, url: '{place.url}', endpoint: '{place.endpoint}', region: us-east-1, "
        f"cache: '{tmp_path / 'cache'}'}}\n",
        encoding="utf-8",
    )

    def opened() -> Study:
        """As a new process has it."""
        return open_study(Path("matrix.yaml"), cluster=Path("s3.yaml"))

    study = opened()
    for job in study.plan.jobs.values():
        folder = study.store.prepare(job.stage, job.fingerprint, "a001")
        shutil.copytree(local.store.fetch(job.fingerprint), folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        (folder / "weights.bin").write_bytes(b"large")
        assert study.store.commit(replace(local.store.read(job.fingerprint), manifest=""), folder)
    shutil.rmtree(tmp_path / "cache")  # as another machine has it
    monkeypatch.setattr(objects, "PAGE", PAGE)
    pages = -(-len(study.plan.jobs) // PAGE)

    proxy.clear()
    study = opened()
    assert report_if_needed(study.report_folder, study.plan, study.standings(), study.store)
    assert lists(proxy) == pages
    assert proxy.seen("GET", "weights.bin") == 0
    assert (study.report_folder / "results.csv").stat().st_size > 0

    for nothing_changed in (
        lambda study: study.standings(),
        lambda study: report_if_needed(study.report_folder, study.plan, study.standings(), study.store),
        lambda study: study.standings() and report_of(study, RECENT_S),
    ):
        proxy.clear()
        nothing_changed(opened())
        assert (lists(proxy), proxy.seen()) == (pages, pages)
