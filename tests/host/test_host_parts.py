"""The host's small parts: endings, the log, memory, the copy of the code, names of processes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.errors import PlanError
from orchestrator.host.code import code_files, copy_code, digest_of
from orchestrator.host.endings import RankEnd, deciding_rank, ending_of
from orchestrator.host.launch import bind_rendezvous, rank_environment, rendezvous_of
from orchestrator.host.log_collector import LogCollector, LogFile
from orchestrator.host.machine import group_members, machine_devices, machine_gib, oom_kills, pss_bytes
from orchestrator.host.multi_node import ranks_of_node
from orchestrator.host.processes import end_leftovers, is_alive, start_time, write_processes
from workloads.runtime.server import send_signal

KILL = RankEnd(code=None, signal=signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "reason", "oom", "ending"),
    [
        (RankEnd(code=1, signal=None), None, False, "error"),
        (RankEnd(code=2, signal=None), None, False, "bad_input"),
        (RankEnd(code=5, signal=None), None, False, "diverged"),
        (RankEnd(code=5, signal=None), "stop", False, "diverged"),
        (RankEnd(code=3, signal=None), None, False, "interrupted"),
        (RankEnd(code=3, signal=None), "stop", False, "interrupted"),
        (RankEnd(code=3, signal=None), "time", False, "timed_out"),
        (RankEnd(code=4, signal=None), None, False, "out_of_memory"),
        (RankEnd(code=4, signal=None), "stop", False, "out_of_memory"),
        (RankEnd(code=1, signal=None), "stop", False, "error"),
        (RankEnd(code=77, signal=None), None, True, "error"),
        (RankEnd(code=None, signal=signal.SIGSEGV), None, True, "error"),
        (RankEnd(code=None, signal=signal.SIGABRT), "stop", False, "error"),
        (RankEnd(code=None, signal=signal.SIGTERM), None, False, "interrupted"),
        (KILL, None, True, "out_of_memory"),
        (KILL, None, False, "vanished"),
        (KILL, "memory", False, "out_of_memory"),
        (KILL, "time", False, "timed_out"),
        (KILL, "stop", True, "interrupted"),
        (KILL, "kill", False, "interrupted"),
    ],
)
def test_every_code_and_signal_has_its_ending(end: RankEnd, reason: str | None, oom: bool, ending: str) -> None:
    assert ending_of(end, stop_reason=reason, oom_rose=oom)[0] == ending  # type: ignore[arg-type]


def test_the_rank_that_knows_why_speaks_for_all() -> None:
    ends = {0: KILL, 1: RankEnd(code=1, signal=None), 2: RankEnd(code=4, signal=None)}
    assert deciding_rank(ends, first=1) == 2
    assert deciding_rank({0: KILL, 1: RankEnd(code=1, signal=None)}, first=1) == 1
    assert deciding_rank({0: RankEnd(code=0, signal=None)}, first=None) is None


def test_a_log_keeps_its_first_and_its_last_bytes_and_says_what_is_left_out(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.txt", (), head=1000, tail=2000)
    for number in range(2000):
        log.write(0, f"line {number:05d}", 0.0)
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].endswith("line 00000") and lines[-1].endswith("line 01999")
    (note,) = [index for index, line in enumerate(lines) if line.startswith("...")]
    after = [int(line[-5:]) for line in lines[note + 1 :]]
    assert after == list(range(after[0], 2000)), "the end has no gap"
    length = len(lines[0]) + 1
    assert int(lines[note].rpartition(" ")[2]) == (2000 - note - len(after)) * length
    assert sum(len(line) + 1 for line in lines) < 1000 + 2000 + 3 * length


def test_the_pump_marks_lines_with_clock_and_rank_and_breaks_progress_bars(tmp_path: Path) -> None:
    pump = LogCollector()
    log = LogFile(tmp_path / "log.txt", ())
    writing, ended = pump.open(log, 3)
    os.write(writing, b"10 %\r20 %\r\nbroken \xff byte\nno end")
    os.close(writing)
    assert ended.wait(10)
    pump.close()
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line[13:] for line in lines] == ["r3 | 10 %", "r3 | 20 %", "r3 | broken \ufffd byte", "r3 | no end"]


def test_memory_of_a_group_is_what_its_processes_hold() -> None:
    code = "x = bytearray(64 << 20); print('here', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"here\n"
        assert group_members([child.pid]) == [child.pid]
        assert 64 << 20 <= pss_bytes([child.pid]) < 128 << 20
    assert pss_bytes([child.pid]) == 0


HIDDEN = """
import os, sys, tempfile
from pathlib import Path
from orchestrator.backends.ray.session import session_folder, sweep
from orchestrator.host.machine import group_members
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.lease_holder import this_process
from orchestrator.schedule.clock import SimulatedClock
from dataclasses import replace
other = this_process()
os.setgroups([]), os.setgid(65534), os.setuid(65534)
assert os.getpid() in group_members([os.getpgid(0)])
with tempfile.TemporaryDirectory() as parent:
    folder = session_folder(1, 1, Path(parent))
    folder.mkdir()
    sweep([Path(parent)])
    assert not folder.exists()
    clock = SimulatedClock()
    acquire(Path(parent), clock, replace(other, pid=1))
    began = clock.monotonic()
    acquire(Path(parent), clock).check()
    assert clock.monotonic() - began >= 60, "who may not be looked at is watched instead"
"""


@pytest.mark.root
def test_processes_of_others_that_may_not_be_looked_at_are_none_of_ours() -> None:
    """As on a shared machine whose /proc is mounted with `hidepid=1`."""
    mounted = ["unshare", "--mount", "/bin/sh", "-c", 'mount -t proc -o hidepid=1 proc /proc && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a /proc, and not in every container")
    done = subprocess.run([*mounted, sys.executable, "-c", HIDDEN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_kills_for_memory_are_counted_in_cgroups_of_both_versions(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "vmstat").write_text("nr_free 5\noom_kill 2\n")
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/job\n0::/slice\n")
    for folder, name, text in (
        ("memory/job", "memory.oom_control", "oom_kill_disable 0\noom_kill 3\n"),
        ("slice", "memory.events", "oom 9\noom_kill 4\n"),
    ):
        (cgroups / folder).mkdir(parents=True)
        (cgroups / folder / name).write_text(text)
    assert oom_kills(proc, cgroups) == 2 + 3 + 4
    (proc / "meminfo").write_text("MemTotal: 8388608 kB\n")
    assert machine_gib(proc, cgroups) == 8.0
    (cgroups / "slice" / "memory.max").write_text(f"{2 << 30}\n")
    assert machine_gib(proc, cgroups) == 2.0


def test_devices_are_counted_by_their_files(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert machine_devices({}, tmp_path) == 2


def checkout(root: Path) -> Path:
    """A checkout with three files that count and four that do not."""
    for name in (
        "orchestrator/a.py",
        "workloads/b.py",
        "constraints.txt",
        "orchestrator/__pycache__/a.pyc",
        "README.md",
        "orchestrator/.env",
        "workloads/.editor/backup.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_copy_of_the_code_does_not_follow_the_checkout(tmp_path: Path) -> None:
    root, home = checkout(tmp_path / "root"), tmp_path / "home"
    digest, folder = copy_code(home, root)
    assert folder == home / "code" / digest and digest_of(code_files(folder)) == digest
    assert [path.as_posix() for path in code_files(folder)] == [
        "constraints.txt",
        "orchestrator/a.py",
        "workloads/b.py",
    ]
    (root / "orchestrator" / "a.py").write_text("changed")
    assert (folder / "orchestrator" / "a.py").read_text() == "orchestrator/a.py"
    assert copy_code(home, root)[0] != digest


@pytest.mark.parametrize("home", ["package/outputs/study", "package/study"])
def test_the_copy_of_a_package_holds_none_of_the_outputs_inside_it(tmp_path: Path, home: str) -> None:
    root, package = checkout(tmp_path / "root"), tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "a.py").write_text("a")
    os.mkfifo(package / "pipe")
    odd = os.fsdecode(b"\xff.txt")  # no UTF-8
    (package / "inner" / odd).write_text("b")
    (package / "loop").symlink_to(package)
    (package / "dangling").symlink_to(package / "nothing")
    digest, folder = copy_code(tmp_path / home, root, ("package", package))
    (tmp_path / home / "ledger.sqlite").write_text("grows")
    assert sorted(path.name for path in (folder / "package").rglob("*")) == ["a.py", "inner", odd]
    assert copy_code(tmp_path / home, root, ("package", package)) == (digest, folder)


@pytest.mark.parametrize("name", ["orchestrator/a.py", "constraints.txt", "numpy.py", "workloads/inner/x.so"])
def test_a_copy_of_the_code_that_somebody_has_changed_is_not_run(tmp_path: Path, name: str) -> None:
    root, home = checkout(tmp_path / "root"), tmp_path / "home"
    _, folder = copy_code(home, root)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"of Python")
    (folder / "core.123").write_bytes(b"of nobody")
    copy_code(home, root)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("import os")
    with pytest.raises(
        PlanError, match=rf"{name}: was changed, removed or added .*; move the copy away.*: mv {folder} "
    ):
        copy_code(home, root)


def test_a_file_of_a_package_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"gone.py: cannot be copied to where jobs run: No such file"):
        digest_of({Path("gone.py"): tmp_path / "gone.py"})


def test_two_drivers_copy_the_code_at_once_and_both_have_it(tmp_path: Path) -> None:
    root, home = checkout(tmp_path / "root"), tmp_path / "home"
    digest, folder = copy_code(home, root)
    assert copy_code(home, root) == (digest, folder)
    assert [path.name for path in (home / "code").iterdir()] == [digest]


def test_a_leftover_is_ended_and_a_process_that_got_its_number_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as child:
        reaper = threading.Thread(target=child.wait)
        reaper.start()
        started = start_time(child.pid)
        assert started is not None
        write_processes(tmp_path, {0: (child.pid, started - 1)})
        assert end_leftovers(tmp_path) and is_alive(child.pid, started)
        write_processes(tmp_path, {0: (child.pid, started)})
        assert end_leftovers(tmp_path) and not is_alive(child.pid, started)
        reaper.join()
    assert end_leftovers(tmp_path / "nowhere")


def test_a_bound_socket_is_named_in_every_ranks_rendezvous() -> None:
    with bind_rendezvous("127.0.0.1") as store:
        port = store.getsockname()[1]
        assert port > 0
        second_node = ranks_of_node(4, 1, 2)
        assert rendezvous_of(3, second_node, "127.0.0.1", port) == {
            "world_size": 4,
            "rank": 3,
            "local_rank": 1,
            "address": "127.0.0.1",
            "port": port,
            "listen_fd": None,
        }
    assert rendezvous_of(0, ranks_of_node(1), None, None)["port"] is None


def test_a_schedulers_variables_reach_no_rank() -> None:
    base = {"PATH": "/bin", "RAY_x": "1", "SLURM_JOB_ID": "7", "OMP_NUM_THREADS": "64", "CUDA_VISIBLE_DEVICES": "0,1,2"}
    given = rank_environment(
        base,
        {"threads": 2, "deterministic": True},
        rank=3,
        ranks=ranks_of_node(4, 1, 2),
        visible=["1", "2"],
        code_folder="/code",
    )
    assert (given["RANK"], given["WORLD_SIZE"], given["LOCAL_WORLD_SIZE"]) == ("3", "4", "2")
    assert given["OMP_NUM_THREADS"] == "2" and given["CUDA_VISIBLE_DEVICES"] == "1,2" and given["LOCAL_RANK"] == "1"
    assert given["PATH"] == "/bin" and not any(name.startswith(("RAY_", "SLURM_")) for name in given)


def test_ranks_of_one_node_listen_on_loopback_alone() -> None:
    base = {"NCCL_SOCKET_IFNAME": "ib0"}

    def interfaces(nodes: int) -> list[str | None]:
        given = rank_environment(
            base,
            {"threads": 1, "deterministic": False},
            rank=0,
            ranks=ranks_of_node(4, 0, nodes),
            visible=(),
            code_folder="/code",
        )
        return [given.get("NCCL_SOCKET_IFNAME"), given.get("GLOO_SOCKET_IFNAME")]

    assert interfaces(1) == ["lo", "lo"]
    assert interfaces(2) == ["ib0", None], "several nodes need the network, and the user may say which"


def test_a_rank_that_leads_no_group_yet_is_killed_all_the_same() -> None:
    # Between fork and setsid a kill of its group finds no group, and was lost.
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert os.getpgid(child.pid) != child.pid
    send_signal(child.pid, signal.SIGKILL, group=True)
    assert child.wait(30) == -signal.SIGKILL
