"""Whom the chaos suite kills: processes of one study, found in /proc, never those of a study that runs beside.

A process is ours if it carries the study's home in its environment, descends from one that does, or
is in a session that one of ours has led: Ray's workers write their title over their environment,
and belong to whatever reaps them once the raylet is dead.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A living process, by pid and start time (clock ticks since boot)."""

    pid: int
    started: int
    parent: int
    session: int
    command: str

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _is_rank(one: Process, ours: Mapping[int, Process]) -> bool:
    parent = ours.get(one.parent)
    return parent is not None and _is_server(one) and _is_server(parent)


def _is_server(one: Process) -> bool:
    return "-m workloads.runtime.server" in one.command


KINDS: Mapping[str, Callable[[Process, Mapping[int, Process]], bool]] = {
    "driver": lambda one, ours: "echo-matrix run" in one.command or "node_driver.py" in one.command,
    "Ray child": lambda one, ours: one.command.endswith("-m orchestrator.backends.ray local"),
    "guard of Ray": lambda one, ours: "-m orchestrator.backends.ray.guard" in one.command,
    "Ray's head (gcs_server)": lambda one, ours: "/gcs_server " in one.command,
    "raylet": lambda one, ours: "/raylet/raylet " in one.command,
    "host actor": lambda one, ours: one.command.startswith("ray::Host"),
    "warm server": lambda one, ours: _is_server(one) and not _is_rank(one, ours),
    "job process": _is_rank,
    "tracking child": lambda one, ours: one.command.endswith("-m orchestrator.tracking.mlflow"),
}
"""Kind -> whether a process, among all of ours, is one."""
EVERYTHING = "everything at once"
ONE_OF_TWO = "one rank of two"


class Family:
    """All processes of the study at `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._mark = f"ECHO_MATRIX_HOME={home}".encode()
        self._sessions: dict[int, int] = {}
        """Sessions that ours have led -> when the leader started, clock ticks."""

    def living(self) -> dict[int, Process]:
        """By pid, at this moment."""
        everyone = _everyone()
        ours = {pid: one for pid, one in everyone.items() if self._is_marked(pid)}
        for one in ours.values():
            if one.session == one.pid:
                self._sessions[one.pid] = one.started
        for pid, one in everyone.items():
            leader = everyone.get(one.session)
            known = self._sessions.get(one.session)
            if known is not None and (leader is None or leader.started == known):
                ours[pid] = one
        grown = True
        while grown:
            more = {pid: one for pid, one in everyone.items() if one.parent in ours and pid not in ours}
            ours.update(more)
            grown = bool(more)
        ours.pop(os.getpid(), None)
        return ours

    def of_kind(self, kind: str) -> list[Process]:
        """The living ones of a kind, oldest first."""
        ours = self.living()
        if kind == EVERYTHING:
            found = [*ours.values()]
        elif kind == ONE_OF_TWO:
            in_company = self._in_company()
            found = [one for one in ours.values() if one.pid in in_company]
        else:
            found = [one for one in ours.values() if KINDS[kind](one, ours)]
        return sorted(found, key=lambda one: (one.started, one.pid))

    def end(self, within_s: float = 20.0) -> None:
        """Kill all of them, again and again until none is left; fails after `within_s`."""
        deadline = time.monotonic() + within_s
        while ours := self.living():
            for one in ours.values():
                one.signal(signal.SIGCONT)
                one.signal(signal.SIGKILL)
            assert time.monotonic() < deadline, f"cannot be killed: {[one.command for one in ours.values()]}"
            time.sleep(0.05)

    def _in_company(self) -> set[int]:
        """Process ids of ranks of attempts that have several, as their attempt folders name them."""
        found: set[int] = set()
        for path in self._home.glob("*/attempts/*/*/process.json"):
            with contextlib.suppress(OSError, ValueError):
                ranks = json.loads(path.read_text(encoding="utf-8"))["ranks"]
                found.update(rank["pid"] for rank in ranks if len(ranks) > 1)
        return found

    def _is_marked(self, pid: int) -> bool:
        try:
            return self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False


def _everyone() -> dict[int, Process]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if fields[0] in ("Z", "X"):
                    continue
                raw = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = Process(
                    pid=int(entry.name),
                    started=int(fields[19]),
                    parent=int(fields[1]),
                    session=int(fields[3]),
                    command=raw.decode(errors="replace").strip(),
                )
    return found
