"""Pilot jobs without SLURM: the mailbox, scaling, and their states."""

import contextlib
import fcntl
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.ray.environment import ONE_MACHINE
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.core.submit import last_lines
from orchestrator.backends.slurm.pilot.backend import orders_of
from orchestrator.backends.slurm.pilot.mailbox import ORDERS, Orders, append_order, make_folder, pilot_of, pilots_folder
from orchestrator.backends.slurm.pilot.node_launcher import (
    LOCK,
    SETTLE_S,
    node_resources,
    private_folder,
    ray_environment,
    sweep,
)
from orchestrator.backends.slurm.pilot.pilot import AgentState, PilotState, agent_state, ending_of_run, pilot_state
from orchestrator.backends.slurm.pilot.scaling import NO_DEMAND_S, RESUBMIT_QUEUED_S, RESUBMIT_S, Scaling
from orchestrator.host.environment import JobVariables

VARIABLES = JobVariables(every=("LAB_*",), stages={"judge": ("JUDGE_KEY",)})
HOST = {"variables": VARIABLES.as_json(), "store": {"kind": "s3"}}
DESCRIPTION = {"devices": 0, "memory_gib": 16.0, "nodes": 2, "host": HOST}
SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_NODEID": "1",
    "SLURMD_NODENAME": "n2",
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURM_MEM_PER_NODE": "8192",
}


def test_orders_are_read_once_and_in_order(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert folder.parent == pilots_folder(tmp_path)
    orders = Orders(folder)
    assert orders.read() == []
    first = append_order(folder, {"op": "stop", "attempts": ["a"]})
    assert orders.read() == [{"op": "stop", "attempts": ["a"]}] and orders.taken == first
    second = append_order(folder, {"op": "kill", "attempts": ["é"]})
    assert orders.read() == [{"op": "kill", "attempts": ["é"]}] and orders.taken == second
    assert orders.read() == []


@pytest.mark.parametrize("torn", [b'{"restart": 0, "op": "submit", "submis', b'{"restart": 0}\n{"op'])
def test_an_order_that_a_driver_died_over_is_no_order(tmp_path: Path, torn: bytes) -> None:
    folder = make_folder(tmp_path)
    (folder / ORDERS).write_bytes(torn)
    orders = Orders(folder)
    before = orders.read()
    end = append_order(folder, {"op": "leave"})
    assert [order["op"] for order in orders.read()] == ["leave"] and orders.taken == end
    assert not any("op" in order for order in before), "half an order was followed"


def test_a_successor_finds_which_start_of_the_pilot_job_an_attempt_was_ordered_for(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    ends = [
        append_order(folder, {"restart": restart, "op": "submit", "submissions": [{"attempt": name}]})
        for restart, name in ((0, "a"), (2, "b"))
    ]
    assert orders_of(folder) == {"a": (0, ends[0]), "b": (2, ends[1])}
    assert orders_of(tmp_path / "none") == {}


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """As on a full disk: no file of this process grows beyond `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)


def test_a_disk_that_takes_no_order_leaves_none_behind(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    append_order(folder, {"op": "stop"})
    whole = (folder / ORDERS).read_bytes()
    with files_end_at(len(whole) + 5), pytest.raises(OSError, match="File too large"):
        append_order(folder, {"op": "kill"})
    assert (folder / ORDERS).read_bytes() == whole


class Waiting:
    """A loop that looks for room once a second and finds none, unless it is told otherwise."""

    def __init__(self) -> None:
        self.scaling, self.now = Scaling(), 100.0

    def looks(self, seconds: float, *, finds: bool = False, **pilots: int) -> bool:
        """Whether another pilot job was wanted at the end."""
        given = {"living": 1, "coming": 0, "starting": 0, "most": 4, **pilots}
        for _ in range(int(seconds)):
            self.scaling.hosts_requested(self.now)
            if finds:
                self.scaling.placed()
            self.now += 1.0
        return self.scaling.needs_another(self.now, **given)


def test_the_first_pilot_job_is_submitted_at_once() -> None:
    assert Waiting().looks(1, living=0)


def test_jobs_that_find_room_ask_for_nothing() -> None:
    assert not Waiting().looks(60, finds=True)


def test_short_jobs_that_find_a_place_each_second_do_not_hide_those_that_wait() -> None:
    waiting = Waiting()
    for number in range(int(RESUBMIT_S) + 2):
        waiting.looks(1, finds=bool(number % 2))
        waiting.looks(1)
    assert waiting.looks(1)


def test_more_are_asked_for_one_by_one_up_to_the_limit() -> None:
    waiting = Waiting()
    assert waiting.looks(RESUBMIT_S + 2)
    waiting.scaling.asked(waiting.now)
    assert not waiting.looks(RESUBMIT_S - 1) and waiting.looks(1)
    assert not waiting.looks(60, living=4)


def test_one_that_is_on_its_way_is_waited_for() -> None:
    waiting = Waiting()
    assert not waiting.looks(60, starting=1)
    waiting.scaling.asked(waiting.now)
    assert not waiting.looks(RESUBMIT_QUEUED_S - 1, coming=1) and waiting.looks(1, coming=1)


def test_when_nothing_waits_any_more_nothing_is_asked_for() -> None:
    waiting = Waiting()
    assert waiting.looks(RESUBMIT_S + 2)
    waiting.now += NO_DEMAND_S + 1
    assert not waiting.scaling.needs_another(waiting.now, living=0, coming=0, starting=0, most=4)


def job(state: str, restarts: int = 0) -> JobState:
    return JobState(job="7", state=state, restarts=restarts)


SERVING = AgentState(counter=5, phase="serving", job="7")
NOBODY: dict[str, Any] = {
    "fresh": False, "over": None, "job": None, "runs": [], "silent": "", "no_history": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "known", "phase", "ending"),
    [
        (None, {"job": job("PENDING")}, "queued", None),
        (None, {"job": job("RUNNING")}, "starting", None),
        (SERVING, {"job": job("RUNNING"), "fresh": True}, "serving", None),
        (SERVING, {"fresh": True, "silent": "no answer"}, "serving", None),
        (SERVING, {"fresh": True}, "serving", None),
        (AgentState(phase="over"), {"job": job("RUNNING"), "fresh": True}, "leaving", None),
        (SERVING, {"job": job("RUNNING")}, "unknown", None),
        (SERVING, {"silent": "no answer", "job": job("RUNNING")}, "unknown", None),
        (SERVING, {"no_history": "no answer"}, "unknown", None),
        (SERVING, {}, "missing", None),
        (SERVING, {"job": job("PREEMPTED"), "fresh": True}, "ended", "preempted"),
        (SERVING, {"job": job("NODE_FAIL"), "fresh": True}, "ended", "node_lost"),
        (SERVING, {"job": job("TIMEOUT")}, "ended", "interrupted"),
        (SERVING, {"job": job("CANCELLED")}, "ended", "interrupted"),
        (SERVING, {"job": job("OUT_OF_MEMORY")}, "ended", "node_lost"),
        (SERVING, {"runs": [job("FAILED")]}, "ended", "node_lost"),
        (SERVING, {"over": "idle", "job": job("RUNNING"), "fresh": True}, "ended", "interrupted"),
        (SERVING, {"over": "its agent ended with -9", "job": job("PREEMPTED")}, "ended", "preempted"),
    ],
)
def test_the_state_of_a_pilot_job(
    said: AgentState | None, known: dict[str, Any], phase: str, ending: str | None
) -> None:
    found = pilot_state(said, **{**NOBODY, **known})
    assert found.phase == phase
    assert ending is None or found.ending == ending


def test_no_attempt_is_charged_for_the_end_of_its_pilot_job() -> None:
    charged = {"error", "out_of_memory", "timed_out", "vanished", "bad_input"}
    for state in ("FAILED", "COMPLETED", "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED", "BOOT_FAIL", "DEADLINE", "REVOKED"):
        found: PilotState = pilot_state(SERVING, **{**NOBODY, "job": job(state)})
        assert found.ending not in charged, state
    assert ending_of_run([job("FAILED"), job("NODE_FAIL")], 0) == "preempted"
    assert ending_of_run([job("FAILED"), job("NODE_FAIL")], 1) == "node_lost"
    assert ending_of_run([], 0) == "preempted"


def test_a_state_that_somebody_else_wrote_says_nothing() -> None:
    assert agent_state({}) is None and agent_state({"phase": "serving", "colour": 1}) is None
    assert agent_state({"restart": 1, "phase": "serving"}) == AgentState(restart=1, phase="serving")


def test_a_share_is_what_slurm_gave_and_not_what_the_machine_has() -> None:
    share = node_resources("p12", DESCRIPTION, SLURM)
    assert (share.cpus, share.devices, share.memory_gib, share.number) == (3, 0, 6.0, 1)
    assert share.host == "p12.n2" and pilot_of(share.host) == "p12"
    again = node_resources("p12", DESCRIPTION, {**SLURM, "SLURM_RESTART_COUNT": "2"})
    assert again.host == "p12.n2.r2" and pilot_of(again.host) == "p12" and again.restart == 2
    bare = {name: value for name, value in SLURM.items() if name not in ("SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE")}
    assert (
        node_resources("p12", DESCRIPTION, bare).cpus == 4
        and node_resources("p12", DESCRIPTION, bare).memory_gib == 14.0
    )


def test_devices_are_those_of_the_allocation() -> None:
    given = {**SLURM, "CUDA_VISIBLE_DEVICES": "2,5"}
    assert node_resources("p1", {**DESCRIPTION, "devices": 2}, given).devices == 2
    assert node_resources("p1", DESCRIPTION, given).devices == 0, "none was asked for"


def test_nobody_else_enters_the_folder_of_a_ray_and_it_does_not_stay(tmp_path: Path) -> None:
    with private_folder("77", tmp_path) as inner:
        assert inner.is_dir() and stat.S_IMODE(inner.parent.stat().st_mode) == 0o700
        socket = inner / "session_2026-11-27_03-51-36_275965_1573600" / "sockets" / "plasma_store.1"
        assert len(str(Path("/tmp") / socket.relative_to(tmp_path))) <= 107, "a socket's path is too long"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def aged() -> Callable[[Path], None]:
    """Make a folder look as if nobody had touched it for long."""

    def age(folder: Path) -> None:
        then = folder.stat().st_mtime - 2 * SETTLE_S
        os.utime(folder, (then, then))

    return age


def test_what_a_killed_keeper_left_is_swept_and_what_a_living_one_holds_is_not(
    tmp_path: Path, aged: Callable[[Path], None]
) -> None:
    dead, living, young = (tmp_path / f"em-pack-{name}" for name in ("1-dead", "2-living", "3-young"))
    for folder in (dead, living, young):
        folder.mkdir()
        (folder / LOCK).touch()
    aged(dead)
    with (living / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        aged(living)
        sweep([tmp_path])
        assert sorted(folder.name for folder in tmp_path.iterdir()) == [living.name, young.name]


def test_ray_sees_none_of_its_variables_that_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    node = node_resources("p12", DESCRIPTION, {**SLURM, "SLURM_RESTART_COUNT": "2"})
    found = ray_environment(tmp_path, node)
    assert "RAY_ADDRESS" not in found and found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token-2")


def test_ray_in_a_pilot_job_gets_what_its_jobs_need_and_slurms_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LAB_POOL", "JUDGE_KEY", "OTHER_KEY", "SLURM_JOB_ID", "MODULEPATH", "AWS_PROFILE"):
        monkeypatch.setenv(name, "x")
    found = ray_environment(tmp_path, node_resources("p12", DESCRIPTION, SLURM))
    assert {"LAB_POOL", "JUDGE_KEY", "SLURM_JOB_ID", "MODULEPATH"} <= found.keys()
    assert "OTHER_KEY" not in found and "AWS_PROFILE" in found
    of_files = {**DESCRIPTION, "host": {**HOST, "store": {"kind": "files"}}}
    assert "AWS_PROFILE" not in ray_environment(tmp_path, node_resources("p12", of_files, SLURM))


def test_ray_listens_on_loopback_alone_where_no_other_node_joins_it(tmp_path: Path) -> None:
    alone, one_of_two = (node_resources("p12", {**DESCRIPTION, "nodes": nodes}, SLURM) for nodes in (1, 2))
    assert ONE_MACHINE.items() <= ray_environment(tmp_path, alone).items()
    assert not ONE_MACHINE.keys() & ray_environment(tmp_path, one_of_two).keys()


def test_what_a_pilot_job_said_last_is_shown_where_its_agent_could_say_nothing(tmp_path: Path) -> None:
    assert last_lines(tmp_path) == ""
    (tmp_path / "32_0_log.out").write_text("module load cuda\nModule cuda not found\n\n")
    assert last_lines(tmp_path) == ": module load cuda | Module cuda not found"
