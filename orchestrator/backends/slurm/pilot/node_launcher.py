"""The keeper: the task of an allocation on each of its nodes; starts Ray's part there and cleans up after it.

On the first node Ray's part is the agent, which holds the head; on the others it is a raylet that
joins. SLURM sends its signals to every process of a step at once, and Ray would end at TERM before
any attempt could save: so what is started here does not hear USR2 and TERM, the keeper hears them
and tells the agent. (Ranks hear TERM: it asks them to save, as the agent will.)

All of Ray lies in a folder that no other user can enter and that no other allocation shares; its
token is made here and lies in the allocation's folder for as long as Ray lives. The ports are the
kernel's choice.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from orchestrator.backends.ray.environment import HOST_LABEL, OBJECT_STORE, SETTINGS, holding, locked
from orchestrator.backends.ray.session import members
from orchestrator.backends.slurm.pilot.mailbox import JOIN, OVER, PACK, STATE, read_whole, token_of
from orchestrator.backends.slurm.pilot.node_resources import Share, share_of
from orchestrator.backends.slurm.pilot.pilot_state import said_of
from workloads.contract.json_files import read_object, write_object

PARENT = Path("/tmp")
"""A socket's path has 107 bytes at most, so Ray's folder has a short name."""
LOCK = "lock"
RAY = "r"
"""Ray's own folder, inside ours: it lets everybody into the folder that it is given."""
LOOK_S = 0.2
JOIN_S = 300.0
"""For the head to start, on a node that waits to join."""
GONE_S = 10.0
SETTLE_S = 60.0
"""A folder this young may belong to a keeper that has not locked it yet."""
HEARD = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
RAYLETS = 3
"""That a node may lose."""


def keep(folder: Path) -> int:
    """Keep one node of the allocation until it ends; returns the exit code of its task."""
    heard: list[str] = []
    for number in HEARD:
        signal.signal(number, lambda number, _frame: _hear(heard, number, _frame))
    signal.signal(signal.SIGCONT, signal.SIG_IGN)  # SLURM sends it along with TERM
    share = share_of(folder.name, read_object(folder / PACK))
    sweep()
    with private_folder(share.job) as temporary:
        if share.node == 0:
            return _keep_agent(folder, temporary, share, heard)
        return _keep_raylet(folder, temporary, share)


def ray_environment(folder: Path, restart: int) -> dict[str, str]:
    """The environment of all of Ray: none of its variables are the user's, and only who has our token is let in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, **SETTINGS, **holding(token_of(folder, restart))}


@contextlib.contextmanager
def private_folder(job: str, parent: Path = PARENT) -> Iterator[Path]:
    """A folder on this node that only this user can enter, while its keeper lives."""
    made = Path(tempfile.mkdtemp(prefix=f"em-pack-{job}-", dir=parent))
    with (made / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / RAY).mkdir()
        try:
            yield made / RAY
        finally:
            shutil.rmtree(made, ignore_errors=True)


def sweep(parent: Path = PARENT) -> None:
    """Remove what keepers that were killed have left on this node; a living one holds its lock."""
    for folder in parent.glob("em-pack-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime < SETTLE_S or folder.lstat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _hear(heard: list[str], number: int, _frame: FrameType | None) -> None:
    heard.append(signal.Signals(number).name)


def _keep_agent(folder: Path, temporary: Path, share: Share, heard: list[str]) -> int:
    token = token_of(folder, share.restart)
    locked(token)
    command = [sys.executable, "-u", "-m", "orchestrator.backends.slurm.pilot", str(folder), "--agent", str(temporary)]
    child = _start(command, folder, share, subprocess.PIPE)
    assert child.stdin is not None
    told = 0
    while child.poll() is None:
        if told < len(heard):
            with contextlib.suppress(OSError):  # it is ending already
                child.stdin.write(f"{heard[told]}\n".encode())
                child.stdin.flush()
            told += 1
        time.sleep(LOOK_S)
    end_session(child.pid)
    token.unlink(missing_ok=True)
    said = said_of(read_whole(folder / STATE))
    if said is not None and said.restart > share.restart:
        return 1  # SLURM had given this node up
    why = f"its agent ended with {child.returncode}"
    if said is not None and said.phase == "over" and said.restart == share.restart:
        why = said.why
    write_object(folder / OVER, {"restart": share.restart, "code": child.returncode, "why": why})
    return 0 if child.returncode == 0 else 1


def _keep_raylet(folder: Path, temporary: Path, share: Share) -> int:
    """Join the Ray of the first node until its agent has ended."""
    deadline = time.monotonic() + JOIN_S
    while (join := read_whole(folder / JOIN)).get("restart") != share.restart:
        if time.monotonic() > deadline:
            print(f"no Ray to join within {JOIN_S:g} s; see the first node's log in {folder}", file=sys.stderr)
            return 1
        if _is_over(folder, share):
            return 0
        time.sleep(LOOK_S)
    for _ in range(RAYLETS):
        child = _start(join_command(str(join["address"]), temporary, share), folder, share, subprocess.DEVNULL)
        while child.poll() is None and not _is_over(folder, share):
            time.sleep(LOOK_S)
        end_session(child.pid, child)
        if _is_over(folder, share):
            return 0
    print(f"{RAYLETS} raylets have died on this node, one after the other", file=sys.stderr)
    return 1


def join_command(address: str, temporary: Path, share: Share) -> list[str]:
    """Ray's command line for one more node of our size; its fixed ports are replaced by the kernel's choice."""
    return [
        str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats",
        f"--address={address}", f"--temp-dir={temporary}", f"--labels={HOST_LABEL}={share.host}",
        f"--num-cpus={share.cpus}", f"--num-gpus={share.devices}", f"--object-store-memory={OBJECT_STORE}",
        "--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0",
    ]  # fmt: skip


def _is_over(folder: Path, share: Share) -> bool:
    said = said_of(read_whole(folder / STATE))
    if said is None or said.restart < share.restart:
        return False
    return said.restart > share.restart or said.phase == "over"


def _start(command: Sequence[str], folder: Path, share: Share, stdin: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=stdin,
        env=ray_environment(folder, share.restart),
        start_new_session=True,
        preexec_fn=shield,
    )


def shield() -> None:
    """Before a program is started: it, and all that it starts, does not hear SLURM's signals."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})


def end_session(leader: int, child: "subprocess.Popen[bytes] | None" = None) -> None:
    """Kill what is left of the kernel session that `leader` led, and wait until it has gone."""
    if child is not None and child.poll() is None:
        child.kill()
        child.wait()
    deadline = time.monotonic() + GONE_S
    while (left := members(leader)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
