"""From exit codes and signals of the ranks to the ending of an attempt: a pure table, and `ended.json`.

`ended.json` in the attempt's folder is what the host knew at the end; it outlives the host, so that a
driver which comes later learns how an attempt of an earlier one ended.
Source: design, "Truth and recovery", rule 4.
"""

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from workloads.contract.json_files import read_object
from workloads.contract.result import EXIT_BAD_INPUT, EXIT_OK, EXIT_OUT_OF_MEMORY, EXIT_STOPPED

Ending = Literal[
    "ok", "bad_input", "error", "out_of_memory", "timed_out", "preempted", "interrupted", "vanished", "cancelled"
]

Reason = Literal["stop", "kill", "memory", "time"]
"""Why the host itself ended an attempt: it was asked to, gently or not, or a limit was hit."""

# Codes by which a rank says why; all other failures of several ranks may be consequences of the first.
CLEAR = (EXIT_OUT_OF_MEMORY, EXIT_BAD_INPUT)


@dataclass(frozen=True, kw_only=True)
class RankEnd:
    """How one rank ended: an exit code or a signal."""

    code: int | None
    signal: int | None

    @property
    def well(self) -> bool:
        """Whether it ended with 0."""
        return self.code == EXIT_OK

    def words(self) -> str:
        """For people: `exit 1`, `SIGKILL`."""
        if self.signal is None:
            return f"exit {self.code}"
        try:
            return signal.Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"


def telling_rank(ends: Mapping[int, RankEnd], first: int | None) -> int | None:
    """The rank whose end explains the attempt's: one that says why, else the first that failed; None: all well."""
    for rank, end in sorted(ends.items()):
        if end.code in CLEAR:
            return rank
    if first is not None:
        return first
    failed = [rank for rank, end in sorted(ends.items()) if not end.well]
    return failed[0] if failed else None


def ending_of(end: RankEnd, *, reason: Reason | None, oom_rose: bool) -> tuple[Ending, str]:
    """Ending and detail of an attempt that did not end well, from its telling rank.

    Args:
        end: how the telling rank ended.
        reason: why the host has ended the attempt itself, if it has.
        oom_rose: the kernel's or the cgroup's counter of kills for memory rose while it ran.
    """
    if reason == "memory":
        return "out_of_memory", "the host killed it at its memory limit"
    if end.code == EXIT_OUT_OF_MEMORY:
        return "out_of_memory", end.words()
    if end.code == EXIT_BAD_INPUT:
        return "bad_input", end.words()
    by_signal = end.signal in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
    if reason is not None and (by_signal or end.code == EXIT_STOPPED):
        if reason == "time":
            return "timed_out", f"its limit of time was reached; {end.words()}"
        return "interrupted", f"asked to {'end' if reason == 'kill' else 'stop'}; {end.words()}"
    if end.code == EXIT_STOPPED:
        return "interrupted", "stopped at a checkpoint because a signal asked"
    if end.signal == signal.SIGKILL:
        if oom_rose:
            return "out_of_memory", "SIGKILL, and the kernel's count of kills for memory rose"
        return "vanished", "SIGKILL from elsewhere, without evidence of missing memory"
    if end.signal == signal.SIGTERM:
        return "interrupted", "SIGTERM from elsewhere"
    return "error", end.words()


ENDED = "ended.json"


def write_ended(work: Path, report: Mapping[str, Any], name: str = ENDED) -> None:
    """Write `ended.json` from the fields of a `Report`; a disk that takes nothing is no reason not to end."""
    temporary = work / f".{name}.tmp"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(report, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(work / name)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_ended(work: Path, attempt: str, name: str = ENDED) -> dict[str, Any] | None:
    """`ending`, `detail`, `started` and `ended` of `attempt`; None where its host has written nothing that counts."""
    try:
        raw = read_object(work / name)
    except (OSError, ValueError):
        return None
    if raw.get("attempt") != attempt or raw.get("ending") not in get_args(Ending):
        return None
    times = [raw.get(key) for key in ("started", "ended")]
    if not all(time is None or isinstance(time, int | float) for time in times):
        return None
    return {"ending": raw["ending"], "detail": str(raw.get("detail", "")), "started": times[0], "ended": times[1]}
