from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_plan import made_plan, standing

from orchestrator.tracking.mlflow.environment import mlflow_environment
from orchestrator.tracking.mlflow.projection import (
    Point,
    artifact_path,
    branch_points,
    cell_message,
    final_status,
    flat,
    place_in,
    point_of,
    status,
    study_message,
)
from orchestrator.tracking.mlflow.tracker import MlflowTracker

STATES = st.sampled_from(["done", "new", "retry", "waiting", "running", "unknown", "blocked", "failed", "cancelled"])


@given(st.dictionaries(st.sampled_from("abcdef"), STATES))
def test_no_cell_ends_running(states):
    assert final_status(states, "abcdef") != "RUNNING"


@pytest.mark.parametrize(
    ("others", "expected"),
    [("done", "FINISHED"), ("new", "SCHEDULED"), ("blocked", "SCHEDULED"), ("running", "KILLED"), ("retry", "KILLED")],
)
def test_a_cell_that_the_run_did_not_select_as_a_whole_is_not_killed(others, expected):
    assert final_status({"a": "done", "b": others}, "ab") == expected


@given(st.dictionaries(st.sampled_from("abc"), STATES))
def test_a_cell_is_finished_exactly_when_all_its_jobs_are_done(states):
    assert (status(states, "abc") == "FINISHED") == all(states.get(job) == "done" for job in "abc")


def test_a_value_that_is_not_a_number_is_left_out():
    assert point_of("train", {"step": 1, "name": "loss", "value": float("nan")}) is None
    assert point_of("train", {"step": 1, "name": "loss", "value": 2.0}) == Point(name="train/loss", step=1, value=2.0)


def test_summaries_are_means_over_cases_under_names_mlflow_takes():
    lines = [{"case": c, "metric": "psnr@chunk0", "value": v} for c, v in (("a", 1.0), ("b", 3.0))]
    assert branch_points("replay", lines, {}) == [Point(name="replay/psnr_chunk0", step=0, value=2.0)]


def test_points_of_several_judges_are_never_averaged_together():
    units = {"points:vlm:a/b@c": (0.0, 2.0), "points:vlm:d": (80.0, 100.0)}
    lines = [
        {"case": str(i), "metric": "judge", "unit": unit, "value": value}
        for unit, values in units.items()
        for i, value in enumerate(values)
    ]
    assert branch_points("return", lines, {}) == [
        Point(name="return/judge:points:vlm:a/b_c", step=0, value=1.0),
        Point(name="return/judge:points:vlm:d", step=0, value=90.0),
    ]
    assert [p.name for p in branch_points("return", lines[:2], {})] == ["return/judge"]


def test_long_parameters_are_cut():
    assert len(flat({"a": {"b": "x" * 5000}})["a.b"]) == 500


def test_profiles_and_overrides_have_parents_of_their_own():
    import dataclasses

    plan = made_plan()
    other = dataclasses.replace(plan, overrides=("seeds=[1]",))
    assert study_message(plan)["key"] != study_message(other)["key"]


def test_a_cell_says_where_its_jobs_stood_before():
    plan = made_plan()
    jobs = plan.jobs_of["context-k1/s0"]
    message = cell_message(plan, plan.cells[0], {jobs["train"]: "done"})
    assert message["states"] == {jobs["train"]: "done"}
    assert set(message["jobs"]) == set(jobs.values())


def test_a_run_with_nothing_to_do_starts_no_child(tmp_path):
    tracker = MlflowTracker(tmp_path, made_plan(), None)
    tracker.start({job: standing("done") for job in made_plan().jobs})
    tracker.tick()
    tracker.report(tmp_path)
    assert tracker.close(1.0)
    assert tracker.pid is None
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_run_is_not_written_into():
    found = mlflow_environment({"MLFLOW_RUN_ID": "r", "PATH": "/bin"})
    assert "MLFLOW_RUN_ID" not in found
    assert found["PATH"] == "/bin"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_files_of_the_artifact_itself_lie_under_the_name_of_the_stage() -> None:
    assert artifact_path("fit", "") == "fit" and artifact_path("far", "strips") == "far/strips"


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/home/study/store/weights", "store/weights"),
        ("/elsewhere/weights", "/elsewhere/weights"),
        ("s3://bucket/prefix/weights", "s3://bucket/prefix/weights"),
    ],
)
def test_a_place_is_told_so_that_it_stays_right_when_the_study_is_moved(place: str, shown: str) -> None:
    assert place_in(Path("/home/study"), place) == shown
