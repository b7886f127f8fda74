"""The node launcher: the task of a pilot job on each of its nodes; starts Ray's part there and cleans up after it.

On the first node Ray's part is the agent, which holds the head; on the others it is a raylet that
joins. SLURM sends its signals to every process of a step at once, and Ray would end at TERM before
any attempt could save: so what is started here does not receive USR2 and TERM; the launcher receives
them and tells the agent. (Ranks receive TERM: it asks them to save, as the agent will.)

All of Ray's files are in a folder that no other user can enter and no other pilot job shares; its token
is made here and lies in the pilot job's mailbox while Ray lives. The kernel chooses the ports.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.environment import (
    HOST_LABEL,
    OBJECT_STORE,
    ONE_MACHINE,
    SETTINGS,
    create_token,
    token_environment,
)
from orchestrator.backends.ray.session import kill_members
from orchestrator.backends.ray.socket_folder import socket_parent, socket_parents
from orchestrator.backends.slurm.pilot.mailbox import DESCRIPTION, JOIN, OVER, STATE, read_whole, token_of
from orchestrator.backends.slurm.pilot.pilot import agent_state
from orchestrator.backends.slurm.settings import RESERVED_GIB
from orchestrator.host.children import python_command
from orchestrator.host.environment import SLURM, passed, patterns_of_hosts
from orchestrator.host.machine import VISIBLE, visible_devices
from workloads.contract.json_files import read_object, write_object

LOCK = "lock"
RAY = "r"
"""Ray's own folder, inside ours: it lets everybody into the folder that it is given."""
LOOK_S = 0.2
JOIN_S = 300.0
"""For the head to start, on a node that waits to join."""
SETTLE_S = 60.0
"""A folder this young may belong to a node launcher that has not create_token it yet."""
SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
MAX_RAYLETS = 3
"""That may die on a node, one after the other, until it gives up."""
MIB_IN_GIB = 1024
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, kw_only=True)
class NodeResources:
    """One node of one start of a pilot job."""

    job: str
    restart: int
    number: int
    """Its number in the allocation; Ray's head is on 0."""
    nodes: int
    """Of the allocation; Ray listens on loopback alone where it is one."""
    host: str
    """Its name for the scheduler: `{pilot}.{name of the node}`, one name for one Ray for ever."""
    cpus: int
    devices: int
    memory_gib: float
    """That jobs may use: less what Ray and the warm server need."""
    variables: tuple[str, ...]
    """Patterns of what its hosts get of the environment, for their jobs and for the store."""


def node_resources(
    pilot: str, description: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> NodeResources:
    """Read what this node has of the pilot job `pilot`.

    Args:
        pilot: its name.
        description: `pack.json`.
        environment: SLURM's variables.

    Raises:
        KeyError: this is no task of a SLURM job.
    """
    restart = int(environment.get("SLURM_RESTART_COUNT") or 0)
    name = environment.get("SLURMD_NODENAME") or environment["SLURM_NODEID"]
    memory = environment.get("SLURM_MEM_PER_NODE", "")
    given_gib = int(memory) / MIB_IN_GIB if memory.isdigit() and int(memory) else float(description["memory_gib"])
    again = f".r{restart}" if restart else ""
    return NodeResources(
        job=environment["SLURM_JOB_ID"],
        restart=restart,
        number=int(environment.get("SLURM_NODEID") or 0),
        nodes=int(description["nodes"]),
        host=f"{pilot}.{UNSAFE.sub('-', name)}{again}",
        cpus=int(environment.get("SLURM_CPUS_PER_TASK") or environment["SLURM_CPUS_ON_NODE"]),
        devices=len(visible_devices(environment.get(VISIBLE, ""))) if description["devices"] else 0,
        memory_gib=max(0.0, given_gib - RESERVED_GIB),
        variables=patterns_of_hosts(description["host"]),
    )


def launch_node(folder: Path) -> int:
    """Run Ray's part on one node of the pilot job until that ends; returns the exit code of the task."""
    received: list[str] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: received.append(signal.Signals(number).name))
    signal.signal(signal.SIGCONT, signal.SIG_IGN)  # SLURM sends it along with TERM
    node = node_resources(folder.name, read_object(folder / DESCRIPTION))
    sweep()
    with private_folder(node.job) as temporary:
        if node.number == 0:
            return _run_agent(folder, temporary, node, received)
        return _run_raylet(folder, temporary, node)


def ray_environment(folder: Path, node: NodeResources) -> dict[str, str]:
    """The environment of all of Ray: none of its variables are the user's, and only who has our token is let in."""
    allowed = passed(os.environ, (*SLURM, *node.variables))
    kept = {name: value for name, value in allowed.items() if not name.startswith("RAY_")}
    alone = ONE_MACHINE if node.nodes == 1 else {}
    return {**kept, **SETTINGS, **alone, **token_environment(token_of(folder, node.restart))}


@contextlib.contextmanager
def private_folder(job: str, parent: Path | None = None) -> Iterator[Path]:
    """A folder on this node that only this user can enter, while its node launcher lives.

    Raises:
        BackendError: `parent` is not given, and no folder can be used; says why.
    """
    made = Path(tempfile.mkdtemp(prefix=f"em-pack-{job}-", dir=parent or socket_parent()))
    with (made / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / RAY).mkdir()
        try:
            yield made / RAY
        finally:
            shutil.rmtree(made, ignore_errors=True)


def sweep(parents: Iterable[Path] | None = None) -> None:
    """Remove what node launchers that were killed have left on this node; a living one holds its lock."""
    for folder in (one for parent in parents or socket_parents() for one in parent.glob("em-pack-*")):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime < SETTLE_S or folder.lstat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _run_agent(folder: Path, temporary: Path, node: NodeResources, received: list[str]) -> int:
    token = token_of(folder, node.restart)
    create_token(token)
    command = python_command(
        "orchestrator.backends.slurm.pilot", str(folder), "--agent", str(temporary), unbuffered=True
    )
    child = _start(command, folder, node, subprocess.PIPE)
    assert child.stdin is not None
    told = 0
    while child.poll() is None:
        if told < len(received):
            with contextlib.suppress(OSError):  # it is ending already
                child.stdin.write(f"{received[told]}\n".encode())
                child.stdin.flush()
            told += 1
        time.sleep(LOOK_S)
    kill_members(child.pid)
    token.unlink(missing_ok=True)
    agent = agent_state(read_whole(folder / STATE))
    if agent is not None and agent.restart > node.restart:
        return 1  # SLURM had given this node up
    why = f"its agent ended with {child.returncode}"
    if agent is not None and agent.phase == "over" and agent.restart == node.restart:
        why = agent.why
    write_object(folder / OVER, {"restart": node.restart, "code": child.returncode, "why": why})
    return 0 if child.returncode == 0 else 1


def _run_raylet(folder: Path, temporary: Path, node: NodeResources) -> int:
    """Join the Ray of the first node until its agent has ended."""
    deadline = time.monotonic() + JOIN_S
    while (join := read_whole(folder / JOIN)).get("restart") != node.restart:
        if time.monotonic() > deadline:
            print(f"no Ray to join within {JOIN_S:g} s; see the first node's log in {folder}", file=sys.stderr)
            return 1
        if _is_over(folder, node):
            return 0
        time.sleep(LOOK_S)
    for _ in range(MAX_RAYLETS):
        child = _start(join_command(str(join["address"]), temporary, node), folder, node, subprocess.DEVNULL)
        while child.poll() is None and not _is_over(folder, node):
            time.sleep(LOOK_S)
        child.kill()
        child.wait()
        kill_members(child.pid)
        if _is_over(folder, node):
            return 0
    print(f"{MAX_RAYLETS} raylets have died on this node, one after the other", file=sys.stderr)
    return 1


def join_command(address: str, temporary: Path, node: NodeResources) -> list[str]:
    """Ray's command line for one more node of our size; its fixed ports are replaced by the kernel's choice."""
    return [
        *python_command("ray.scripts.scripts"), "start", "--block", "--disable-usage-stats",
        f"--address={address}", f"--temp-dir={temporary}", f"--labels={HOST_LABEL}={node.host}",
        f"--num-cpus={node.cpus}", f"--num-gpus={node.devices}", f"--object-store-memory={OBJECT_STORE}",
        "--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0",
    ]  # fmt: skip


def _is_over(folder: Path, node: NodeResources) -> bool:
    agent = agent_state(read_whole(folder / STATE))
    if agent is None or agent.restart < node.restart:
        return False
    return agent.restart > node.restart or agent.phase == "over"


def _start(command: Sequence[str], folder: Path, node: NodeResources, stdin: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=stdin,
        env=ray_environment(folder, node),
        start_new_session=True,
        preexec_fn=ignore_slurm_signals,
    )


def ignore_slurm_signals() -> None:
    """Before a program is started: it, and all that it starts, does not receive SLURM's signals."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
