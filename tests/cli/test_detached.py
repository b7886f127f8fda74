"""Drivers without a terminal, and terminals that go away: on the fake backend, by the real command line."""

import json
import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path

from rehearsal import CHECKOUT, CLUSTER, ECHO_MATRIX, FOR_EVER_S, Rehearsal, wait_for

from orchestrator.commands.run.detach import BoundedFile
from orchestrator.schedule.lease_holder import is_held, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger

ROW = ("--rows", "context-k1")


def in_a_terminal(line: list[str], environment: dict[str, str]) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a command in a terminal of its own, and give the terminal's other end.

    Not by `pty.fork`: a fork needs the kernel's promise of as much memory again as this process has, which with torch
    in it is refused where memory is short or not overcommitted (ENOMEM); `subprocess` uses vfork, which needs none.
    """
    terminal, inside = pty.openpty()
    # The tests themselves may run under nohup.
    command = ["setsid", "--ctty", "env", "--default-signal=HUP", *line]
    started = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    return started, terminal


def output_at_its_end(rehearsal: Rehearsal) -> str:
    """What a detached driver wrote, once its last line is there: it gives the study back before it writes that line."""
    path = rehearsal.home / "driver.out"
    return str(
        wait_for(lambda: (text := path.read_text(encoding="utf-8")).endswith("11 done\n") and text, "no last line")
    )


def endings(rehearsal: Rehearsal) -> list[str | None]:
    with Ledger.read(rehearsal.home / NAME) as ledger:
        return [attempt.ending for attempt in ledger.attempts()]


def test_a_detached_run_returns_once_it_works_and_ends_by_itself(rehearsal: Rehearsal) -> None:
    done = rehearsal.call("run", "--detach", *ROW, seconds=0.3)
    holder = read_holder(rehearsal.home)
    assert done.returncode == 0, done.stderr
    assert holder is not None
    assert f"pid {holder.pid} is running the study; its output goes to {rehearsal.home / 'driver.out'}" in done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["status", "logs", "stop"]
    assert rehearsal.call("status", "--watch").returncode == 0
    assert output_at_its_end(rehearsal).startswith("echo-memory · laptop: 11 of 11 jobs to do\n")
    assert not is_held(rehearsal.home)
    assert not list(rehearsal.home.glob(".driver.out*"))


def test_a_detached_run_runs_this_code_and_not_that_of_the_current_folder(rehearsal: Rehearsal, tmp_path: Path) -> None:
    for name in ("orchestrator", "workloads", "reports", "yaml"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} of the current folder')\n")
    line = rehearsal.line("run", "--detach", *ROW)
    done = subprocess.run(
        line, env=rehearsal.environment(0.1), cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert output_at_its_end(rehearsal).startswith("echo-memory · laptop: 11 of 11 jobs to do\n")
    assert not is_held(rehearsal.home)


def test_a_second_detached_run_is_refused_and_names_the_first(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", *ROW, seconds=FOR_EVER_S).returncode == 0
    holder = read_holder(rehearsal.home)
    assert holder is not None
    try:
        second = rehearsal.call("run", "--detach", *ROW)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"pid {holder.pid} on {holder.host} is running this study" in second.stderr
        assert read_holder(rehearsal.home) is not None
    finally:
        rehearsal.call("stop", "--now")


def test_of_two_detached_runs_at_once_one_drives_and_the_other_says_who(rehearsal: Rehearsal) -> None:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [rehearsal.start("run", "--detach", *ROW, seconds=FOR_EVER_S, **streams) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    try:
        codes = sorted(process.returncode for process in both)
        assert codes == [0, 1], said
        loser = next(words for words, process in zip(said, both, strict=True) if process.returncode)
        holder = read_holder(rehearsal.home)
        assert holder is not None
        assert f"pid {holder.pid}" in loser[1] or "several processes start at once" in loser[1]
        assert "Traceback" not in loser[1]
    finally:
        rehearsal.call("stop", "--now")


def test_with_nothing_to_do_a_detached_run_says_so_and_starts_nobody(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", *ROW).returncode == 0
    done = rehearsal.call("run", "--detach", *ROW)
    assert (done.returncode, done.stdout) == (0, "nothing to do: all 11 jobs are done\n")


def test_what_stops_a_detached_driver_is_said_where_it_was_started(rehearsal: Rehearsal) -> None:
    rehearsal.home.mkdir(parents=True)
    (rehearsal.home / NAME).mkdir()
    done = rehearsal.call("run", "--detach", *ROW)
    assert done.returncode == 1
    assert str(rehearsal.home / NAME) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_detached_driver_outlives_the_terminal_and_the_shell_that_started_it(rehearsal: Rehearsal) -> None:
    line = shlex.join(rehearsal.line("run", "--detach", *ROW))
    shell, terminal = in_a_terminal(["/bin/sh", "-c", f"{line}; sleep 600"], rehearsal.environment(0.7))
    said = b""
    while b"echo-matrix stop" not in said:
        said += os.read(terminal, 1 << 12)
    holder = read_holder(rehearsal.home)
    assert holder is not None
    os.close(terminal)  # the kernel sends SIGHUP to the shell's session
    shell.wait()
    os.kill(holder.pid, signal.SIGHUP)
    assert rehearsal.call("status", "--watch").returncode == 0
    assert set(endings(rehearsal)) == {"ok"}


def test_a_run_whose_terminal_closes_stops_at_a_checkpoint_and_goes_on_later(rehearsal: Rehearsal) -> None:
    run, terminal = in_a_terminal(rehearsal.line("run", *ROW), rehearsal.environment(FOR_EVER_S))
    wait_for(lambda: (rehearsal.home / NAME).exists() and endings(rehearsal), "nothing was started")
    os.close(terminal)
    assert run.wait() == 130
    assert endings(rehearsal) == ["interrupted"]
    assert not is_held(rehearsal.home)
    assert rehearsal.call("run", *ROW).returncode == 0


def test_a_run_whose_reader_ends_stops_at_a_checkpoint_without_a_traceback(rehearsal: Rehearsal) -> None:
    reading, writing = os.pipe()
    line = ["env", "--default-signal=HUP", *rehearsal.line("run", *ROW)]  # the tests themselves may run under nohup
    process = subprocess.Popen(line, env=rehearsal.environment(2.0), stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said == ""
    assert "interrupted" in endings(rehearsal) or endings(rehearsal) == []
    assert not is_held(rehearsal.home)


def test_a_run_without_standard_streams_ends_as_any_other(rehearsal: Rehearsal) -> None:
    line = shlex.join(rehearsal.line("run", *ROW))
    done = subprocess.run(["/bin/sh", "-c", f"{line} <&- >&- 2>&-"], env=rehearsal.environment(0.0), timeout=120)
    assert done.returncode == 0
    assert set(endings(rehearsal)) == {"ok"}


def test_ctrl_c_beside_a_reader_that_ends_counts_once(rehearsal: Rehearsal) -> None:
    process = rehearsal.start("run", *ROW, seconds=FOR_EVER_S, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: (rehearsal.home / NAME).exists() and endings(rehearsal), "nothing was started")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    log = [json.loads(line) for line in (rehearsal.home / "driver.log").read_text(encoding="utf-8").splitlines()]
    assert [line["what"] for line in log if line["what"] in ("stop", "kill")] == ["stop"]


def test_stop_ends_the_driver_and_waits_for_it(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", *ROW, seconds=FOR_EVER_S).returncode == 0
    done = rehearsal.call("stop")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith("to stop at the next checkpoint")
    assert done.stdout.splitlines()[-1] == "the run has ended; `echo-matrix run` continues it"
    assert not is_held(rehearsal.home)
    assert endings(rehearsal) == ["interrupted"]


def test_stop_without_a_driver_says_so(rehearsal: Rehearsal) -> None:
    done = rehearsal.call("stop")
    assert (done.returncode, done.stdout) == (0, "no run is in progress\n")


def test_a_stop_that_was_meant_for_an_earlier_driver_does_not_stop_the_next(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", *ROW, seconds=FOR_EVER_S).returncode == 0
    holder = read_holder(rehearsal.home)
    assert holder is not None
    os.kill(holder.pid, signal.SIGSTOP)
    assert rehearsal.call("stop", "--no-wait").returncode == 0
    os.kill(holder.pid, signal.SIGKILL)
    wait_for(lambda: not is_held(rehearsal.home), "the killed driver lives on")
    assert rehearsal.call("run", *ROW).returncode == 0


def test_watch_ends_with_1_where_the_run_left_something_undone(rehearsal: Rehearsal) -> None:
    assert rehearsal.call("run", "--detach", *ROW, seconds=FOR_EVER_S).returncode == 0
    watching = rehearsal.start("status", "--watch", "--json", stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert first["driver"]["pid"] > 0
    assert [one["label"] for one in first["running"]] == ["data"]
    rehearsal.call("stop", "--now")
    rest, _ = watching.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert (last["driver"], last["all_done"], watching.returncode) == (None, False, 1)


def test_output_of_a_detached_driver_is_bounded_and_keeps_its_begin_and_end(tmp_path: Path) -> None:
    path = tmp_path / "driver.out"
    with path.open("ab") as file:
        out = BoundedFile(path, file.fileno(), head=1000, tail=2000)
        for number in range(2000):
            out.write(f"line {number}\n".encode())
    lines = path.read_text(encoding="utf-8").splitlines()
    assert path.stat().st_size <= 1000 + 2 * 2000 + 100
    assert lines[:3] == ["line 0", "line 1", "line 2"]
    assert lines[-2:] == ["line 1998", "line 1999"]
    assert "... bytes left out" in lines


def test_a_detached_run_takes_the_name_of_its_cluster_along(tmp_path: Path) -> None:
    asked = Rehearsal(tmp_path)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "fake.yaml").write_text(CLUSTER, encoding="utf-8")
    (tmp_path / "matrix.yaml").write_bytes((CHECKOUT / "matrix.yaml").read_bytes())
    line = [str(ECHO_MATRIX), "run", "--detach", "--backend", "fake", *ROW]
    done = subprocess.run(line, env=asked.environment(0.3), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].endswith(" --cluster fake")
    wait_for(lambda: not is_held(asked.home), "the driver does not end")
    assert set(endings(asked)) == {"ok"}
    assert not (asked.home / "mlflow.db").exists()  # cluster/fake.yaml beside the matrix, not the built-in values
