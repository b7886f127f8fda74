"""Endings of attempts: from the ranks' exit codes and signals to an ending (a pure function), and `ended.json`.

`ended.json` in the attempt's folder records what the host knew at the end. It outlives the host, so a later
controller can read how the attempt ended.
Source: design, "Truth and recovery", rule 4.
"""

import contextlib
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.store.link import write_synced
from workloads.contract.json_files import read_object
from workloads.contract.result import EXIT_BAD_INPUT, EXIT_DIVERGED, EXIT_OK, EXIT_OUT_OF_MEMORY, EXIT_STOPPED

Ending = Literal[
    "ok",
    "bad_input",
    "diverged",
    "error",
    "out_of_memory",
    "timed_out",
    "preempted",
    "node_lost",
    "interrupted",
    "vanished",
    "cancelled",
]

StopReason = Literal["stop", "kill", "memory", "time"]
"""Why the host itself ended an attempt: a request to stop or to kill it, or a limit."""

# Exit codes that name the cause; any other failure may be a consequence of another rank's.
EXPLICIT_CODES = (EXIT_OUT_OF_MEMORY, EXIT_BAD_INPUT, EXIT_DIVERGED)


@dataclass(frozen=True, kw_only=True)
class RankEnd:
    """How one rank ended: an exit code or a signal."""

    code: int | None
    signal: int | None

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == EXIT_OK

    def description(self) -> str:
        """For people: `exit 1`, `SIGKILL`."""
        if self.signal is None:
            return f"exit {self.code}"
        try:
            return signal.Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"


def deciding_rank(ends: Mapping[int, RankEnd], first: int | None) -> int | None:
    """The rank whose end decides the attempt's: one with an explicit code, else the first to fail; None: all are ok."""
    for rank, end in sorted(ends.items()):
        if end.code in EXPLICIT_CODES:
            return rank
    if first is not None:
        return first
    failed = [rank for rank, end in sorted(ends.items()) if not end.ok]
    return failed[0] if failed else None


def ending_of(end: RankEnd, *, stop_reason: StopReason | None, oom_rose: bool) -> tuple[Ending, str]:
    """Ending and detail of an attempt that did not end well, from its deciding rank.

    Args:
        end: how the deciding rank ended.
        stop_reason: why the host has ended the attempt itself, if it has.
        oom_rose: an out-of-memory counter of the kernel or the cgroup rose while it ran.
    """
    if stop_reason == "memory":
        return "out_of_memory", "the host killed it at its memory limit"
    if end.code == EXIT_OUT_OF_MEMORY:
        return "out_of_memory", end.description()
    if end.code == EXIT_BAD_INPUT:
        return "bad_input", end.description()
    if end.code == EXIT_DIVERGED:
        return "diverged", end.description()
    by_signal = end.signal in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
    if stop_reason is not None and (by_signal or end.code == EXIT_STOPPED):
        if stop_reason == "time":
            return "timed_out", f"it reached its time limit; {end.description()}"
        return "interrupted", f"{stop_reason} requested; {end.description()}"
    if end.code == EXIT_STOPPED:
        return "interrupted", "stopped at a checkpoint after a signal"
    if end.signal == signal.SIGKILL:
        if oom_rose:
            return "out_of_memory", "SIGKILL, and the kernel's out-of-memory counter rose"
        return "vanished", "SIGKILL from outside, with no sign that memory ran out"
    if end.signal == signal.SIGTERM:
        return "interrupted", "SIGTERM from outside"
    return "error", end.description()


ENDED = "ended.json"


def write_ended(work: Path, report: Mapping[str, Any], name: str = ENDED) -> None:
    """Write `ended.json` from the fields of a `Report`; where the disk is full, the attempt ends without it."""
    temporary = work / f".{name}.tmp"
    try:
        write_synced(temporary, json.dumps(report).encode())
        temporary.replace(work / name)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_ended(work: Path, attempt: str, name: str = ENDED) -> dict[str, Any] | None:
    """How `attempt` ended, as fields of a `Report`; None: its host has written nothing valid."""
    try:
        raw = read_object(work / name)
    except (OSError, ValueError):
        return None
    if raw.get("attempt") != attempt or raw.get("ending") not in get_args(Ending):
        return None
    times = [raw.get(key) for key in ("started", "ended")]
    if not all(time is None or isinstance(time, int | float) for time in times):
        return None
    return {
        "ending": raw["ending"],
        "detail": str(raw.get("detail", "")),
        "started": times[0],
        "ended": times[1],
        "failed_on": str(raw.get("failed_on", "")),
        "short_limit": raw.get("short_limit") is True,
    }
