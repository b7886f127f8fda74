"""What people see: plain lines stay whole, live lines stay within the terminal."""

import io
import threading
from collections.abc import Callable
from typing import TextIO, get_args

import pytest
from rich.console import Console

from orchestrator.backends.protocol import Ending
from orchestrator.plan.job import Standing
from orchestrator.schedule.events import Event, View
from orchestrator.schedule.progress import AttemptProgress, RunProgress
from orchestrator.ui.live import MOST_LINES, LiveView
from orchestrator.ui.progress import PlainView, make_view
from orchestrator.ui.terminal import SteadyView, told_if_slow
from orchestrator.ui.words import ENDED, clock_words, rate_words, sentence, share_words


def make_event(reason: str) -> Event:
    return Event(
        kind="ended",
        at=0.0,
        job="train/0",
        label="train/a",
        attempt="a001-x",
        ending="error",
        standing=Standing(state="failed", reason=reason),
    )


def test_a_plain_line_is_never_folded() -> None:
    stream = io.StringIO()
    path = "/a/very/long/path" * 40
    PlainView(stream).event(make_event(path), {"done": 1, "failed": 1}, 83.0)
    assert stream.getvalue() == (f"0:01:23 [1/2 done, 1 failed] failed train/a (a001-x), given up: {path}\n")


def test_a_line_above_the_live_ones_is_never_folded() -> None:
    stream = io.StringIO()
    view = LiveView(Console(file=stream, force_terminal=True, width=40, height=10))
    view.event(make_event("/a/very/long/path" * 10), {}, 0.0)
    view.close()
    assert "/a/very/long/path" * 10 in stream.getvalue()


def test_live_lines_fit_the_terminal_and_the_rest_is_a_count() -> None:
    lines = [AttemptProgress(label=f"train/{n}", step=n, of=400, phase="training", elapsed_s=n) for n in range(1000)]
    progress = RunProgress(counts={"done": 3, "running": 1000}, attempts=lines, elapsed_s=61.0, eta_s=3600.0)
    for height in (10, 200):
        console = Console(file=io.StringIO(), force_terminal=True, width=60, height=height)
        view = LiveView(console)
        drawn = console.render_lines(view.render(progress), console.options)
        view.close()
        assert len(drawn) <= min(height, MOST_LINES)
        text = "\n".join("".join(segment.text for segment in line) for line in drawn)
        assert "3/1003 done, 1000 running · 0:01:01 · about 1:00:00 left" in text
        assert "more running" in text


@pytest.mark.parametrize("make", [PlainView, lambda out: LiveView(Console(file=out, force_terminal=True))])
def test_what_takes_long_is_told_also_after_the_last_line(make: Callable[[TextIO], View]) -> None:
    stream = io.StringIO()
    view = SteadyView(make(stream))
    view.tick(progress(61.0))
    view.close()
    before, told = stream.getvalue(), threading.Event()

    def say(text: str) -> None:
        view.say(text)
        told.set()

    with told_if_slow(say, "writing the report", after_s=0.0):
        assert told.wait(5.0)
    with told_if_slow(say, "sending the rest to the tracker", after_s=60.0):
        pass
    assert stream.getvalue() == f"{before}writing the report\n"


def test_a_pipe_gets_plain_lines() -> None:
    assert isinstance(make_view(io.StringIO()), PlainView)


def test_words_for_counts_and_times() -> None:
    assert share_words({"done": 12, "new": 88, "failed": 2}) == "12/102 done, 2 failed"
    assert clock_words(3723.9) == "1:02:03"


TRAINING = AttemptProgress(
    label="train/context-k5/s0", step=120, of=400, phase="training", elapsed_s=9.0, eta_s=21.4, rate=13.04,
    metric=("loss", 0.01234567),
)  # fmt: skip
EVALUATING = AttemptProgress(
    label="evaluate/return/a-row-with-a-very-long-name-r2/s0", step=0, of=0, phase="starting", elapsed_s=3.0
)


def progress(elapsed_s: float, *attempts: AttemptProgress, stops_in_s: float | None = None) -> RunProgress:
    return RunProgress(
        counts={"done": 3, "running": len(attempts)},
        attempts=attempts,
        elapsed_s=elapsed_s,
        eta_s=80.0,
        stops_in_s=stops_in_s,
    )


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24)])
def test_a_running_job_has_a_bar_its_loss_its_pace_and_what_is_left(width: int, height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    view = LiveView(console)
    lines = console.render_lines(view.render(progress(61.0, TRAINING, EVALUATING)), console.options)
    view.close()
    text = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert text[0] == "3/5 done, 2 running · 0:01:01 · about 0:01:20 left"
    assert "━━━━" in text[1]
    assert text[1].split("━")[0].strip() == "train/context-k5/s0"
    assert text[1].endswith("120/400 loss 0.01235 13/s   0:00:21 left")
    assert "starting" in text[2]
    assert text[2].endswith("0:00:03 so far")
    assert all(len(line) <= width for line in text)


def test_a_pipe_gets_the_loss_and_what_is_left_once_a_minute_in_one_line() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    for second in range(1, 131):
        view.tick(progress(float(second), *[TRAINING] * 5))
    assert stream.getvalue().splitlines() == [
        f"{at} [3/8 done, about 0:01:20 left] running "
        + "; ".join(["train/context-k5/s0 120/400, loss 0.01235, 13/s, 0:00:21 left"] * 4)
        + "; and 1 more"
        for at in ("0:01:00", "0:02:00")
    ]


def test_while_it_stops_a_run_says_for_how_long() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    view.tick(progress(10.0, TRAINING, stops_in_s=24.0))
    assert stream.getvalue().endswith("stopping: 1 attempt left, at most 24 s\n")
    live = LiveView(Console(file=io.StringIO(), force_terminal=True, width=80, height=24))
    assert "stopping: 1 attempt left, at most 24 s" in str(
        live.render(progress(10.0, TRAINING, stops_in_s=24.0)).renderables[0]
    )  # type: ignore[attr-defined]
    live.close()


def test_what_finished_stays_with_its_duration_and_last_loss() -> None:
    stream = io.StringIO()
    view = LiveView(Console(file=stream, force_terminal=True, width=80, height=24))
    done = Event(
        kind="ended",
        at=0.0,
        label="train/a",
        attempt="a001-x",
        ending="ok",
        standing=Standing(state="done", reason=""),
        took_s=31.2,
        metric=("loss", 0.5),
    )
    view.event(done, {"done": 1}, 83.0)
    view.close()
    assert stream.getvalue() == "0:01:23 done train/a in 0:00:31, loss 0.5\n"


def test_a_stopped_attempt_is_one_short_line_and_every_ending_has_a_word() -> None:
    stopped = Event(
        kind="ended",
        at=0.0,
        label="train/a",
        attempt="a001-x",
        ending="interrupted",
        standing=Standing(state="retry", reason="interrupted (does not count as a retry): stop requested; exit 3"),
    )
    assert sentence(stopped) == "stopped train/a (a001-x)"
    assert set(ENDED) == set(get_args(Ending))


def test_a_slow_pace_is_told_in_seconds_a_step() -> None:
    assert [rate_words(rate) for rate in (13.04, 1.0, 0.25, None)] == ["13/s", "1/s", "4 s each", ""]
