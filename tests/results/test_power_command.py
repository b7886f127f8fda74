"""`power` on a finished study, on a file and on bad input; and what designs cost."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from finished_study import finished_study

from orchestrator.cli import app
from orchestrator.errors import PlanError
from orchestrator.opening import open_study
from orchestrator.plan.design_cost import DesignCost, DesignCosts
from orchestrator.plan.forecast import Forecaster
from orchestrator.results import Results
from orchestrator.study import Study
from reports.columns import columns
from reports.results_csv import results_csv

Printed = Callable[..., str]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return finished_study(tmp_path, monkeypatch)


@pytest.fixture
def printed(study: Study, capsys: pytest.CaptureFixture[str]) -> Printed:
    def call(*arguments: str) -> str:
        app(["power", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_seeds_and_scenes_are_tabulated_with_what_they_resolve_and_cost(printed: Printed) -> None:
    text = printed("--effect", "0.01", "--most-seeds", "4", "--scenes", "8,16")
    assert "digits · laptop: shifted/accuracy, share" in text
    assert "asked: 0.01 share with power 0.8; two-sided 5 % test, before it is adjusted over several" in text
    assert "pilot: 2 seeds × 8 scenes, 3 rows" in text
    assert "median pair: " in text and "worst pair: " in text
    table = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert [line[:2] for line in table] == [[s, i] for i in ("8", "16") for s in ("2", "3", "4")]
    assert table[0][-1] == "0", "two seeds and eight scenes are there"
    costs = [float(line[-1]) for line in table]
    assert costs[1] > 0 and costs[2] == pytest.approx(2 * costs[1], rel=0.01)
    assert "  cautious (each variance at its 80 % upper limit): " in text


def test_the_json_recommends_the_cheapest_design_that_is_enough(printed: Printed) -> None:
    found = json.loads(printed("--effect", "0.05", "--rows", "linear,mlp", "--metric", "clean", "--json"))
    assert (found["metric"], found["unit"], found["claim"], found["finding"]) == (
        "clean/accuracy",
        "share",
        "difference",
        None,
    )
    (one,) = found["comparisons"]
    assert (one["name"], one["pairs"]) == ("rows", [["linear", "mlp"]])
    enough = [design for design in one["designs"] if design["power"] >= 0.8]
    assert one["recommended"]["added"]["core_hours"] == min(design["added"]["core_hours"] for design in enough)
    assert all(design["cautious"]["detectable"] >= design["detectable"] for design in one["designs"])


def test_a_file_is_a_pilot_too_and_nothing_of_it_is_done(study: Study, printed: Printed, tmp_path: Path) -> None:
    path = tmp_path / "pilot.csv"
    path.write_text(results_csv(columns(Results(study).values().values)), encoding="utf-8")
    own = json.loads(printed("--effect", "0.05", "--json"))
    other = json.loads(printed("--effect", "0.05", "--source", str(path), "--json"))
    assert other["source"] == str(path) and own["source"] is None
    at = own["comparisons"][0]["designs"][0], other["comparisons"][0]["designs"][0]
    assert at[0]["detectable"] == at[1]["detectable"]
    assert at[0]["added"]["core_hours"] == 0 < at[1]["added"]["core_hours"]


def test_one_seed_names_no_number_of_seeds(printed: Printed, tmp_path: Path, study: Study) -> None:
    values = [value for value in Results(study).values().values if value.seed == 0]
    path = tmp_path / "one.csv"
    path.write_text(results_csv(columns(values)), encoding="utf-8")
    text = printed("--effect", "0.05", "--source", str(path), "--rows", "linear,mlp")
    assert "one seed: how much training again changes a difference is not known, so no number of seeds" in text
    assert "linear − mlp: ± 0.010 with 8 scenes, ± 0.007 with 16 scenes" in text
    assert " ? in scene" in text
    found = json.loads(printed("--effect", "0.05", "--source", str(path), "--json"))
    assert found["comparisons"][0]["designs"] == []
    assert found["comparisons"][0]["recommended"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --effect, or --finding of a finding that declares its own"),
        (("--effect", "-1"), "--effect is -1; allowed: a number above 0, in the metric's unit"),
        (("--effect", "nan"), "--effect is nan; allowed: a number above 0"),
        (("--finding", "3"), "--finding is '3', which declares no smallest effect; allowed: none: this study declares"),
        (("--finding", "3", "--rows", "a,b"), "--finding names metric and rows itself; leave out --metric and --rows"),
        (("--effect", "1", "--rows", "mlp"), "--rows is 'mlp'; allowed: two different rows, A,B"),
        (("--effect", "1", "--rows", "mlp,no"), "row 'no' has no values here; allowed: linear, mlp, conv"),
        (("--effect", "1", "--metric", "clean/x"), "metric 'clean/x' was not measured in scenes; allowed: clean/acc"),
        (("--effect", "1", "--power", "1"), "--power is 1; allowed: above 0.05 and below 1"),
        (("--effect", "1", "--most-seeds", "1"), "--most-seeds is 1; allowed: 2 to 1000: one seed gives no verdict"),
        (("--effect", "1", "--scenes", "8,one"), "--scenes is '8,one'; allowed: whole numbers from 2 on"),
        (
            ("--effect", "1", "--source", "no.csv"),
            "--source no.csv: not found; allowed: a file with the columns of results.csv",
        ),
        (("--effect", "1", "--source", "matrix.yaml"), "matrix.yaml:1: unknown column '# A small study: "),
        (("--effect", "1", "--backend", "fake"), "the results of backend fake have no meaning, so they are no pilot"),
    ],
)
def test_bad_input_says_what_is_allowed(printed: Printed, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlanError) as error:
        printed(*arguments)
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_more_seeds_cost_trainings_and_more_scenes_cost_evaluations(study: Study) -> None:
    forecaster = Forecaster(study.plan)
    jobs = study.plan.jobs.values()
    hours = {kind: DesignCost() for kind in ("train", "clean", "shifted", "shared")}
    for job in jobs:
        name = job.branch or ("train" if job.stage == "train" else "shared")
        hours[name] += DesignCost(core_hours=forecaster.of(job).seconds / 3600 * job.resources.cpus)
    costs = DesignCosts(study.plan, forecaster, "shifted", 8, 2)
    assert costs.added(2, 8) == DesignCost()
    of_seed = sum(hours[name].core_hours for name in ("train", "clean", "shifted")) / 2
    assert costs.added(3, 8).core_hours == pytest.approx(of_seed)
    assert costs.added(2, 16).core_hours == pytest.approx(2 * hours["shifted"].core_hours)
    from_nothing = DesignCosts(study.plan, forecaster, "shifted", 8, 0)
    assert from_nothing.added(2, 8).core_hours == pytest.approx(sum(one.core_hours for one in hours.values()))


def test_more_scenes_cost_those_alone_unless_trainings_read_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    plan = open_study(root / "matrix.yaml", look=False).plan
    assert {name: one.number for name, one in plan.workload.scenes(plan.cells).items()} == {
        "replay": 16,
        "loop": 16,
        "return": 4,
    }
    costs = DesignCosts(plan, Forecaster(plan), "return", 4, 1)
    assert (costs.key, costs.trains_again, costs.grows) == ("controls.data.open_prompts", False, True)
    whole = DesignCosts(plan, Forecaster(plan), "return", 4, 0).added(1, 4).core_hours
    assert costs.added(1, 4) == DesignCost()
    assert 0.0 < costs.added(1, 8).core_hours < 0.5 * whole
    assert costs.added(1, 12).core_hours == pytest.approx(2 * costs.added(1, 8).core_hours)

    jobs = {job_id: replace(job, items=None, reads={}) for job_id, job in plan.jobs.items()}
    without_items = replace(plan, jobs=jobs)
    again = DesignCosts(without_items, Forecaster(without_items), "return", 4, 1)
    assert again.trains_again and again.added(1, 8).core_hours > 0.9 * whole
