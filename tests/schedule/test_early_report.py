"""The report is begun when the last job has ended, not when the backend has, and prepared shortly before."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from finished_study import finished_study
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.commands.run import early_report
from orchestrator.commands.run.early_report import AHEAD_S, EarlyReport
from orchestrator.errors import ArtifactMissing
from orchestrator.reporting.results_cache import NAME
from orchestrator.schedule.events import Event
from orchestrator.study import Study


class SaysWhenItCloses(FakeBackend):
    """A backend that writes down when it is closed."""

    order: list[str]

    def close(self) -> None:
        """See `Backend`."""
        self.order.append("closed")
        super().close()


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(SaysWhenItCloses, "order", found, raising=False)
    return found


def test_what_follows_the_last_job_begins_before_the_backend_is_closed(tmp_path: Path, order: list[str]) -> None:
    toy = Toy(tmp_path)
    toy.backend_type = SaysWhenItCloses
    assert toy.run(small_plan("a"), on_settled=lambda: order.append("settled")).exit_code == 0
    assert order == ["settled", "closed"]
    assert toy.run(small_plan("a"), on_settled=lambda: order.append("settled")).exit_code == 0
    assert order == ["settled", "closed"], "with nothing to start there is no backend to wait for"


def test_nothing_follows_a_run_that_is_stopped(tmp_path: Path, order: list[str]) -> None:
    toy = Toy(tmp_path)
    toy.backend_type = SaysWhenItCloses

    def press(event: Event) -> None:
        if event.kind == "started":
            os.kill(os.getpid(), signal.SIGINT)

    outcome = toy.run(
        small_plan("a"),
        {"data": [Act(seconds=60.0)]},
        observe=press,
        on_settled=lambda: order.append("settled"),
    )
    assert outcome.interrupted
    assert order == ["closed"]


def test_every_tick_says_how_long_the_run_is_estimated_to_take(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    left: list[float | None] = []

    def watch(event: Event) -> None:
        if event.kind == "tick":
            left.append(event.left_s)

    toy.run(small_plan("a"), {"data": [Act(seconds=30.0)]}, observe=watch)
    known = [one for one in left if one is not None]
    assert known and known[-1] < known[0]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return finished_study(tmp_path / "study", monkeypatch)


@pytest.mark.slow  # a whole report
def test_it_is_prepared_near_the_end_and_has_what_is_done_when_it_is_begun(study: Study) -> None:
    report, cache = EarlyReport(study), study.home / NAME
    for left_s in (None, 10 * AHEAD_S):
        report.expect_end(left_s)
    report.then(str).result()
    assert not cache.exists()
    for left_s in (AHEAD_S, 1.0):
        report.expect_end(left_s)
    report.then(str).result()
    assert cache.exists()
    late = next(job for job in study.plan.jobs.values() if job.branch is not None)
    study.store.withdraw(late.fingerprint)
    assert not (report.begun or report.is_there)
    report.begin()
    assert report.written() and report.begun and report.is_there
    cell = next(cell for cell in study.plan.cells if cell.id in late.cells)
    lines = (study.report_folder / "results.csv").read_text(encoding="utf-8").splitlines()
    of_cell = [line for line in lines if line.startswith(f"{cell.row},{cell.seed},")]
    assert of_cell and not [line for line in of_cell if f",{late.branch}," in line]
    assert not EarlyReport(study).written(), "one that nobody has begun"


def test_who_waits_for_it_is_told_what_is_damaged(study: Study) -> None:
    job = next(job for job in study.plan.jobs.values() if job.branch is not None)
    (study.store.fetch(job.fingerprint) / "cases.jsonl").unlink()
    report = EarlyReport(study)
    report.begin()
    with pytest.raises(ArtifactMissing, match=r"cases\.jsonl is gone"):
        report.written()


def test_a_rehearsal_has_none(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsed = replace(study, cluster=replace(study.cluster, backend="fake"))
    monkeypatch.setattr(early_report, "report_of", lambda _study: pytest.fail("results without a meaning"))
    report = EarlyReport(rehearsed)
    report.expect_end(1.0)
    report.begin()
    assert not (report.begun or report.written() or (study.home / NAME).exists())
