"""What `plan` and `status` say of time and cost."""

import json
import time
from pathlib import Path

import pytest

from orchestrator.commands.options import PlanOptions, Selection
from orchestrator.commands.plan.command import plan
from orchestrator.opening import open_study
from orchestrator.plan.estimates import Basis
from orchestrator.plan.forecast import Forecast, RowForecast
from orchestrator.plan.forecast_show import amount, duration_words, forecast_json, forecast_line, forecast_text
from orchestrator.plan.job import Standing
from orchestrator.plan.makespan import Capacity
from orchestrator.plan.show import others_text

NOW = time.mktime((2026, 11, 29, 9, 0, 0, 0, 0, -1))


def made(
    capacity: Capacity, makespan_s: float, bases: dict[Basis, int], kind: str = "", devices: float = 0
) -> Forecast:
    rows = (
        RowForecast(row="", jobs=2, hours=0.01, device_hours=0.0, core_hours=0.01),
        RowForecast(row="long", jobs=3, hours=5.0, device_hours=5.0 * devices, core_hours=0.0 if devices else 5.0),
    )
    return Forecast(
        rows=rows, bases=bases, kind=kind, is_known=True, is_assumed=not kind, makespan_s=makespan_s, capacity=capacity
    )


def test_a_line_says_how_long_until_when_at_what_cost_and_from_what() -> None:
    here = made(Capacity(cpus=2), 9000.0, {"measured": 4, "guess": 1}, kind="cpu X")
    assert forecast_line(here, NOW) == (
        "estimated: 5 jobs, about 2.5 h, until 11:30, 5 core-hours; 4 measured on cpu X, 1 guessed"
    )
    days = made(Capacity(devices=8), 200_000.0, {"measured": 5}, kind="H200", devices=8)
    assert "about 2.3 days, until 2026-12-01 16:33, 40 device-hours and 0.01 core-hours; 5" in forecast_line(days, NOW)


def test_where_another_scheduler_gives_the_places_only_the_least_time_is_known() -> None:
    queue = made(Capacity(), 9000.0, {"flops": 5})
    assert forecast_line(queue, NOW) == (
        "estimated: 5 jobs, at least 2.5 h once they may run (a first guess), 5 core-hours; "
        "5 from FLOPs (assumed: 30 GFLOP/s a core, 100 TFLOP/s a device)"
    )
    assert forecast_json(queue)["at_least"] is True


def test_nobody_plans_by_a_first_guess() -> None:
    here = Capacity(cpus=2)
    assert forecast_line(made(here, 70.0, {"flops": 4, "guess": 1}), NOW).startswith(
        "estimated: 5 jobs, about 70 s (a first guess), 5 core-hours; 4 from FLOPs (assumed: "
    )
    assert "about 70 s (a first guess)" in forecast_line(made(here, 70.0, {"guess": 5}, kind="cpu X"), NOW)
    assert "about 70 s, until 09:01" in forecast_line(made(here, 70.0, {"measured": 1, "guess": 4}, "cpu X"), NOW)


def test_other_jobs_are_counted_once() -> None:
    new, done = Standing(state="new", reason=""), Standing(state="done", reason="")
    assert others_text({}) == "no other jobs"
    assert others_text({"a": new}) == "1 other job, new"
    assert others_text({"a": new, "b": new}) == "2 other jobs, all new"
    assert others_text({"a": new, "b": new, "c": done}) == "3 other jobs: 1 done, 2 new"


def test_a_table_has_a_line_for_each_row() -> None:
    assert forecast_text(made(Capacity(cpus=2), 60.0, {"guess": 5}, devices=1), NOW).splitlines()[:3] == [
        "  row       jobs   time  device-hours  core-hours",
        "  (shared)     2   36 s             0        0.01",
        "  long         3  5.0 h             5           0",
    ]


def test_nothing_to_run_is_not_estimated() -> None:
    nothing = Forecast(
        rows=(), bases={}, kind="", is_known=False, is_assumed=False, makespan_s=0.0, capacity=Capacity()
    )
    assert forecast_text(nothing, NOW) == ""
    assert (forecast_json(nothing, NOW)["jobs"], forecast_json(nothing, NOW)["ends_at"]) == (0, None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (99.0, "99 s"), (100.0, "2 min"), (5900.0, "98 min"), (6000.0, "1.7 h"), (1e6, "11.6 days")],
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_amounts_have_two_digits_that_count() -> None:
    assert [amount(hours) for hours in (0.0, 0.00123, 1.26, 12.6, 2534.0)] == ["0", "0.0012", "1.3", "13", "2,534"]


def test_plan_shows_what_a_run_of_the_same_options_would_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    options, chosen = PlanOptions(matrix=root / "matrix.yaml"), Selection(rows="context-k1", branches="loop")
    plan(options=options, selection=chosen, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert {job["label"] for job in shown["jobs"]} == {
        "data", "latents", "index/s0", "train/context-k1/s0", "evaluate/loop/context-k1/s0", "judge/loop/context-k1/s0",
        "camera/loop/context-k1/s0",
    }  # fmt: skip
    whole = len(open_study(root / "matrix.yaml").plan.jobs)
    assert (shown["counts"], shown["others"], shown["selection"]) == ({"new": 7}, {"new": whole - 7}, chosen.given)
    assert (shown["forecast"]["jobs"], [size["row"] for size in shown["sizes"]]) == (7, ["context-k1"])
    plan(options=options, selection=chosen)
    text = capsys.readouterr().out
    assert f"selected: --rows context-k1 --branches loop; {whole - 7} other jobs, all new\n" in text
    assert "\nestimated: 7 jobs, about " in text
