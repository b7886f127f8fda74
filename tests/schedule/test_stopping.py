"""What the user is told before and after the jobs and on Ctrl-C, and that nothing is waited for while nothing runs."""

import io
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finished_study import finished_study
from toy_study import Toy, small_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import Backend, HostShare
from orchestrator.commands.run.run_study import run_study
from orchestrator.schedule.events import Event
from orchestrator.schedule.run import RunResult
from orchestrator.ui.progress import PlainView
from orchestrator.ui.terminal import told_if_slow


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class SlowToStart(FakeBackend):
    """The user presses Ctrl-C while it is being made."""

    def __init__(self, **given: Any) -> None:
        press_ctrl_c()
        raise AssertionError("the start went on after Ctrl-C")


class SlowToAnswer(FakeBackend):
    """The user presses Ctrl-C while its hosts are waited for."""

    def hosts(self) -> Sequence[HostShare]:
        press_ctrl_c()
        raise AssertionError("the wait went on after Ctrl-C")


@pytest.mark.parametrize("backend", [SlowToStart, SlowToAnswer])
def test_a_backend_that_starts_is_not_waited_for_after_ctrl_c(tmp_path: Path, backend: type[FakeBackend]) -> None:
    toy = Toy(tmp_path)
    toy.backend_type = backend
    outcome = toy.run(small_plan("a"))
    assert (outcome.interrupted, outcome.submitted, outcome.exit_code) == (True, 0, 130)
    toy.backend_type = FakeBackend
    assert toy.run(small_plan("a")).exit_code == 0


def test_while_attempts_run_ctrl_c_breaks_no_wait(tmp_path: Path) -> None:
    class Asked(FakeBackend):
        """Ctrl-C comes while hosts are asked for beside a running attempt."""

        pressed = False

        def hosts(self) -> Sequence[HostShare]:
            if self.submitted and not Asked.pressed:
                Asked.pressed = True
                press_ctrl_c()
            return super().hosts()

    toy = Toy(tmp_path)
    toy.backend_type = Asked
    outcome = toy.run(small_plan("a"), {"data": [Act(seconds=5.0)], "latents": [Act(seconds=60.0)]})
    assert Asked.pressed
    assert outcome.interrupted
    assert set(toy.endings("latents")) <= {"interrupted"}


def test_ctrl_c_says_at_once_what_is_waited_for_and_for_how_long(tmp_path: Path) -> None:
    toy, out = Toy(tmp_path), io.StringIO()

    def press(event: Event) -> None:
        if event.kind == "started" and event.label == "data":
            press_ctrl_c()

    toy.run(small_plan("a"), {"data": [Act(seconds=60.0)]}, observe=press, view=PlainView(out))
    said = out.getvalue().splitlines()
    at = said.index("stopping: 1 attempt saves a checkpoint, at most 30 s")
    assert said[at + 1] == "Ctrl-C again to stop at once; the same command continues"
    assert said[-1].split("] ")[1].startswith("stopped data (a001-")


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_stopped_run_leaves_the_report_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    study = finished_study(tmp_path, monkeypatch, without=("evaluate/clean/mlp/s0",))
    tracking = replace(study.cluster.tracking, kind="none")
    study = replace(study, cluster=replace(study.cluster, tracking=tracking))
    ended = RunResult(counts={"done": 13, "retry": 1}, failures=(), interrupted=interrupted, submitted=1)
    written: list[Path] = []

    def write(folder: Path, *_given: object, **_named: object) -> bool:
        written.append(folder)
        return True

    monkeypatch.setattr("orchestrator.commands.run.run_study.run", lambda *_given, **_named: ended)
    monkeypatch.setattr("orchestrator.commands.run.report.report_if_needed", write)
    out = io.StringIO()
    finished = run_study(study, study.plan.jobs, PlainView(out), {})
    assert (written, finished.written) == (([], False) if interrupted else ([study.report_folder], True))
    assert out.getvalue().startswith("digits · laptop: 1 of 19 jobs to do\n  1 evaluate\n  3 rows: ")


def test_what_takes_long_before_and_after_the_jobs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch, without=("evaluate/clean/mlp/s0",))
    tracking = replace(study.cluster.tracking, kind="none")
    study = replace(study, cluster=replace(study.cluster, tracking=tracking, backend="fake"))
    out, told = io.StringIO(), threading.Event()
    view = PlainView(out)

    def started(*_given: object, backend_factory: Callable[[], Backend], **_named: object) -> RunResult:
        backend_factory().close()
        view.close()
        return RunResult(counts={"done": 14}, failures=(), interrupted=False, submitted=1)

    def write(*_given: object, **_named: object) -> bool:
        return told.wait(5.0)

    def soon(say: Callable[[str], object], text: str) -> AbstractContextManager[None]:
        def say_and_go_on(words: str) -> None:
            say(words)
            told.set()

        return told_if_slow(say_and_go_on, text, 0.0 if "report" in text else 60.0)

    monkeypatch.setattr("orchestrator.commands.run.run_study.run", started)
    monkeypatch.setattr("orchestrator.commands.run.run_study.report_of", write)
    monkeypatch.setattr("orchestrator.commands.run.run_study.told_if_slow", soon)
    assert run_study(study, study.plan.jobs, view, {}).written
    assert out.getvalue().splitlines()[-2:] == ["starting backend fake", "writing the report"]
