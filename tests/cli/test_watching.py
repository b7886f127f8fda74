"""What `status --watch` shows: in a terminal, in a pipe, for programs."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from orchestrator.ui.watch import JsonWatch, LiveWatch, PlainWatch, RunningAttempt, RunProcess, Snapshot

DRIVES = RunProcess(pid=17, host="here", since=None)


def running(label: str, step: int = 0, elapsed_s: float = 1.0) -> RunningAttempt:
    return RunningAttempt(
        label=label,
        attempt=f"a001-{label}",
        host="h0",
        phase="training",
        step=step,
        of=10,
        elapsed_s=elapsed_s,
        eta_s=None if step == 0 else 60.0,
    )


def look(
    runs: Sequence[RunningAttempt] = (), done: int = 0, failed: tuple[str, ...] = (), driver: RunProcess | None = DRIVES
) -> Snapshot:
    return Snapshot(
        study="echo",
        profile="laptop",
        driver=driver,
        counts={"done": done, "running": len(runs)},
        running=runs,
        failed={label: "ended with an error" for label in failed},
        all_done=False,
    )


def test_plain_lines_come_on_change_only() -> None:
    out = io.StringIO()
    screen = PlainWatch(out)
    for elapsed in (1.0, 2.0, 3.0):
        screen.show(look([running("train/a", step=int(elapsed), elapsed_s=elapsed)]))
    screen.show(look(done=1, driver=None))
    assert out.getvalue().splitlines() == [
        "echo · laptop · 0/1 done, 1 running · run by pid 17 on here",
        "  running train/a (a001-train/a) on h0",
        "echo · laptop · 1/1 done · no run in progress",
    ]


@pytest.mark.parametrize("make", [PlainWatch, lambda out: LiveWatch(Console(file=out, width=200, height=20))])
def test_a_failure_is_shown_once(make: type[PlainWatch]) -> None:
    out = io.StringIO()
    screen = make(out)
    for _ in range(3):
        screen.show(look(failed=("train/b",)))
    screen.close()
    assert out.getvalue().count("failed train/b: ended with an error; echo-matrix logs train/b") == 1


def test_json_is_an_object_a_line_when_more_than_the_clock_has_changed() -> None:
    out = io.StringIO()
    screen = JsonWatch(out)
    for step, elapsed in ((1, 1.0), (1, 2.0), (2, 3.0)):
        screen.show(look([running("train/a", step=step, elapsed_s=elapsed)]))
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [one["running"][0]["step"] for one in found] == [1, 2]
    assert {"version", "study", "profile", "driver", "counts", "running", "failed", "all_done"} == set(found[0])


@pytest.mark.parametrize("height", [3, 10, 24, 200])
def test_the_live_picture_is_never_higher_than_the_terminal(height: int) -> None:
    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True)
    screen = LiveWatch(console)
    picture = screen.render(look([running(f"train/{number}") for number in range(100)]))
    screen.close()
    lines = console.render_lines(picture)
    assert len(lines) <= min(height - 1, 30)
    assert all(sum(segment.cell_length for segment in line) <= 80 for line in lines)
    if height >= 10:
        assert "more running" in "".join(segment.text for segment in lines[-1])


def test_a_running_job_is_shown_with_its_progress_and_what_is_left() -> None:
    console = Console(file=io.StringIO(), width=120, height=24)
    screen = LiveWatch(console)
    picture = screen.render(look([running("train/a", step=5, elapsed_s=61.0)]))
    screen.close()
    text = "".join(segment.text for line in console.render_lines(picture) for segment in line)
    assert "train/a" in text
    assert "5/10" in text
    assert "0:01:00 left" in text


def test_a_job_that_is_done_meanwhile_stays_above_the_live_lines() -> None:
    out = io.StringIO()
    screen = LiveWatch(Console(file=out, width=80, height=24))
    for done in (("data",), ("data", "train/a"), ("data", "train/a")):
        screen.show(replace(look(), done=done))
    screen.close()
    assert out.getvalue().count("done train/a") == 1
    assert "done data" not in out.getvalue()


def test_a_pipe_gets_a_line_a_minute_on_what_runs() -> None:
    out = io.StringIO()
    times = iter((0.0, 0.0, 30.0, 61.0, 61.0, 62.0))
    screen = PlainWatch(out, now=lambda: next(times))
    for _ in range(4):
        screen.show(look([replace(running("train/a", step=5), rate=2.5, metric=("loss", 0.25))]))
    assert out.getvalue().splitlines()[2:] == ["  running train/a 5/10, loss 0.25, 2.5/s, 0:01:00 left"]
