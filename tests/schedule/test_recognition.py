"""Jobs whose items are all in another job's artifact are done without being run, each with an artifact of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
from grown_study import LARGE, SMALL, finish
from recorded_run import write_matrix

from orchestrator.errors import StoreError
from orchestrator.opening import open_study
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.select import find_job
from orchestrator.schedule.recognition import recognise
from orchestrator.store.files import FilesStore
from orchestrator.store.lineage import is_recognised
from orchestrator.store.protocol import Commit

ROW = "context-k1"
RETURN = f"evaluate/return/{ROW}/s0"


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    """A small study and a large one."""
    matrix = write_matrix(tmp_path_factory.mktemp("project") / "matrix.yaml")
    return open_study(matrix, overrides=SMALL).plan, open_study(matrix, overrides=LARGE).plan


@pytest.fixture
def store(tmp_path: Path) -> FilesStore:
    return FilesStore(tmp_path / "store")


def finished_in(store: FilesStore) -> FinishedItems:
    return FinishedItems(store.commits(), store.read)


def open_jobs(plan: Plan, store: FilesStore) -> list[Job]:
    return [job for job in plan.jobs.values() if job.fingerprint not in store.commits()]


def test_a_subset_is_recognised_with_linked_files_and_its_own_records(
    plans: tuple[Plan, Plan], store: FilesStore
) -> None:
    small, large = plans
    finish(large, store, ROW)
    found = recognise(open_jobs(small, store), finished_in(store), store)
    job, whole = find_job(small, RETURN), find_job(large, RETURN)
    assert job.fingerprint in found and job.fingerprint != whole.fingerprint
    commit, made = store.read(job.fingerprint), store.read(whole.fingerprint)
    assert (commit.items, len(commit.items), len(made.items)) == (job.items, 12, 20)
    assert (commit.job, commit.label, commit.taken) == (job.id, job.label, {whole.fingerprint: made.manifest})
    assert set(commit.origins.values()) == {made.manifest}
    assert (commit.inputs, commit.measured) == (made.inputs, made.measured)
    assert is_recognised(commit)
    one, other = (store.fetch(name) / "cases.jsonl" for name in (job.fingerprint, whole.fingerprint))
    assert one.stat().st_ino == other.stat().st_ino, "no byte is copied"
    store.withdraw(whole.fingerprint)
    assert store.verify(job.fingerprint) / "cases.jsonl" == one, "it needs nothing of the other"


def test_a_training_reads_training_scenes_alone_so_that_nothing_of_it_is_to_do(
    plans: tuple[Plan, Plan], store: FilesStore
) -> None:
    small, large = plans
    finish(small, store, ROW)
    grown = finish(large, store, ROW)
    assert not [label for label in grown if label.startswith(("train", "index"))]
    assert len(grown[RETURN].missing) == 8
    assert {len(growth.missing) for label, growth in grown.items() if label.startswith("evaluate/loop")} <= {0, 1, 2}


def test_recognised_twice_is_once(plans: tuple[Plan, Plan], store: FilesStore) -> None:
    small, large = plans
    finish(large, store, ROW)
    jobs, finished = open_jobs(small, store), finished_in(store)
    assert recognise(jobs, finished, store)
    attempts = {name: store.read(name).attempt for name in store.commits()}
    recognise(jobs, finished_in(store), store)
    assert {name: store.read(name).attempt for name in store.commits()} == attempts


class Dying(FilesStore):
    """A store whose machine dies before the second commit."""

    committed = 0

    def commit(self, commit: Commit, folder: Path) -> bool:
        if self.committed == 1:
            raise KeyboardInterrupt
        self.committed += 1
        return super().commit(commit, folder)


def test_killed_in_the_middle_it_goes_on_where_it_was(plans: tuple[Plan, Plan], tmp_path: Path) -> None:
    small, large = plans
    store = FilesStore(tmp_path / "store")
    finish(large, store, ROW)
    before, jobs = store.commits(), open_jobs(small, store)
    with pytest.raises(KeyboardInterrupt):
        recognise(jobs, finished_in(store), Dying(tmp_path / "store"))
    assert len(store.commits() - before) == 1
    recognise(open_jobs(small, store), finished_in(store), store)
    wanted = {job.fingerprint for job in jobs if finished_in(store).growth(job).within}
    assert wanted and wanted <= store.commits()
    assert all(store.verify(name) for name in store.commits())


class ReadOnly(FilesStore):
    """A store on a disk that cannot be written."""

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        raise StoreError(f"{self}: read-only file system")


def test_a_store_that_cannot_be_written_is_told(plans: tuple[Plan, Plan], tmp_path: Path) -> None:
    small, large = plans
    store = FilesStore(tmp_path / "store")
    finish(large, store, ROW)
    with pytest.raises(StoreError, match="read-only file system"):
        recognise(open_jobs(small, store), finished_in(store), ReadOnly(tmp_path / "store"))


def test_a_job_whose_artifact_is_gone_meanwhile_is_run(plans: tuple[Plan, Plan], store: FilesStore) -> None:
    small, large = plans
    finish(large, store, ROW)
    job, finished = find_job(small, RETURN), finished_in(store)
    assert finished.growth(job).within
    (store.fetch(find_job(large, RETURN).fingerprint) / "cases.jsonl").unlink()
    assert job.fingerprint not in recognise([job], finished, store)
    assert job.fingerprint not in store.commits()


def test_what_was_made_from_a_result_that_was_made_again_since_is_not_taken_over(
    plans: tuple[Plan, Plan], store: FilesStore
) -> None:
    small, large = plans
    finish(large, store, ROW)
    train = find_job(large, f"train/{ROW}/s0")
    store.withdraw(train.fingerprint)
    job = find_job(small, RETURN)
    assert not finished_in(store).growth(job).within, "what it was made from is gone"
    folder = store.prepare("train", train.fingerprint, "a002-y")
    (folder / "result.txt").write_text("another training", encoding="utf-8")
    first = next(iter(store.withdrawn()))
    assert first.fingerprint == train.fingerprint
    again = replace(store.read(find_job(large, "index/s0").fingerprint), fingerprint=train.fingerprint, stage="train")
    assert store.commit(replace(again, attempt="a002-y", manifest=""), folder)
    assert not finished_in(store).growth(job).within and not finished_in(store).growth(job).taken
