"""`run --race` on a study whose jobs are finished by hand: rungs, interruptions, the record, the report, refusals."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Set
from pathlib import Path

import pytest
from finished_study import finish, finished_study

from orchestrator.cli import app
from orchestrator.commands.options import Selection
from orchestrator.commands.run import race as race_verb
from orchestrator.commands.run.race import Racing, run_race
from orchestrator.commands.run.report import report_of
from orchestrator.commands.run.run_study import FinishedRun
from orchestrator.crate.description import CrateDescription, read_description
from orchestrator.crate.layout import STUDY
from orchestrator.errors import PlanError
from orchestrator.opening import open_study
from orchestrator.plan.job import Standing, State
from orchestrator.plan.select import with_needs
from orchestrator.reporting.race_record import race_file
from orchestrator.reporting.registration.changes import changes
from orchestrator.reporting.registration.content import content_of
from orchestrator.results import Results
from orchestrator.schedule.run import RunResult
from orchestrator.study import Study
from reports.spec import RaceSpec, ReportSpec
from workloads.contract.workload import Workload

SPEC = RaceSpec(metric="shifted", baseline="linear", margin=0.05)
FIVE = "seeds=[0,1,2,3,4]"


class Runs:
    """Finishes what it is asked for, at most so many jobs in all; counts the trainings of each rung."""

    def __init__(self, study: Study, most: int = 10_000, broken: Set[str] = frozenset()) -> None:
        self._study = study
        self._broken = broken
        self.most = most
        self.rungs: list[Counter[str]] = []

    def __call__(self, selected: Collection[str]) -> FinishedRun:
        plan, standings = self._study.plan, self._study.standings()
        lost = {job for job in selected if self._broken & with_needs(plan, [job])}
        jobs = (job for job in plan.jobs.values() if job.id in selected and job.id not in lost)
        todo = [job for job in jobs if standings[job.id].state != "done"]
        done, self.most = todo[: self.most], self.most - len(todo)
        for job in done:
            finish(self._study, job)
        self.rungs.append(Counter(job.label.split("/")[1] for job in done if job.stage == "train"))
        left = len(todo) - len(done)
        counts: dict[State, int] = {"done": len(selected) - left - len(lost), "new": left, "failed": len(lost)}
        outcome = RunResult(counts=counts, failures=(), interrupted=left > 0, submitted=len(done))
        return FinishedRun(outcome=outcome, report=None, written=False, summary="")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Five seeds, of which two are done; a race writes no report."""
    finished_study(tmp_path, monkeypatch)
    declared(monkeypatch, SPEC)
    monkeypatch.setattr(race_verb, "report_of", lambda _study: False)
    return open_study(Path("matrix.yaml"), overrides=[FIVE])


def declared(monkeypatch: pytest.MonkeyPatch, spec: RaceSpec | None) -> None:
    def spec_of(_workload: Workload) -> ReportSpec:
        return ReportSpec(race=spec)

    for module in (
        "orchestrator.commands.run.race",
        "orchestrator.reporting.collect",
        "orchestrator.reporting.rebuild",
    ):
        monkeypatch.setattr(f"{module}.report_spec", spec_of)


def test_rows_that_are_decided_get_no_more_seeds(study: Study) -> None:
    runs, told = Runs(study), list[str]()
    finished = run_race(Racing.of(study, Selection()), runs, told.append)
    ended = {one.row: (one.outcome, one.seeds) for one in finished.race.rows}
    assert ended.keys() == {"mlp", "conv"}
    assert {outcome for outcome, _ in ended.values()} == {"differs"}
    trained = sum(runs.rungs, Counter())
    for row, (_, seeds) in ended.items():
        assert seeds < 5
        assert trained[row] == seeds - 2, "two seeds were there"
    assert trained["linear"] == max(seeds for _, seeds in ended.values()) - 2
    assert finished.exit_code == 0
    assert told[0] == "race: the first 3 seeds of 5"
    assert told[-1].startswith("race against linear on shifted/accuracy, after ")


def test_an_interrupted_race_goes_on_as_if_it_had_not_been(study: Study) -> None:
    racing, told = Racing.of(study, Selection()), list[str]()
    first = run_race(racing, Runs(study, most=4), told.append)
    assert first.exit_code == 130
    second = run_race(racing, Runs(study), told.append)
    again = Runs(study)
    third = run_race(racing, again, told.append)
    assert second.race == third.race
    assert again.rungs == [Counter()], "nothing is left"
    assert third.exit_code == 0


def test_status_says_what_was_stopped_and_results_miss_nothing(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = run_race(Racing.of(study, Selection()), Runs(study), str)
    (row, *_) = finished.race.rows
    assert study.race == finished.race
    app(["status", FIVE, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["race"]["rows"][0]["row"] == row.row
    app(["status", FIVE], standalone_mode=False)
    assert f"differs from linear; {row.effect:.1f}" in capsys.readouterr().out
    values = Results(study).values()
    assert not values.missing
    assert {(one.row, one.seed) for one in values.excluded if one.by == "race"} >= {(row.row, 4), ("linear", 4)}
    app(["results", FIVE], standalone_mode=False)
    text = capsys.readouterr().out
    assert f"stopped by the race: {len(values.excluded)} cells; see `echo-matrix status`" in text
    assert "missing" not in text


@pytest.mark.slow
def test_the_report_says_what_was_stopped_and_why(study: Study) -> None:
    assert report_of(study), "before the race"
    finished = run_race(Racing.of(study, Selection()), Runs(study), str)
    assert report_of(study)
    page = (study.report_folder / "index.html").read_text(encoding="utf-8")
    (row, *_) = finished.race.rows
    assert "Stopped early" in page
    assert f"the race, after {row.seeds} seeds: differs from linear" in page


def test_a_row_whose_job_failed_gets_no_more_seeds_and_the_others_go_on(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = Study.standings
    broken = {job.id for job in study.plan.jobs.values() if job.label == "train/mlp/s2"}

    def with_failure(self: Study, *arguments: object, **named: object) -> Mapping[str, Standing]:
        found = dict(states(self))
        return {**found, **dict.fromkeys(broken, Standing(state="failed", reason="diverged"))}

    monkeypatch.setattr(Study, "standings", with_failure)
    runs = Runs(study, broken=broken)
    finished = run_race(Racing.of(study, Selection()), runs, str)
    ended = {one.row: one for one in finished.race.rows}
    assert (ended["mlp"].outcome, ended["mlp"].reason) == ("no values", "train/mlp/s2 failed")
    assert ended["conv"].outcome == "differs"
    assert finished.exit_code == 1
    assert sum(runs.rungs, Counter())["mlp"] == 0


def test_seeds_that_are_run_after_all_count(study: Study) -> None:
    finished = run_race(Racing.of(study, Selection()), Runs(study), str)
    Runs(study)(frozenset(study.plan.jobs))
    assert not Results(study).values().excluded
    again = run_race(Racing.of(study, Selection()), Runs(study), str)
    assert again.race == finished.race, "a row that has stopped stays so"


def test_a_chosen_row_races_with_the_baseline(study: Study) -> None:
    runs = Runs(study)
    finished = run_race(Racing.of(study, Selection(rows="conv", seeds="0,1,2,3")), runs, str)
    assert [one.row for one in finished.race.rows] == ["conv"]
    assert list(finished.race.seeds) == [0, 1, 2, 3]
    assert set(sum(runs.rungs, Counter())) == {"conv", "linear"}


def test_a_record_of_other_controls_or_cases_or_a_damaged_one_is_no_race(study: Study) -> None:
    run_race(Racing.of(study, Selection()), Runs(study), str)
    for override in ("controls.training.epochs=21", "branches.shifted.cases=100"):
        assert open_study(Path("matrix.yaml"), overrides=[FIVE, override]).race is None
    race_file(study.home, "laptop").write_text('{"version": 1, "controls": "', encoding="utf-8")
    assert study.race is None
    run_race(Racing.of(study, Selection()), Runs(study), str)
    assert study.race is not None, "made again from the results"


def test_the_race_says_what_it_cannot_do(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(selection: Selection) -> str:
        with pytest.raises(PlanError) as caught:
            Racing.of(study, selection)
        return str(caught.value)

    assert "leave out --branches" in refused(Selection(branches="clean"))
    assert "there is one; allowed: at least 2 in `seeds`" in refused(Selection(seeds="0"))
    assert "and none other is selected" in refused(Selection(rows="linear"))
    declared(monkeypatch, RaceSpec(metric="blurred/accuracy", baseline="linear", margin=0.05))
    assert "decides on branch blurred, which is off in profile laptop" in refused(Selection())
    declared(monkeypatch, RaceSpec(metric="shifted", baseline="tree", margin=0.05))
    assert "compares rows with tree, which is not in profile laptop" in refused(Selection())
    declared(monkeypatch, None)
    assert "this study does not declare what races" in refused(Selection())


@pytest.mark.parametrize("option", ["--smoke", "--limit=3", "--max-core-hours=1", "--refresh=train/mlp/s0"])
def test_options_that_mean_nothing_for_a_race_are_refused(study: Study, option: str) -> None:
    with pytest.raises(PlanError, match=f"--race with {option.partition('=')[0]}: leave out one of them"):
        app(["run", "--race", option], standalone_mode=False)


def test_without_a_metric_that_was_measured_it_ends(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, RaceSpec(metric="shifted/recall", baseline="linear", margin=0.05))
    runs = Runs(study)
    finished = run_race(Racing.of(study, Selection()), runs, str)
    assert len(runs.rungs) == 1
    assert {one.outcome for one in finished.race.rows} == {"open"}


def test_a_crate_keeps_the_race(study: Study, tmp_path: Path) -> None:
    finished = run_race(Racing.of(study, Selection()), Runs(study), str)
    described = CrateDescription.of(study.plan, study.standings(), (), (), (), study.race)
    (tmp_path / STUDY).write_text(json.dumps(described.document), encoding="utf-8")
    assert read_description(tmp_path).race == finished.race


def test_what_races_is_registered_and_a_changed_margin_shows(study: Study) -> None:
    before, now = (
        content_of(study.plan, ReportSpec(race=RaceSpec(metric="shifted", baseline="linear", margin=margin)))
        for margin in (0.05, 0.1)
    )
    assert before["race"] == {"metric": "shifted", "baseline": "linear", "margin": 0.05}
    assert changes(before, now) == ["race: margin 0.05 → 0.1"]
