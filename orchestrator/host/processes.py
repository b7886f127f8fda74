"""Process identity: a pid identifies a process only together with its start time and the boot.

`process.json` in the attempt's folder lists the ranks of an attempt, so that a later controller can end those that are
left, and knows when they have ended.
"""

import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from workloads.contract.json_files import read_object, write_object

FILE = "process.json"
EXIT_WITHIN_S = 5.0  # a killed process that is still there after this long hangs in the kernel


def boot_id() -> str:
    """The kernel's id of this boot: start times of two boots cannot be compared.

    Empty where there is no /proc (macOS), where a study can be looked at and no process of it ever runs.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none, or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process with this pid and start time runs; one that may not be inspected is another user's."""
    try:
        return start_time(pid) == started
    except PermissionError:
        return False


def write_processes(attempt_folder: Path, ranks: Mapping[int, tuple[int, int]], name: str = FILE) -> None:
    """Write `process.json` atomically; `ranks` is rank -> (pid, start time)."""
    content = {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "ranks": [{"rank": rank, "pid": pid, "start_time": time_} for rank, (pid, time_) in sorted(ranks.items())],
    }
    write_object(attempt_folder / name, content)


def read_processes(attempt_folder: Path, name: str = FILE) -> list[tuple[int, int]]:
    """`(pid, start time)` of an attempt's ranks that may run on this machine; empty where it never started here."""
    raw = _read(attempt_folder, name)
    if raw is None or raw["boot_id"] != boot_id() or raw["host"] != socket.gethostname():
        return []
    return [(int(entry["pid"]), int(entry["start_time"])) for entry in raw["ranks"]]


def place_of(attempt_folder: Path, name: str = FILE) -> Literal["here", "elsewhere", "nowhere"]:
    """Where an attempt's ranks ran, as `process.json` says; an earlier boot of this machine is `nowhere` too."""
    raw = _read(attempt_folder, name)
    if raw is None:
        return "nowhere"
    if raw["host"] != socket.gethostname():
        return "elsewhere"
    return "here" if raw["boot_id"] == boot_id() else "nowhere"


def _read(attempt_folder: Path, name: str) -> dict[str, Any] | None:
    """`process.json`; None where there is none, or it is not valid."""
    try:
        raw = read_object(attempt_folder / name)
        ranks = [(int(entry["pid"]), int(entry["start_time"])) for entry in raw["ranks"]]
        known = isinstance(raw["host"], str) and isinstance(raw["boot_id"], str)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return raw if known and all(pid > 1 for pid, _ in ranks) else None


def end_leftovers(attempt_folder: Path, name: str = FILE) -> bool:
    """Kill what is left on this machine of an attempt whose host has died; True: nothing of it is left.

    `name`: of the file with the processes of the node that it is about (`node_file`).
    """
    ranks = read_processes(attempt_folder, name)
    for pid, started in ranks:
        if is_alive(pid, started):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    deadline = time.monotonic() + EXIT_WITHIN_S
    while any(is_alive(pid, started) for pid, started in ranks):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
