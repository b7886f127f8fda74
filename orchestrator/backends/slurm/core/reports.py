"""From SLURM's word of a job, and its attempt's own, to a `Report`.

What an attempt says itself (`ended.json`) comes first: SLURM's state says only what the attempt could
not know, that it was preempted, or that its node was lost. What neither says is unknown.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orchestrator.backends.protocol import Report
from orchestrator.backends.slurm.core.queue import Queue
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.core.submit import last_lines
from orchestrator.host.endings import read_ended
from orchestrator.host.job import STOP, restart_of
from workloads.contract.metrics import read_beat

LAST_WORDS_S = 30.0
"""After SLURM has called a job ended: until its `ended.json` is seen through a shared file system. And after it has
said that it knows no job of a name: until a job that it was asked for without an answer would be in its queue."""


@dataclass
class Tracked:
    """An attempt that this driver answers for."""

    work: Path
    ticket: str
    """SLURM's job, `123` or `123_4`; empty while only the name is known."""
    name: str
    """The job's name; empty: no list of ours has the attempt, so nobody has submitted it."""
    index: int | None = None
    """In its array."""
    unanswered: str = ""
    """Why this driver does not know whether sbatch took it; empty: it does, or another driver asked."""
    held: str = ""
    """Why SLURM does not take it now; empty: it has been submitted."""
    unheard_since: float | None = None
    """Monotonic clock, s, since when SLURM answers, and knows no job of the name."""
    restarts: int = 0
    """How often SLURM had restarted the job when this attempt began."""
    ended_since: float | None = None
    """Monotonic clock, s, since when SLURM calls it ended and it has not said so itself."""
    wish: Literal["", "stop", "kill"] = ""
    """How its end was asked for."""
    wished_at: float = 0.0
    """Monotonic clock, s, when it was asked for last."""
    report: Report | None = None
    """Once it has ended."""


class Reports:
    """Answers for attempts.

    Args:
        home: `outputs/{study}`.
        queue: what SLURM said when it was last asked.
        poll_s: between two questions to it.
        cancel: takes tickets, and has SLURM end their jobs.
    """

    def __init__(self, home: Path, queue: Queue, poll_s: float, cancel: Callable[[Sequence[str]], None]) -> None:
        self._home = home
        self._queue = queue
        self._poll_s = poll_s
        self._cancel = cancel

    def look(self, attempt: str, tracked: Tracked, now: float) -> Report:
        """What is known of one attempt; `now`: monotonic clock, s."""
        said = ended_of(attempt, tracked.work)
        if tracked.held:
            return Report(attempt=attempt, phase="waiting", detail=tracked.held)
        tracked.ticket = tracked.ticket or ticket_of(self._queue.job_of(tracked.name), tracked.index)
        state = self._queue.state(tracked.ticket)
        if said is not None and said.ending == "ok":
            if state is not None and state.restarts > tracked.restarts:  # SLURM took it for lost and began it again
                self._cancel([tracked.ticket])
            return said
        if self._queue.silent:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.silent)
        if not tracked.ticket:
            return said or self._of_unheard(attempt, tracked, now)
        if state is None:
            return self._of_forgotten(attempt, tracked, said)
        if state.restarts > tracked.restarts:
            return self._of_requeued(attempt, tracked, state, said, now)
        if state.phase == "waiting":
            return Report(attempt=attempt, phase="waiting", detail=state.waits())
        if state.phase == "running":
            beat = read_beat(tracked.work)
            if state.state == "COMPLETING" and tracked.restarts and beat is None:  # the run before this one
                return Report(attempt=attempt, phase="waiting", detail=state.waits())
            return Report(attempt=attempt, phase="running", heartbeat=beat)
        return self._of_ended(attempt, tracked, state, said, now)

    def _of_unheard(self, attempt: str, tracked: Tracked, now: float) -> Report:
        """SLURM answers, and has told of no job of the name."""
        if self._queue.no_history:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.no_history)
        if tracked.unheard_since is None:
            tracked.unheard_since = now
        if not tracked.unanswered:
            return Report(attempt=attempt, phase="missing", detail="SLURM knows no job of its name")
        if now - tracked.unheard_since < LAST_WORDS_S + self._poll_s:
            return Report(attempt=attempt, phase="unknown", detail=tracked.unanswered)
        detail = f"{tracked.unanswered}; SLURM has no job of its name, so it was not begun"
        return Report(attempt=attempt, phase="ended", ending="interrupted", detail=detail, ended=time.time())

    def _of_ended(self, attempt: str, tracked: Tracked, state: JobState, said: Report | None, now: float) -> Report:
        """SLURM says that the job has ended: what it left behind counts, else SLURM's word after a while."""
        if said is not None:
            return preempted_if(said, state)
        if tracked.ended_since is None:
            tracked.ended_since = now
        if state.began and now - tracked.ended_since < LAST_WORDS_S:
            return Report(
                attempt=attempt, phase="unknown", detail=f"{state.words()}; its own word is not to be seen yet"
            )
        # A restarted job of which our host has written nothing: the run before it was told of late, or the node is bad.
        silent = tracked.restarts > 0 and state.ending == "error" and read_beat(tracked.work) is None
        return Report(
            attempt=attempt,
            phase="ended",
            ending="interrupted" if silent else state.ending,
            detail=state.words() + last_lines(self._home / "slurm", f"*/{tracked.ticket}_*log.out"),
            ended=time.time(),
        )

    def _of_forgotten(self, attempt: str, tracked: Tracked, said: Report | None) -> Report:
        """SLURM's queue has forgotten the job: it ended a while ago, or never was."""
        runs = self._queue.runs(tracked.ticket)
        if said is not None:
            return preempted_if(said, runs[-1]) if runs else said
        if self._queue.no_history:
            return Report(attempt=attempt, phase="unknown", detail=self._queue.no_history)
        if not runs or runs[-1].phase != "ended":
            return Report(attempt=attempt, phase="missing", detail=f"SLURM does not know job {tracked.ticket}")
        return Report(
            attempt=attempt, phase="ended", ending=runs[-1].ending, detail=runs[-1].words(), ended=time.time()
        )

    def _of_requeued(self, attempt: str, tracked: Tracked, state: JobState, said: Report | None, now: float) -> Report:
        """The job is in the queue again: this attempt is over, and another one goes on."""
        if tracked.ended_since is None:
            tracked.ended_since = now
        if state.state == "COMPLETING" and now - tracked.ended_since < LAST_WORDS_S:  # it may still save
            return Report(attempt=attempt, phase="running", heartbeat=read_beat(tracked.work))
        with contextlib.suppress(OSError):  # on a node that SLURM has lost it may live: it is to save and end
            (tracked.work / STOP).touch()
        runs = self._queue.runs(tracked.ticket)
        own = runs[tracked.restarts] if tracked.restarts < len(runs) else None
        ending = own.ending if own is not None and own.ending in ("preempted", "node_lost") else "preempted"
        detail = f"SLURM has put job {tracked.ticket} back into the queue (restart {state.restarts})"
        if said is not None:
            detail = f"{detail}; {said.detail}"
        return Report(
            attempt=attempt,
            phase="ended",
            ending=ending,
            detail=detail,
            ended=time.time(),
            successor=restart_of(attempt.partition(".r")[0], state.restarts),
        )


def ticket_of(job: str, index: int | None) -> str:
    """The ticket of an element of an array, or of a plain job (None); empty where the job is not known."""
    return job if index is None or not job else f"{job}_{index}"


def ended_of(attempt: str, work: Path) -> Report | None:
    """The last word of an attempt; None while there is none."""
    ended = read_ended(work, attempt)
    return None if ended is None else Report(attempt=attempt, phase="ended", **ended)


def preempted_if(said: Report, state: JobState) -> Report:
    """An attempt that was asked to end knows not by whom: SLURM says whether it was for another job or a lost node."""
    if said.ending in ("interrupted", "timed_out") and state.ending in ("preempted", "node_lost"):
        return replace(said, ending=state.ending, detail=f"{said.detail}; {state.words()}")
    return said
