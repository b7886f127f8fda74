"""The states of our jobs as SLURM reported them last: one `squeue` for all, one `sacct` for what squeue has forgotten.

Nothing follows from a command that fails: what it would have reported stays unknown.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from orchestrator.backends.slurm.core.commands import NoAccounting, SlurmSilent, ask
from orchestrator.backends.slurm.core.states import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    JobState,
    parse_sacct,
    parse_squeue,
)

SLACK_S = 3600.0
"""sacct is asked from this long before the oldest attempt: clocks of two machines differ."""


@dataclass(frozen=True, kw_only=True)
class QueueQuery:
    """What a reader of the queue asks for."""

    restarts: Mapping[str, int]
    """Ticket -> how often SLURM has restarted the job, as far as is recorded."""
    names: Collection[str]
    """Of jobs whose tickets are not known."""
    since: float
    """When the oldest of them was made, seconds since 1970."""


class SlurmQueue:
    """The states of our jobs, for all who read them: SLURM is asked once for them together, at most every `poll_s`."""

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._readers: list[Callable[[], QueueQuery]] = []
        self.asked = float("-inf")
        """When SLURM was asked last, on the monotonic clock, in seconds."""
        self._states: Mapping[str, JobState] = {}
        self._runs: dict[str, list[JobState]] = {}
        self._named: dict[str, str] = {}
        self.silent = ""
        """Why squeue does not answer; empty while it does."""
        self.no_history = ""
        """Why sacct does not; empty too where the site keeps no history, for then there is nothing to wait for."""

    @property
    def states(self) -> Mapping[str, JobState]:
        """All jobs of this user, by ticket, as squeue lists them."""
        return self._states

    def state(self, ticket: str) -> JobState | None:
        """A job as squeue lists it; None: it does not (any more)."""
        return self._states.get(ticket)

    def runs(self, ticket: str) -> list[JobState]:
        """What sacct lists of a job, a line each time it ran."""
        return self._runs.get(ticket, [])

    def job_of(self, name: str) -> str:
        """The number of the job, or of the array, of this name; empty: none is known."""
        return self._named.get(name, "")

    def submitted(self, ticket: str, name: str) -> None:
        """Take in a job that was submitted since SLURM was last asked."""
        self._states = {**self._states, ticket: JobState(job=ticket, state="PENDING", name=name)}

    def add(self, reader: Callable[[], QueueQuery]) -> None:
        """Register a reader; it is called for its query whenever SLURM is asked."""
        self._readers.append(reader)

    def ask(self) -> None:
        """Ask SLURM, unless that was less than `poll_s` ago."""
        if time.monotonic() - self.asked < self._poll_s:
            return
        wanted = [reader() for reader in self._readers]
        restarts = {ticket: recorded for one in wanted for ticket, recorded in one.restarts.items()}
        names = {name for one in wanted for name in one.names}
        self._ask(restarts, names, min((one.since for one in wanted), default=time.time()))
        self.asked = time.monotonic()

    def _ask(self, restarts: Mapping[str, int], names: Collection[str], since: float) -> None:
        try:
            self._states, self.silent = _squeue(), ""
        except SlurmSilent as error:
            self.silent = str(error)
            return
        self._named.update(_newest(self._states.values(), names))
        wanted = [
            ticket
            for ticket, recorded in restarts.items()
            if (
                self._states[ticket].restarts > recorded
                if ticket in self._states
                else not _has_ended(self.runs(ticket))
            )
        ]
        nameless = [name for name in names if name not in self._named]
        try:
            if wanted:
                numbers = sorted({ticket.partition("_")[0] for ticket in wanted})
                found_runs = _sacct(since, f"--jobs={','.join(numbers)}")
                self._runs.update({job: runs for job, runs in found_runs.items() if job in restarts})
            if nameless:
                found_runs = _sacct(since, f"--name={','.join(nameless)}")
                self._named.update(_newest([runs[-1] for runs in found_runs.values()], nameless))
            self.no_history = ""
        except NoAccounting:
            self.no_history = ""
        except SlurmSilent as error:
            self.no_history = str(error)


def _has_ended(runs: list[JobState]) -> bool:
    return bool(runs) and runs[-1].phase == "ended"


def _newest(states: Collection[JobState], names: Collection[str]) -> dict[str, str]:
    """Name -> number of the newest job that has it."""
    found: dict[str, str] = {}
    for state in states:
        number = state.job.partition("_")[0]
        if state.name in names and int(number) > int(found.get(state.name, "0")):
            found[state.name] = number
    return found


def _squeue() -> dict[str, JobState]:
    return parse_squeue(ask("squeue", "--noheader", "--array", "--states=all", "--me", f"--Format={SQUEUE_FORMAT}"))


def _sacct(since: float, which: str) -> dict[str, list[JobState]]:
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - SLACK_S))
    return parse_sacct(ask("sacct", "--duplicates", "-XnP", f"--format={SACCT_FORMAT}", f"--starttime={start}", which))
