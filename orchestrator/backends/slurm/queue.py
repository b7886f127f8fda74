"""What SLURM says of our jobs, as it was last asked: one `squeue` for all, one `sacct` for what squeue has forgotten.

A command that fails says nothing: what it would have told stays unknown.
"""

import time
from collections.abc import Collection, Mapping

from orchestrator.backends.slurm.commands import SlurmSilent, ask
from orchestrator.backends.slurm.states import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    JobState,
    parse_sacct,
    parse_squeue,
)

SLACK_S = 3600.0
"""sacct is asked from this long before the oldest attempt: clocks of two machines differ."""


class Queue:
    """The states of our jobs."""

    def __init__(self) -> None:
        self._states: Mapping[str, JobState] = {}
        self._runs: dict[str, list[JobState]] = {}
        self.silent = ""
        """Why squeue does not answer; empty while it does."""
        self.no_history = ""
        """Why sacct does not."""

    def state(self, ticket: str) -> JobState | None:
        """A job as squeue told it; None: it does not know it (any more)."""
        return self._states.get(ticket)

    def runs(self, ticket: str) -> list[JobState]:
        """What sacct told of a job, a line each time it ran."""
        return self._runs.get(ticket, [])

    def submitted(self, ticket: str, name: str) -> None:
        """Take in a job that was submitted since SLURM was last asked."""
        self._states = {**self._states, ticket: JobState(job=ticket, state="PENDING", name=name)}

    def ask(self, tickets: Collection[str], since: float) -> None:
        """Ask of these jobs; `since`: when the oldest of them was made, seconds since 1970."""
        try:
            self._states, self.silent = _squeue(), ""
        except SlurmSilent as error:
            self.silent = str(error)
            return
        forgotten = [one for one in tickets if one not in self._states and one not in self._runs]
        requeued = [one for one in tickets if one in self._states and self._states[one].restarts]
        try:
            if forgotten or requeued:
                jobs = sorted({ticket.partition("_")[0] for ticket in (*forgotten, *requeued)})
                told = _sacct(since, f"--jobs={','.join(jobs)}")
                self._runs.update({job: runs for job, runs in told.items() if job in tickets})
            self.no_history = ""
        except SlurmSilent as error:
            self.no_history = str(error)


def ticket_of(name: str, index: int | None, since: float) -> str:
    """The ticket of a job whose driver died before it had booked one; empty: SLURM does not know the name.

    Raises:
        SlurmSilent: SLURM does not answer, so nobody can tell.
    """
    known = [state for state in _squeue().values() if state.name == name]
    if not known:
        known = [runs[-1] for runs in _sacct(since, f"--name={name}").values() if runs[-1].name == name]
    jobs = sorted({state.job.partition("_")[0] for state in known}, key=int)
    suffix = "" if index is None else f"_{index}"
    return f"{jobs[-1]}{suffix}" if jobs else ""


def _squeue() -> dict[str, JobState]:
    return parse_squeue(ask("squeue", "--noheader", "--array", "--states=all", "--me", f"--Format={SQUEUE_FORMAT}"))


def _sacct(since: float, which: str) -> dict[str, list[JobState]]:
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - SLACK_S))
    return parse_sacct(ask("sacct", "--duplicates", "-XnP", f"--format={SACCT_FORMAT}", f"--starttime={start}", which))
