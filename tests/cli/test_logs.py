"""Logs that are followed while the pump shortens them, and from one attempt of a job to the next."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from rehearsal import FOR_EVER_S, Rehearsal, wait_for

from orchestrator.commands.logs.log_reader import AttemptLog, LogTail, find_gap
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.host.log_collector import LogFile
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease_holder import is_held, read_holder
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger

ROW = ("--rows", "context-k1")


def written(text: str) -> list[str]:
    """The words of each line, without clock and rank."""
    return [line.partition("| ")[2] or line for line in text.splitlines()]


def attempts(rehearsal: Rehearsal) -> list[Attempt]:
    with Ledger.read(rehearsal.home / NAME) as ledger:
        return ledger.attempts()


def log_of(rehearsal: Rehearsal, attempt: Attempt) -> Path:
    return attempt_folder(rehearsal.home, attempt.fingerprint, attempt.id) / "log.txt"


@pytest.mark.parametrize("every", [1, 3, 17, 1000])
def test_a_follower_sees_each_line_once_however_often_the_log_is_shortened(tmp_path: Path, every: int) -> None:
    """Who reads often enough misses nothing; who does not is told how much was left out, and nothing comes twice."""
    log = LogFile(tmp_path / "log.txt", (), head=2000, tail=4000)
    tail, seen = LogTail(tmp_path / "log.txt"), ""
    for number in range(3000):
        log.write(0, f"line {number}", 0.0)
        if number % every == 0:
            seen += tail.read()
    log.close()
    seen += tail.read()
    lines = [line for line in written(seen) if line.startswith("line ")]
    assert len(lines) == len(set(lines))
    assert lines == sorted(lines, key=lambda line: int(line.split()[1]))
    assert lines[0] == "line 0"
    assert lines[-1] == "line 2999"
    if every <= 17:
        assert lines == [f"line {number}" for number in range(3000)]
    else:
        assert "... bytes left out: " in seen


def test_the_logs_of_several_nodes_are_read_in_order_of_time_each_line_once(tmp_path: Path) -> None:
    nodes = [LogFile(tmp_path / name, ()) for name in ("log.txt", "log-n1.txt")]
    logs, seen = AttemptLog(tmp_path), ""
    for number in range(40):
        nodes[number % 2].write(number % 2, f"line {number}", number / 10)
        if number % 8 == 7:
            seen += logs.read()
    for log in nodes:
        log.close()
    assert written(seen + logs.read()) == [f"line {number}" for number in range(40)]


def test_the_gap_of_a_log_that_was_never_shortened_is_none(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"x" * 200_000)
    with (tmp_path / "log.txt").open("rb") as file:
        gap = find_gap(file)
    assert (gap.place(123_456), gap.written(123_456)) == (123_456, 123_456)


def test_a_letter_that_is_written_in_two_parts_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    whole = "ä".encode()
    path.write_bytes(whole[:1])
    tail = LogTail(path)
    first = tail.read()
    with path.open("ab") as file:
        file.write(whole[1:])
    assert first + tail.read() == "ä"


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert LogTail(tmp_path / "log.txt").read() == ""


def test_following_goes_on_to_the_next_attempt_and_ends_with_the_driver(rehearsal: Rehearsal) -> None:
    def of_index() -> list[Attempt]:
        return [attempt for attempt in attempts(rehearsal) if attempt.label == "index/s0"]

    assert rehearsal.call("run", *ROW).returncode == 0
    again = ("--refresh", "index/s0", "--refresh", "latents")  # while latents run, the driver has a reason to stay
    assert rehearsal.call("run", "--detach", *ROW, *again, seconds=FOR_EVER_S).returncode == 0
    second = wait_for(lambda: of_index()[1:], "the index is not made again")[0]
    log_of(rehearsal, second).write_text("second words\n", encoding="utf-8")
    following = rehearsal.start("logs", "index/s0", "--follow", stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline() == "second words\n"
    for verb in (
        "cancel",
        "retry",
    ):  # in one tick: the job never stands as cancelled, its attempt ends and another begins
        channel.send(rehearsal.home, verb, [second.fingerprint])
    third = wait_for(lambda: of_index()[2:], "the job is not taken up again")[0]
    log_of(rehearsal, third).write_text("third words\n", encoding="utf-8")
    assert following.stdout.readline() == f"==> index/s0: attempt {third.id} on fake-0\n"
    assert following.stdout.readline() == "third words\n"
    rehearsal.call("stop", "--now")
    assert following.wait(60) == 0


def test_following_ends_where_the_driver_has_been_killed(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", *ROW, seconds=FOR_EVER_S).returncode == 0
    holder = read_holder(rehearsal.home)
    assert holder is not None
    following = rehearsal.start("logs", "data", "-f", stdout=subprocess.DEVNULL)
    os.kill(holder.pid, signal.SIGKILL)
    wait_for(lambda: not is_held(rehearsal.home), "the killed driver lives on")
    assert following.wait(60) == 0


def test_one_attempt_is_named_by_the_beginning_of_its_id_and_cut_to_its_last_lines(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", *ROW).returncode == 0
    data = next(attempt for attempt in attempts(rehearsal) if attempt.job.startswith("data"))
    log_of(rehearsal, data).write_text("one\ntwo\nthree\n", encoding="utf-8")
    assert rehearsal.call("logs", "data", "--attempt", data.id[:6], "--tail", "2").stdout == "two\nthree\n"
    assert rehearsal.call("logs", "data").stdout == "one\ntwo\nthree\n"
