"""One live attempt as the loop watches it, and what the backend's words about it amount to.

Pure but for the heartbeat file, which is looked at when the backend does not know an attempt:
unknown becomes vanished by evidence, never by silence (design, "Truth and recovery" rule 3). A
heartbeat that stands still while the backend says that the attempt runs is a contradiction, and no
evidence of an end: the attempt is unknown until it beats again or the backend says what became of
it. All times are of the monotonic clock: a wall clock that jumps makes nobody unknown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.backends.protocol import Ending, Report
from orchestrator.plan.job import Job
from workloads.contract.metrics import beat_of, read_beat

EVIDENCE_S = 120.0
"""How long an attempt must be missing, or `ok` without its COMMIT, before that is believed."""
WAITS = "waits.txt"
"""Lies in the folder of an attempt that waits, for whoever asks why from another terminal."""
LONGEST_PHASE = 40
"""Characters of a phase that are shown."""


@dataclass
class Watch:
    """A live attempt. Times are of the driver's monotonic clock, in seconds."""

    attempt: str
    job: Job
    folder: Path
    begun: int
    """Step of the checkpoint it resumed from; -1: from the start."""
    since: float
    """When it was submitted."""
    host: str = ""
    """Where it was placed."""
    running: bool = False
    ran_since: tuple[float, float] | None = None
    """When this driver saw it begin: wall clock (seconds since 1970) and monotonic; None: an earlier driver did."""
    unknown: bool = False
    waits: str = ""
    """Why the backend has not begun it, in its words."""
    ticketed: bool = True
    """False: who was to submit it, an earlier driver or a backend's child, died before there was a ticket."""
    cancelled: Literal["", "gently", "now"] = ""
    """`echo-matrix cancel` has asked for its end: at a checkpoint, or at once."""
    told: bool = False
    """The backend has heard of it."""
    missing_since: float | None = None
    missing_polls: int = 0
    ok_since: float | None = None
    counter: Any = None
    counter_since: float = 0.0
    step: int = 0
    of: int = 0
    phase: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the loop is to believe of an attempt now."""

    what: Literal["waiting", "running", "unknown", "ended"]
    ending: Ending | None = None
    detail: str = ""
    successor: str = ""
    """The attempt as which the backend has started the job again by itself; empty: it has not."""


def why_it_waits(folder: Path) -> str:
    """What the driver was told last of an attempt that has not begun; empty where it was told nothing."""
    try:
        return (folder / WAITS).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def look(watch: Watch, report: Report | None, now: float, *, committed: bool, stopping: bool) -> Finding:
    """What a report says, given how long it has said so.

    Args:
        watch: the attempt; what it remembers is brought up to date.
        report: the backend's; None where it does not mention the attempt.
        now: monotonic clock.
        committed: the job has a COMMIT.
        stopping: the run is being interrupted, so nothing is waited for.
    """
    if report is None or report.phase == "missing":
        return _missing(watch, now, committed=committed, stopping=stopping)
    watch.missing_since, watch.missing_polls = None, 0
    _note_beat(watch, report.heartbeat, now)
    if report.phase == "unknown":
        return Finding(what="unknown", detail=report.detail or "the backend cannot tell")
    if report.phase == "waiting":
        return Finding(what="waiting", detail=report.detail)
    if report.phase == "running":
        if watch.counter is not None and now - watch.counter_since >= EVIDENCE_S:
            return Finding(what="unknown", detail="the backend says that it runs, but its heartbeat stands still")
        return Finding(what="running")
    ending: Ending = report.ending or "vanished"
    if ending == "ok" and not committed:
        if watch.ok_since is None:
            watch.ok_since = now
        if now - watch.ok_since < EVIDENCE_S and not stopping:
            return Finding(what="unknown", detail="ended well, but its COMMIT is not to be seen yet")
        return Finding(what="ended", ending="error", detail="ended well, but no COMMIT came")
    return Finding(what="ended", ending=ending, detail=report.detail, successor=report.successor or "")


def _missing(watch: Watch, now: float, *, committed: bool, stopping: bool) -> Finding:
    if committed:
        return Finding(what="ended", ending="ok")
    if watch.missing_since is None:
        watch.missing_since = now
    watch.missing_polls += 1
    _note_beat(watch, read_beat(watch.folder), now)
    if stopping:
        return Finding(what="ended", ending="interrupted", detail="the backend does not know it")
    still_since = max(watch.missing_since, watch.counter_since)
    if watch.missing_polls >= 2 and now - still_since >= EVIDENCE_S:
        if not watch.ticketed and watch.counter is None:
            return Finding(what="ended", ending="interrupted", detail="who was to submit it died first")
        return Finding(what="ended", ending="vanished", detail="the backend does not know it, and its heartbeat stands")
    return Finding(what="unknown", detail="the backend does not know it")


def _note_beat(watch: Watch, told: Any, now: float) -> None:
    beat = beat_of(told)
    if beat is None:
        return
    if beat["counter"] != watch.counter:
        watch.counter, watch.counter_since = beat["counter"], now
    watch.step, watch.of, watch.phase = beat["step"], beat["of"], beat["phase"][:LONGEST_PHASE]
