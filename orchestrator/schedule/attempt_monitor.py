"""Attempt monitor: turns backend reports, heartbeats and commits into the state of each live attempt.

`assess` is pure but for the heartbeat file, which is read when the backend does not know an attempt.
An attempt is `vanished` on evidence only; without a report it is `unknown` (design, "Truth and recovery" rule 3).
A heartbeat that stands still while the backend reports the attempt as running is no evidence of an end: the
attempt is `unknown` until the heartbeat moves or the backend reports an ending.
All times are of the monotonic clock, so a wall clock that jumps changes nothing.

`AttemptMonitor` adds the store: a commit outranks every report.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.backends.protocol import Ending, Report
from orchestrator.errors import StoreError
from orchestrator.plan.job import Job
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.schedule.pace import Pace
from orchestrator.schedule.resilient_store import SHORT_RETRY_S, ResilientStore
from workloads.contract.metrics import beat_of, read_beat

EVIDENCE_S = 120.0
"""How long an attempt must be missing, or `ok` without its commit, before it counts as ended."""
WAITING_FILE = "waits.txt"
"""In the folder of an attempt that waits: the reason, for commands in another terminal."""
LONGEST_PHASE = 40
"""Characters of a phase that are shown."""


@dataclass
class WatchedAttempt:
    """A live attempt. Times are of the controller's monotonic clock, in seconds."""

    attempt: str
    job: Job
    folder: Path
    begun: int
    """Step of the checkpoint it resumed from; -1: from the start."""
    submitted_at: float
    hosts: tuple[str, ...] = ()
    """Where it was placed."""
    running: bool = False
    started_at: tuple[float, float] | None = None
    """When this controller saw it start: wall clock (seconds since 1970) and monotonic; None: an earlier one did."""
    unknown: bool = False
    waiting_reason: str = ""
    """Why the backend has not started it, as the backend reports."""
    has_ticket: bool = True
    """False: the process that was to submit it (an earlier controller or a backend's child) died before it had one."""
    cancel: Literal["", "gently", "now"] = ""
    """`echo-matrix cancel` has requested its end: at a checkpoint, or at once."""
    cancel_sent: bool = False
    """The backend has been told."""
    missing_since: float | None = None
    missing_polls: int = 0
    ok_since: float | None = None
    counter: Any = None
    counter_since: float = 0.0
    step: int = 0
    of: int = 0
    phase: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    """Latest value of each metric."""
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, kw_only=True)
class AttemptFinding:
    """What is known of an attempt now."""

    phase: Literal["waiting", "running", "unknown", "ended"]
    ending: Ending | None = None
    detail: str = ""
    successor: str = ""
    """The attempt as which the backend itself has restarted the job; empty: it has not."""
    failed_on: str = ""
    """`Report.failed_on`."""
    short_limit: bool = False
    """`timed_out` only: see `Report`."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one poll has shown."""

    findings: list[tuple[WatchedAttempt, AttemptFinding]]
    committed: frozenset[str]
    """Fingerprints of done jobs, where the store was called."""

    @property
    def any_ended(self) -> bool:
        """Whether an attempt has ended."""
        return any(finding.phase == "ended" for _, finding in self.findings)


class AttemptMonitor:
    """Compares reports with commits; the store is called where only it knows how an attempt ended."""

    def __init__(self, store: ResilientStore, stop_requested: Callable[[], bool]) -> None:
        self._store = store
        self._stop_requested = stop_requested

    def observe(
        self,
        attempts: Mapping[str, WatchedAttempt],
        reports: Mapping[str, Report],
        committed: Collection[str],
        now: float,
        *,
        stopping: bool,
    ) -> Observation:
        """What is known of each of `attempts` at monotonic time `now`, seconds; `committed`: jobs known to be done."""
        reported = [reports.get(attempt) for attempt in attempts]
        fresh: frozenset[str] = frozenset()
        if self._store.unresponsive or any(map(_needs_store, reported)):
            fresh = self._store.commits() or frozenset()
        findings = []
        for watched, report in zip(attempts.values(), reported, strict=True):
            if self._store.unresponsive and _needs_store(report):
                detail = f"the store does not respond: {self._store.error}"
                findings.append((watched, AttemptFinding(phase="unknown", detail=detail)))
                continue
            done = watched.job.fingerprint in committed or watched.job.fingerprint in fresh
            findings.append((watched, self._assess(watched, report, now, committed=done, stopping=stopping)))
        return Observation(findings=findings, committed=fresh)

    def _assess(
        self, watched: WatchedAttempt, report: Report | None, now: float, *, committed: bool, stopping: bool
    ) -> AttemptFinding:
        """The attempt that made the commit ended well, even if it died before it could report so."""
        finding = assess(watched, report, now, committed=committed, stopping=stopping)
        if not committed or finding.phase != "ended" or finding.ending == "ok":
            return finding
        try:
            winner = self._store.winner(watched.job.fingerprint, self._stop_requested, SHORT_RETRY_S)
        except StoreError as error:
            return AttemptFinding(phase="unknown", detail=str(error))
        return replace(finding, ending="ok", detail="") if winner == watched.attempt else finding


def waiting_reason(folder: Path) -> str:
    """Why the attempt in `folder` has not started, as last reported; empty where nothing was reported."""
    try:
        return (folder / WAITING_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def waits_for(attempt: Attempt, folder: Path) -> str | None:
    """For `--json`: why an attempt has not started, and when it may; None: it has, or nothing was reported."""
    return (waiting_reason(folder) or None) if attempt.started is None and attempt.ended is None else None


def assess(
    watched: WatchedAttempt, report: Report | None, now: float, *, committed: bool, stopping: bool
) -> AttemptFinding:
    """What a report means, given how long the backend has reported the same.

    Args:
        watched: the attempt; what it remembers is updated.
        report: the backend's; None where it does not mention the attempt.
        now: monotonic clock.
        committed: the job has a commit.
        stopping: the run is being stopped, so nothing is waited for.
    """
    if report is None or report.phase == "missing":
        return _missing(watched, now, committed=committed, stopping=stopping)
    watched.missing_since, watched.missing_polls = None, 0
    _note_heartbeat(watched, report.heartbeat, now)
    if report.phase == "unknown":
        return AttemptFinding(phase="unknown", detail=report.detail or "the backend cannot tell")
    if report.phase == "waiting":
        return AttemptFinding(phase="waiting", detail=report.detail)
    if report.phase == "running":
        if watched.counter is not None and now - watched.counter_since >= EVIDENCE_S:
            detail = "the backend reports it as running, but its heartbeat has stopped"
            return AttemptFinding(phase="unknown", detail=detail)
        return AttemptFinding(phase="running")
    ending: Ending = report.ending or "vanished"
    if ending == "ok" and not committed:
        if watched.ok_since is None:
            watched.ok_since = now
        if now - watched.ok_since < EVIDENCE_S and not stopping:
            return AttemptFinding(phase="unknown", detail="ended well, but its commit record is not visible yet")
        return AttemptFinding(phase="ended", ending="error", detail="ended well, but wrote no commit record")
    return AttemptFinding(
        phase="ended",
        ending=ending,
        detail=report.detail,
        successor=report.successor or "",
        failed_on=report.failed_on,
        short_limit=report.short_limit,
    )


def _needs_store(report: Report | None) -> bool:
    """Whether only the store knows how the attempt ended."""
    return report is None or report.phase in ("ended", "missing")


def _missing(watched: WatchedAttempt, now: float, *, committed: bool, stopping: bool) -> AttemptFinding:
    if committed:
        return AttemptFinding(phase="ended", ending="ok")
    if watched.missing_since is None:
        watched.missing_since = now
    watched.missing_polls += 1
    _note_heartbeat(watched, read_beat(watched.folder), now)
    if stopping:
        return AttemptFinding(phase="ended", ending="interrupted", detail="the backend does not know it")
    still_since = max(watched.missing_since, watched.counter_since)
    if watched.missing_polls >= 2 and now - still_since >= EVIDENCE_S:
        if not watched.has_ticket and watched.counter is None:
            return AttemptFinding(phase="ended", ending="interrupted", detail="the process that was to submit it died")
        detail = "the backend does not know it, and its heartbeat has stopped"
        return AttemptFinding(phase="ended", ending="vanished", detail=detail)
    return AttemptFinding(phase="unknown", detail="the backend does not know it")


def _note_heartbeat(watched: WatchedAttempt, raw: Any, now: float) -> None:
    beat = beat_of(raw)
    if beat is None:
        return
    if beat["counter"] != watched.counter:
        watched.counter, watched.counter_since = beat["counter"], now
        watched.pace.note(beat["step"], beat["of"], now)
    watched.step, watched.of, watched.phase = beat["step"], beat["of"], beat["phase"][:LONGEST_PHASE]
    watched.values = beat["values"]
