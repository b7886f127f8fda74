"""What the tracker is told of a run whose store has a bad day."""

import shutil
from pathlib import Path

import pytest
from faulty_store import FaultyStore
from toy_study import Toy, make_job, make_plan

from orchestrator.commands.run.run_study import TrackerObserver
from orchestrator.schedule.events import Event
from orchestrator.tracking.none import NoTracker
from orchestrator.tracking.protocol import JobChange

PLAN = make_plan([make_job("train", "train/a")])


class Told(NoTracker):
    """Remembers what it was told."""

    def __init__(self, *, behind: bool = False) -> None:
        self.said: list[tuple[str, Path | None]] = []
        self.changes: list[JobChange] = []
        self.behind = behind

    def job_changed(self, change: JobChange) -> None:
        self.said.append((change.standing.state, change.artifact))
        self.changes.append(change)

    def wants_all(self) -> bool:
        return self.behind


def done(told: Told) -> list[Path | None]:
    return [artifact for state, artifact in told.said if state == "done"]


@pytest.mark.parametrize("call", ["fetch", "read"])
def test_a_job_that_is_done_is_told_with_its_artifact_though_the_store_failed_once(tmp_path: Path, call: str) -> None:
    toy, told = Toy(tmp_path / "toy"), Told()
    projection = TrackerObserver(told, FaultyStore(toy.store, script={call: ["fail", "fail"]}), PLAN)
    assert toy.run(PLAN, observe=projection).exit_code == 0
    projection.finish()
    (job,) = PLAN.jobs.values()
    assert set(done(told)) == {toy.store.fetch(job.fingerprint)}


def test_a_store_that_hangs_does_not_hold_the_loop_for_what_the_tracker_is_told(tmp_path: Path) -> None:
    toy, told = Toy(tmp_path / "toy"), Told()
    store = FaultyStore(toy.store, script={"fetch": ["hang"] * 9})
    projection = TrackerObserver(told, store, PLAN)
    assert toy.run(PLAN, observe=projection).exit_code == 0
    assert done(told) == []
    store.calm()
    projection.finish()
    assert None not in done(told)
    assert done(told)


def test_a_job_whose_artifact_is_gone_is_told_as_done_all_the_same(tmp_path: Path) -> None:
    toy, told = Toy(tmp_path / "toy"), Told()
    projection = TrackerObserver(told, toy.store, PLAN)

    def lose(event: Event) -> None:
        if event.standing is not None and event.standing.state == "done":
            shutil.rmtree(toy.home / "store" / "artifacts", ignore_errors=True)
        projection(event)

    assert toy.run(PLAN, observe=lose).exit_code == 0
    projection.finish()
    assert done(told)
    assert set(done(told)) == {None}


@pytest.mark.parametrize(
    ("behind", "everything", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_what_earlier_runs_have_completed_is_told_at_the_end_if_the_tracker_is_behind(
    tmp_path: Path, behind: bool, everything: bool, shown: bool
) -> None:
    toy, told = Toy(tmp_path / "toy"), Told(behind=behind)
    assert toy.run(PLAN).exit_code == 0
    projection = TrackerObserver(told, toy.store, PLAN)
    assert toy.run(PLAN, observe=projection).submitted == 0
    projection.finish(everything=everything)
    (job,) = PLAN.jobs.values()
    assert done(told) == ([toy.store.fetch(job.fingerprint)] if shown else [])


def test_a_job_is_told_with_the_times_of_its_commit_record(tmp_path: Path) -> None:
    toy, told = Toy(tmp_path / "toy"), Told(behind=True)
    projection = TrackerObserver(told, toy.store, PLAN)
    assert toy.run(PLAN, observe=projection).exit_code == 0
    projection.finish()
    (job,) = PLAN.jobs.values()
    commit = toy.store.read(job.fingerprint)
    (last,) = [change for change in told.changes if change.standing.state == "done"]
    assert (last.started, last.ended, last.manifest) == (commit.started, commit.ended, commit.manifest)
    assert told.changes[-2].standing.state == "running" and told.changes[-2].started is not None
