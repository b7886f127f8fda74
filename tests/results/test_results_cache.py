"""What a report has read is not read again, and a report with the cache is the report without it."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from finished_study import finished_study
from many_results import change_one, finished_of
from recorded_run import write_matrix
from toy_study import commit_of

from orchestrator.commands.gc.garbage import find_garbage, remove_garbage
from orchestrator.opening import HOME_VARIABLE
from orchestrator.plan.job import Job
from orchestrator.reporting.collect import report_input
from orchestrator.reporting.rebuild import DIGEST, report_if_needed
from orchestrator.reporting.results_cache import NAME, ResultsCache
from orchestrator.store.files import FilesStore
from orchestrator.study import Study
from reports.input import ReportInput


class CountingStore(FilesStore):
    """A store that remembers which artifacts were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        """See `FilesStore`."""
        self.opened.append(fingerprint)
        return super().fetch_files(fingerprint, patterns)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return finished_study(tmp_path / "study", monkeypatch)


def read(study: Study, *, cached: bool = True) -> tuple[ReportInput, set[str]]:
    """The report's input, and the labels of the jobs whose artifacts were opened for it."""
    store = CountingStore(Path(study.store_location.folder))
    cache = ResultsCache.of(study.home) if cached else None
    given = report_input(study.plan, study.standings(), store, cache=cache)
    labels = {job.fingerprint: job.label for job in study.plan.jobs.values()}
    return given, {labels[one] for one in store.opened}


def evaluation(study: Study) -> Job:
    return next(job for job in study.plan.jobs.values() if job.branch is not None)


def make_again(study: Study, job: Job, value: float) -> None:
    """Withdraw a result, and commit one with another first value."""
    before = study.store.fetch(job.fingerprint)
    study.store.withdraw(job.fingerprint)
    folder = study.store.prepare(job.stage, job.fingerprint, "a9")
    for file in sorted(before.rglob("cases.jsonl")):
        first, *others = file.read_text(encoding="utf-8").splitlines()
        lines = [json.dumps({**json.loads(first), "value": value}), *others]
        to = folder / file.relative_to(before)
        to.parent.mkdir(exist_ok=True)
        to.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert study.store.commit(commit_of(job, "a9"), folder)


def test_only_the_job_that_changed_is_read_again(study: Study) -> None:
    _, first = read(study)
    assert {job.label for job in study.plan.jobs.values() if job.branch is not None} <= first
    assert read(study)[1] == set()
    changed = evaluation(study)
    make_again(study, changed, 0.125)
    given, opened = read(study)
    assert opened == {changed.label}
    assert 0.125 in {value.value for value in given.values}
    assert given == read(study, cached=False)[0]


def test_values_that_are_no_numbers_come_back(study: Study) -> None:
    trained = next(job for job in study.plan.jobs.values() if job.spec.curve)
    study.store.withdraw(trained.fingerprint)
    folder = study.store.prepare(trained.stage, trained.fingerprint, "a9")
    line = {"step": 1, "name": trained.spec.curve, "value": float("nan"), "wall": 1.0}
    (folder / "metrics.jsonl").write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    assert study.store.commit(commit_of(trained, "a9"), folder)
    read(study)
    assert repr(read(study)[0]) == repr(read(study, cached=False)[0]), "nan differs from itself, its text does not"


def damage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def write_other_entries(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET content = '[[1]]'")


def make_of_other_code(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 7")
        database.execute("UPDATE entries SET content = '[]'")


def remove_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE entries")


def link_elsewhere(path: Path) -> None:
    elsewhere = path.with_name("elsewhere.sqlite")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    "harm", [Path.unlink, damage, write_other_entries, make_of_other_code, remove_table, link_elsewhere]
)
def test_a_cache_that_cannot_be_used_costs_a_look_and_is_made_again(study: Study, harm: Callable[[Path], None]) -> None:
    given, _ = read(study)
    harm(study.home / NAME)
    again, opened = read(study)
    assert again == given
    assert opened
    assert read(study)[1] == set()


def test_a_folder_that_cannot_be_written_has_no_cache(study: Study) -> None:
    (study.home / NAME).mkdir()
    given, opened = read(study)
    assert opened and given == read(study, cached=False)[0]
    assert read(study)[1] == opened


def test_gc_removes_the_cache_of_results_that_are_gone(study: Study) -> None:
    read(study)
    assert not [one for one in find_garbage(study).garbage if one.where.endswith(NAME)]
    study.store.withdraw(evaluation(study).fingerprint)
    found = find_garbage(study)
    [cache] = [one for one in found.garbage if one.where.endswith(NAME)]
    assert cache.what == "cache of what reports read, of results that are gone too"
    remove_garbage(study, found, lambda _text: None)
    assert not (study.home / NAME).exists()


@pytest.mark.slow  # reports of the shipped matrix
def test_a_report_with_the_cache_has_the_bytes_of_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "outputs"))
    study = finished_of(write_matrix(tmp_path / "matrix.yaml"), 2)
    read(study)
    change_one(study, "a9")
    warm, cold = study.report_folder, tmp_path / "without"
    told = study.plan, study.standings(), study.store
    assert report_if_needed(warm, *told, cache=ResultsCache.of(study.home))
    assert report_if_needed(cold, *told)
    names = sorted(path.name for path in cold.iterdir() if path.name != DIGEST)
    assert "index.html" in names
    assert {name: (warm / name).read_bytes() == (cold / name).read_bytes() for name in names} == dict.fromkeys(
        names, True
    )
