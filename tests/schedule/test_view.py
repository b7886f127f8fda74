"""What people see: plain lines stay whole, live lines stay within the terminal."""

import io

from rich.console import Console

from orchestrator.plan.job import Standing
from orchestrator.schedule.events import AttemptProgress, Event, RunProgress
from orchestrator.ui.progress import (
    MOST_LINES,
    LiveView,
    PlainView,
    clock_words,
    make_view,
    share_words,
)


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
    assert stream.getvalue() == (f"0:01:23 [1/2 done, 1 failed] ended train/a (a001-x): error -> failed: {path}\n")


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
        assert "3 done, 1000 running" in text
        assert "about 1:00:00 to go" in text or "…" in text
        assert "more running" in text


def test_a_pipe_gets_plain_lines() -> None:
    assert isinstance(make_view(io.StringIO()), PlainView)


def test_words_for_counts_and_times() -> None:
    assert share_words({"done": 12, "new": 88, "failed": 2}) == "12/102 done, 2 failed"
    assert clock_words(3723.9) == "1:02:03"
