"""`on_event`: a command that is told, and that can neither stop nor hold up anybody."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_study import Toy, make_job, make_plan, small_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.errors import MatrixError
from orchestrator.schedule import notifications
from orchestrator.schedule.clock import SystemClock
from orchestrator.schedule.notification_process import main
from orchestrator.schedule.notifications import Notifier
from orchestrator.spec.cluster import EnvironmentSettings
from workloads.contract.result import Failure

ONE_CPU = (HostShare(name="fake-0", cpus=1, devices=0, memory_gib=8.0),)
LATEST_S = 30.0


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "toy")


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + LATEST_S
    while not (found := true()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


class Listener:
    """A command that keeps what it is told, one file an event."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "told here"
        self.folder.mkdir()
        code = (
            "import json, os, sys, time; about = json.load(sys.stdin); "
            "assert about['event'] == os.environ['ECHO_MATRIX_EVENT']; "
            "path = os.path.join(sys.argv[1], f'{time.time_ns()}.json'); "
            "open(path + '.tmp', 'w').write(json.dumps(about)); os.rename(path + '.tmp', path)"
        )
        self.command = f"{sys.executable} -c \"{code}\" '{self.folder}'"

    def told(self, number: int) -> list[dict[str, Any]]:
        """What it was told, in the order of `at`, once there are so many."""
        until(lambda: len(list(self.folder.glob("*.json"))) >= number)
        found = [json.loads(path.read_text()) for path in self.folder.glob("*.json")]
        return sorted(found, key=lambda about: about["at"])


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path)


def log_lines(toy: Toy, what: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (toy.home / "driver.log").read_text().splitlines()]
    return [line for line in lines if line["what"] == what]


def test_the_end_of_a_run_is_told_with_counts_and_exit_code(toy: Toy, listener: Listener) -> None:
    toy.settings.on_event = listener.command
    toy.run(small_plan())
    (about,) = listener.told(1)
    at = about.pop("at")
    assert at > 0
    assert about == {
        "version": 1,
        "event": "finished",
        "study": "toy",
        "profile": "laptop",
        "exit_code": 0,
        "interrupted": False,
        "reason": "",
        "counts": {"done": 9},
    }


def test_a_run_with_nothing_to_do_tells_nothing(toy: Toy, listener: Listener) -> None:
    toy.run(small_plan())
    toy.settings.on_event = listener.command
    toy.run(small_plan())
    toy.run(make_plan([make_job("data", "other")]))
    assert len(listener.told(1)) == 1


def test_each_failure_is_told_once_and_a_pause_once_a_stage(toy: Toy, listener: Listener) -> None:
    failure = Failure(type="KeyError", message="'x'", frames=["workloads/model/block.py:3 run"])
    script = {f"train/{row}": [Act(script="error", error=failure)] for row in "abcd"}
    toy.settings.on_event = listener.command
    toy.run(small_plan("abcd"), script, hosts=ONE_CPU)
    told = listener.told(5)
    assert [about["event"] for about in told].count("failed") == 3
    assert {about["label"] for about in told if about["event"] == "failed"} == {"train/a", "train/b", "train/c"}
    (paused,) = [about for about in told if about["event"] == "paused"]
    assert (paused["stage"], paused["counts"]["failed"]) == ("train", 3)
    assert paused["reason"].startswith("3 of its jobs failed in the same way (KeyError)")
    (finished,) = [about for about in told if about["event"] == "finished"]
    assert finished["exit_code"] == 1


def test_a_backend_without_an_answer_for_a_minute_is_told_once(toy: Toy, listener: Listener) -> None:
    toy.settings.on_event = listener.command
    toy.run(small_plan(), {"data": [Act(script="unknown")]})
    unknown, finished = listener.told(2)
    assert (unknown["event"], unknown["attempts"], unknown["reason"]) == ("unknown", 1, "the backend cannot tell")
    assert finished["at"] - unknown["at"] > 60.0
    assert "nothing is known of 1 attempt" in finished["reason"]


def test_what_ends_a_run_by_an_error_is_told_too(toy: Toy, listener: Listener) -> None:
    toy.settings.on_event = listener.command
    calls = iter(range(10))

    def full() -> None:
        if next(calls) > 4:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        toy.run(small_plan(), fence=full)
    (about,) = listener.told(1)
    assert (about["event"], about["exit_code"]) == ("finished", 1)
    assert "No space left on device" in about["reason"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/nowhere/to-be-found", "No such file or directory"),
        (f"{sys.executable} -c 'import sys; sys.exit(\"the door is shut\")'", "ended with 1: the door is shut"),
    ],
)
def test_a_command_that_fails_is_a_line_in_the_log_and_stops_nobody(toy: Toy, command: str, why: str) -> None:
    toy.settings.on_event = command
    assert toy.run(small_plan()).exit_code == 0
    (line,) = until(lambda: log_lines(toy, "on_event failed"))
    assert line["event"] == "finished"
    assert why in line["error"]


def test_neither_the_command_nor_a_secret_is_written_down(
    toy: Toy, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "s3cr3t-of-the-environment")
    failure = Failure(type="ValueError", message="cannot log in with s3cr3t-of-the-environment", frames=[])
    toy.settings.on_event = listener.command
    toy.run(small_plan("a"), {"train/a": [Act(script="error", error=failure)]})
    told = listener.told(2)
    (failed,) = [about for about in told if about["event"] == "failed"]  # what was told in one tick comes in any order
    assert "cannot log in with ***" in failed["reason"]
    toy.settings.on_event = f"{sys.executable} -c 'import sys; sys.exit(sys.argv[1])' https://hooks/T0KEN-IN-ADDRESS"
    toy.run(make_plan([make_job("data", "other")]))
    until(lambda: log_lines(toy, "on_event failed"))
    written = b"".join(path.read_bytes() for path in toy.home.rglob("*") if path.is_file())
    for secret in (b"s3cr3t-of-the-environment", b"T0KEN-IN-ADDRESS"):
        assert secret not in json.dumps(told).encode() + (toy.home / "driver.log").read_bytes()
        assert b"T0KEN-IN-ADDRESS" not in written


def test_the_command_gets_the_variables_that_are_named_for_it_and_no_other_secret(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "s3cr3t-of-the-hook")
    monkeypatch.setenv("OTHER_TOKEN", "s3cr3t-of-another")
    out = tmp_path / "seen"
    toy.settings.on_event = f"sh -c 'env > {out}.new && mv {out}.new {out}'"
    toy.settings.environment = EnvironmentSettings(on_event=("HOOK_*",))
    toy.run(small_plan())
    until(out.exists)
    seen = dict(line.split("=", 1) for line in out.read_text().splitlines() if "=" in line)
    assert seen["HOOK_TOKEN"] == "s3cr3t-of-the-hook" and seen["ECHO_MATRIX_EVENT"] == "finished"
    assert "OTHER_TOKEN" not in seen and seen["PATH"] == os.environ["PATH"]


def test_quotes_that_do_not_close_are_refused_before_anything_begins(toy: Toy) -> None:
    toy.settings.on_event = "notify 'half"
    with pytest.raises(MatrixError, match=r"on_event cannot be split into words \(No closing quotation\)"):
        toy.run(small_plan())
    assert toy.backend is None


def make_hook(tmp_path: Path, command: str, notes: list[tuple[str, dict[str, Any]]]) -> Notifier:
    def note(what: str, **fields: Any) -> None:
        notes.append((what, fields))

    return Notifier(command, study="s", profile="p", log=tmp_path / "driver.log", note=note, clock=SystemClock())


def processes_with(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found


def test_a_command_that_hangs_holds_up_nobody_and_only_a_few_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "END_S", 0.5)
    mark = f"hang-{os.getpid()}"
    notes: list[tuple[str, dict[str, Any]]] = []
    hook = make_hook(tmp_path, f"{sys.executable} -c 'import time; time.sleep(600)' {mark}", notes)
    try:
        for number in range(20):
            hook.notify("failed", job=str(number))
            hook.tick()
        until(lambda: len(processes_with(mark)) == notifications.AT_ONCE)
        hook.tick()
        assert len(processes_with(mark)) == notifications.AT_ONCE
        hook.notify("finished", exit_code=1)
        hook.close()
        dropped = [fields["event"] for what, fields in notes if what == "on_event dropped"]
        assert dropped == ["failed"] * (20 - notifications.AT_ONCE)
        until(lambda: len(processes_with(mark)) == notifications.AT_ONCE + 1)
    finally:
        for pid in processes_with(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    mark = f"slow-{os.getpid()}"
    child = (
        "import subprocess, sys, time; wait = 'import time; time.sleep(600)'; "
        f"subprocess.Popen([sys.executable, '-c', wait, '{mark}']); exec(wait)"
    )
    order = {
        "words": [sys.executable, "-c", child],
        "event": "failed",
        "about": "{}",
        "log": str(tmp_path / "log"),
        "limit_s": 1.0,
    }
    assert main(order) == 1
    assert json.loads((tmp_path / "log").read_text())["error"] == "killed after 1 s"
    until(lambda: not processes_with(mark))


def test_it_may_say_and_be_told_more_than_a_pipe_holds(tmp_path: Path) -> None:
    loud = "import sys; sys.stderr.write('x' * 3_000_000 + 'the end'); sys.exit(3)"
    order = {
        "words": [sys.executable, "-c", loud],
        "event": "failed",
        "about": "y" * 300_000,
        "log": str(tmp_path / "log"),
        "limit_s": 60.0,
    }
    assert main(order) == 1
    error = json.loads((tmp_path / "log").read_text())["error"]
    assert error.startswith("ended with 3: x")
    assert error.endswith("the end")
    assert len(error) < 400


def test_of_too_many_events_the_oldest_are_dropped_and_the_log_says_so(tmp_path: Path) -> None:
    notes: list[tuple[str, dict[str, Any]]] = []
    hook = make_hook(tmp_path, "true", notes)
    for number in range(notifications.WAITING + 3):
        hook.notify("failed", job=str(number))
    assert [what for what, _ in notes] == ["on_event dropped"] * 3
