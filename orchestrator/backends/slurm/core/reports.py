"""Reports: what is known of an attempt, from its own records and from SLURM.

What an attempt says itself (`ended.json`) comes first: SLURM's state says only what the attempt could
not know, that it was preempted, or that its node was lost. What neither of them tells is unknown.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orchestrator.backends.protocol import Report
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.core.submit import last_lines
from orchestrator.host.endings import read_ended
from orchestrator.host.job import STOP, restart_of
from workloads.contract.metrics import read_beat

RECORD_S = 30.0
"""After SLURM has called a job ended: until its `ended.json` is seen through a shared file system. And after it has
recorded that it knows no job of a name: until a job that it was asked for without an answer would be in its queue."""


@dataclass
class TrackedJob:
    """An attempt that this driver answers for."""

    work: Path
    ticket: str
    """SLURM's job, `123` or `123_4`; empty while only the name is known."""
    name: str
    """The job's name; empty: no list of ours has the attempt, so nobody has submitted it."""
    index: int | None = None
    """In its array."""
    short_limit: bool = False
    """See `SbatchJob`."""
    unanswered: str = ""
    """Why this driver does not know whether sbatch took it; empty: it does, or another driver asked."""
    held: str = ""
    """Why SLURM does not take it now; empty: it has been submitted."""
    unlisted_since: float | None = None
    """Monotonic clock, s, since when SLURM answers, and knows no job of the name."""
    restarts: int = 0
    """How often SLURM had restarted the job when this attempt began."""
    ended_since: float | None = None
    """Monotonic clock, s, since when SLURM calls it ended and it has not recorded so itself."""
    end_asked: Literal["", "stop", "kill"] = ""
    """How its end was asked for."""
    end_asked_at: float = 0.0
    """Monotonic clock, s, when it was asked for last."""
    report: Report | None = None
    """Once it has ended."""


class Reports:
    """Answers for attempts.

    Args:
        home: `outputs/{study}`.
        queue: what SLURM recorded when it was last asked.
        poll_s: between two questions to it.
        cancel: takes tickets, and has SLURM end their jobs.
    """

    def __init__(self, home: Path, queue: SlurmQueue, poll_s: float, cancel: Callable[[Sequence[str]], None]) -> None:
        self._home = home
        self._queue = queue
        self._poll_s = poll_s
        self._cancel = cancel

    def report(self, attempt: str, tracked: TrackedJob, now: float) -> Report:
        """What is known of one attempt; `now`: monotonic clock, s."""
        recorded = ended_of(attempt, tracked.work)
        if tracked.held:
            return Report(attempt=attempt, phase="waiting", detail=tracked.held)
        tracked.ticket = tracked.ticket or ticket_of(self._queue.job_of(tracked.name), tracked.index)
        state = self._queue.state(tracked.ticket)
        if recorded is not None and recorded.ending == "ok":
            if state is not None and state.restarts > tracked.restarts:  # SLURM took it for lost and began it again
                self._cancel([tracked.ticket])
            return recorded
        if self._queue.silent:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.silent)
        if not tracked.ticket:
            return recorded or self._unlisted(attempt, tracked, now)
        if state is None:
            return self._forgotten(attempt, tracked, recorded)
        if state.restarts > tracked.restarts:
            return self._requeued(attempt, tracked, state, recorded, now)
        if state.phase == "waiting":
            return Report(attempt=attempt, phase="waiting", detail=state.waiting_reason())
        if state.phase == "running":
            beat = read_beat(tracked.work)
            if state.state == "COMPLETING" and tracked.restarts and beat is None:  # the run before this one
                return Report(attempt=attempt, phase="waiting", detail=state.waiting_reason())
            return Report(attempt=attempt, phase="running", heartbeat=beat)
        return self._ended(attempt, tracked, state, recorded, now)

    def _unlisted(self, attempt: str, tracked: TrackedJob, now: float) -> Report:
        """SLURM answers, and lists no job of the name."""
        if self._queue.no_history:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.no_history)
        if tracked.unlisted_since is None:
            tracked.unlisted_since = now
        if not tracked.unanswered:
            return Report(attempt=attempt, phase="missing", detail="SLURM knows no job of its name")
        if now - tracked.unlisted_since < RECORD_S + self._poll_s:
            return Report(attempt=attempt, phase="unknown", detail=tracked.unanswered)
        detail = f"{tracked.unanswered}; SLURM has no job of its name, so it was not begun"
        return Report(attempt=attempt, phase="ended", ending="interrupted", detail=detail, ended=time.time())

    def _ended(self, attempt: str, tracked: TrackedJob, state: JobState, recorded: Report | None, now: float) -> Report:
        """SLURM says that the job has ended: what the attempt has recorded counts, else SLURM's state after a while."""
        if recorded is not None:
            return preempted_if(recorded, state)
        if tracked.ended_since is None:
            tracked.ended_since = now
        if state.began and now - tracked.ended_since < RECORD_S:
            return Report(
                attempt=attempt,
                phase="unknown",
                detail=f"{state.summary()}; its own record of the end is not visible yet",
            )
        # A restarted job of which our host has written nothing: the run before was reported late, or the node is bad.
        silent = tracked.restarts > 0 and state.ending == "error" and read_beat(tracked.work) is None
        return Report(
            attempt=attempt,
            phase="ended",
            ending="interrupted" if silent else state.ending,
            detail=state.summary() + last_lines(self._home / "slurm", f"*/{tracked.ticket}_*log.out"),
            ended=time.time(),
            short_limit=tracked.short_limit and state.ending == "timed_out",
        )

    def _forgotten(self, attempt: str, tracked: TrackedJob, recorded: Report | None) -> Report:
        """SLURM's queue has forgotten the job: it ended a while ago, or never was."""
        runs = self._queue.runs(tracked.ticket)
        if recorded is not None:
            return preempted_if(recorded, runs[-1]) if runs else recorded
        if self._queue.no_history:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.no_history)
        if not runs or runs[-1].phase != "ended":
            return Report(attempt=attempt, phase="missing", detail=f"SLURM does not know job {tracked.ticket}")
        return Report(
            attempt=attempt,
            phase="ended",
            ending=runs[-1].ending,
            detail=runs[-1].summary(),
            ended=time.time(),
            short_limit=tracked.short_limit and runs[-1].ending == "timed_out",
        )

    def _requeued(
        self, attempt: str, tracked: TrackedJob, state: JobState, recorded: Report | None, now: float
    ) -> Report:
        """The job is in the queue again: this attempt is over, and another one goes on."""
        if tracked.ended_since is None:
            tracked.ended_since = now
        if state.state == "COMPLETING" and now - tracked.ended_since < RECORD_S:  # it may still save
            return Report(attempt=attempt, phase="running", heartbeat=read_beat(tracked.work))
        with contextlib.suppress(OSError):  # on a node that SLURM has lost it may live: it is to save and end
            (tracked.work / STOP).touch()
        runs = self._queue.runs(tracked.ticket)
        own = runs[tracked.restarts] if tracked.restarts < len(runs) else None
        ending = own.ending if own is not None and own.ending in ("preempted", "node_lost") else "preempted"
        detail = f"SLURM has put job {tracked.ticket} back into the queue (restart {state.restarts})"
        if recorded is not None:
            detail = f"{detail}; {recorded.detail}"
        return Report(
            attempt=attempt,
            phase="ended",
            ending=ending,
            detail=detail,
            ended=time.time(),
            successor=restart_of(first_attempt(attempt)[0], state.restarts),
        )


def ticket_of(job: str, index: int | None) -> str:
    """The ticket of an element of an array, or of a plain job (None); empty where the job is not known."""
    return job if index is None or not job else f"{job}_{index}"


def first_attempt(attempt: str) -> tuple[str, int]:
    """The attempt that was submitted, and how often SLURM had restarted its job when this one began."""
    first, _, restarts = attempt.partition(".r")
    return first, int(restarts or 0)


def ended_of(attempt: str, work: Path) -> Report | None:
    """What an attempt has recorded of its end; None: nothing yet."""
    ended = read_ended(work, attempt)
    return None if ended is None else Report(attempt=attempt, phase="ended", **ended)


def preempted_if(recorded: Report, state: JobState) -> Report:
    """An attempt that was asked to end does not know why: SLURM says if another job or a lost node was the cause."""
    if recorded.ending in ("interrupted", "timed_out") and state.ending in ("preempted", "node_lost"):
        return replace(recorded, ending=state.ending, detail=f"{recorded.detail}; {state.summary()}", short_limit=False)
    return recorded
