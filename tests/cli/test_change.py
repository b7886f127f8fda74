"""`cancel`, `retry` and `explain` by the real command line, with and without a driver."""

import json
from pathlib import Path
from typing import Any

import pytest
from rehearsal import FOR_EVER_S, Rehearsal, wait_for

ROW = ("--rows", "context-k1", "--branches", "replay")


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path / "outputs")


def states(rehearsal: Rehearsal) -> dict[str, Any]:
    return {job["label"]: job["state"] for job in json.loads(rehearsal.call("status", "--json").stdout)["jobs"]}


def test_jobs_are_cancelled_and_retried_together_where_nobody_drives(rehearsal: Rehearsal) -> None:
    done = rehearsal.call("cancel", "train/context-k*/s0")
    assert (done.returncode, done.stderr) == (0, "")
    labels = [line.removesuffix(": cancelled") for line in done.stdout.splitlines()]
    assert "train/context-k1/s0" in labels
    assert len(labels) > 1
    found = states(rehearsal)
    assert {found[label] for label in labels} == {"cancelled"}
    assert found["evaluate/replay/context-k1/s0"] == "blocked"
    assert rehearsal.call("run", *ROW).returncode == 1
    retried = json.loads(rehearsal.call("retry", "--json", "evaluate/replay/context-k1/s0").stdout)
    assert retried == {"version": 2, "verb": "retry", "answer": "done", "jobs": ["train/context-k1/s0"]}
    assert rehearsal.call("run", *ROW).returncode == 0
    told = json.loads(rehearsal.call("explain", "train/context-k1/s0", "--json").stdout)
    assert (told["state"], [one["ending"] for one in told["attempts"]]) == ("done", ["ok"])
    assert "next: nothing, it is done" in rehearsal.call("explain", "train/context-k1/s0").stdout


def test_a_running_job_is_cancelled_through_its_driver(rehearsal: Rehearsal) -> None:
    driver = rehearsal.start("run", *ROW, seconds=FOR_EVER_S)
    try:
        wait_for(lambda: "running" in states(rehearsal).values(), "a job that runs")
        done = rehearsal.call("cancel", "data")
        assert done.stdout == "data: cancel requested\n"
        assert driver.wait(timeout=60) == 1
    finally:
        driver.kill()
        driver.wait()
    found = states(rehearsal)
    assert (found["data"], found["train/context-k1/s0"]) == ("cancelled", "blocked")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cancel",),
            "echo-matrix: cancel needs jobs: labels, ids, globs such as 'STAGE/ROW*', or --rows, --seeds",
        ),
        (("retry", "--failed"), "echo-matrix: there is nothing to retry: no job has failed"),
        (("retry", "data"), "echo-matrix: data is new; there is nothing to retry"),
        (("cancel", "trian/*"), "echo-matrix: no job matches 'trian/*' in the plan of profile laptop"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    rehearsal: Rehearsal, arguments: tuple[str, ...], message: str
) -> None:
    done = rehearsal.call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
