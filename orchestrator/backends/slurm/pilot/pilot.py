"""A pilot job as its driver sees it. Its state follows from what its agent and SLURM say.

The first of these that says something decides:

1. `over.json`: the node launcher has seen Ray end on the allocation's first node.
2. SLURM says that the job has ended: then nothing of it runs.
3. An agent whose counter moves: what it says is so.
4. SLURM: the job waits, runs, or is not known.
5. Nothing: unknown, and nothing follows from it.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.backends.protocol import Ending
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.pilot.mailbox import (
    CLOSED,
    DESCRIPTION,
    DRIVER_BEAT,
    JOB,
    OVER,
    STATE,
    pilots_folder,
    read_whole,
)
from workloads.contract.json_files import write_object

SILENT_S = 60.0
"""An agent whose counter has stood still for so long says nothing any more; it moves every 2 s."""
UNCONFIRMED_S = 30.0
"""After SLURM has said that it knows no job of a name: until one that it was asked for without an answer is there."""
MISSING_S = 120.0
"""And after it has said that it does not know a job that it once took."""

Phase = Literal["queued", "starting", "serving", "leaving", "ended", "missing", "unknown"]
"""Of a pilot job."""
AgentPhase = Literal["starting", "serving", "leaving", "over"]


@dataclass(frozen=True, kw_only=True)
class AgentState:
    """What an agent has written last."""

    restart: int = 0
    """How often SLURM had restarted the pilot job when it began."""
    job: str = ""
    """SLURM's number of the pilot job."""
    counter: int = -1
    phase: AgentPhase = "starting"
    why: str = ""
    """Why it leaves, or could not start."""
    retiring: bool = False
    """Its time is nearly over: it takes no more attempts."""
    taken: int = 0
    """Bytes of `orders.jsonl` that it has followed."""
    hosts: Sequence[Mapping[str, Any]] = ()
    """The fields of `HostShare`."""
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Attempt -> the fields of a `Report`."""


def agent_state(raw: Mapping[str, Any]) -> AgentState | None:
    """What `state.json` holds; None where nobody has written it yet, or nobody of ours."""
    try:
        found = AgentState(**raw)
    except TypeError:
        return None
    return found if raw else None


@dataclass(frozen=True, kw_only=True)
class PilotState:
    """The state of a pilot job."""

    phase: Phase
    detail: str = ""
    """For people."""
    ending: Ending = "interrupted"
    """`ended` only: of attempts that could not say how they ended; never one that counts as a retry."""


def pilot_state(
    agent: AgentState | None,
    *,
    fresh: bool,
    over: str | None,
    job: JobState | None,
    runs: Sequence[JobState],
    silent: str,
    no_history: str,
) -> PilotState:
    """The state of a pilot job.

    Args:
        agent: what the agent of its newest start has written; None: nothing yet.
        fresh: the agent's counter has moved lately.
        over: why the Ray of that start has ended, as its node launcher says; None: it does not.
        job: what squeue tells; None: squeue does not know the job.
        runs: what sacct tells, a line each time it ran.
        silent: why squeue does not answer.
        no_history: why sacct does not.
    """
    last = job if job is not None else (runs[-1] if runs else None)
    ended = last if last is not None and last.phase == "ended" else None
    if over is not None:
        return PilotState(phase="ended", detail=over, ending="interrupted" if ended is None else ending_of(ended))
    if ended is not None:
        return PilotState(phase="ended", detail=ended.summary(), ending=ending_of(ended))
    if agent is not None and fresh:
        return PilotState(phase="leaving" if agent.phase == "over" else agent.phase, detail=agent.why)
    if silent:
        return PilotState(phase="unknown", detail=silent)
    if job is not None and job.phase == "waiting":
        return PilotState(phase="queued", detail=job.waiting_reason() if job.reason else "")
    if job is not None and agent is None:
        return PilotState(phase="starting")
    if job is not None:
        return PilotState(
            phase="unknown", detail=f"the agent of pilot job {job.job} has written nothing for {SILENT_S:g} s"
        )
    if no_history:
        return PilotState(phase="unknown", detail=no_history)
    return PilotState(phase="missing", detail="SLURM does not know the pilot job")


def ending_of(job: JobState) -> Ending:
    """The ending of an attempt that was lost with its pilot job; never one that counts as a retry.

    The pilot job's time limit is not the attempt's, and whose memory exceeded it is unknown.
    """
    if job.ending in ("preempted", "node_lost"):
        return job.ending
    return "interrupted" if job.state in ("CANCELLED", "REVOKED", "REQUEUED", "TIMEOUT", "DEADLINE") else "node_lost"


def ending_of_run(runs: Sequence[JobState], restart: int) -> Ending:
    """The ending of an attempt of an earlier start of a pilot job that SLURM has requeued since."""
    own = runs[restart].ending if restart < len(runs) else "preempted"
    return own if own in ("preempted", "node_lost") else "preempted"


@dataclass
class PilotJob:
    """A pilot job that this driver answers for."""

    folder: Path
    name: str
    """Of the job."""
    current: bool
    """It runs the driver's code."""
    made: float
    """Seconds since 1970."""
    short_limit: bool = False
    """Its time limit was estimated."""
    ticket: str = ""
    """SLURM's number of the job; empty while only the name is known."""
    restart: int = 0
    """How often SLURM has restarted it, as far as anybody has said."""
    agent: AgentState | None = None
    """By the agent of that start."""
    served: bool = False
    """A driver has seen a host of it."""
    unwanted: bool = False
    """This driver has cancelled it, or has asked it to leave."""
    state: PilotState = field(default_factory=lambda: PilotState(phase="unknown", detail="SLURM was not asked yet"))
    waits: str = ""
    """Why it is in the queue, as SLURM said first."""
    gone_since: float | None = None
    """Monotonic clock, s, since when it is missing."""
    ended_at: float | None = None
    """Monotonic clock, s, since when its Ray has ended, as far as this driver has seen."""
    settled: bool = False
    """SLURM has said since that the job has ended: it does not come back as another start."""
    _moved: tuple[int, int] = (-1, -1)
    _moved_at: float = float("-inf")

    @property
    def id(self) -> str:
        """Its name among the pilot jobs of the study."""
        return self.folder.name

    @property
    def living(self) -> bool:
        """Whether it is there, or comes, or may come back."""
        return not self.settled

    @property
    def takes(self) -> bool:
        """Whether attempts may be placed in it now."""
        serves = self.state.phase == "serving" and self.current and not self.unwanted
        return serves and self.agent is not None and not self.agent.retiring

    def read_agent(self, now: float) -> None:
        """Take in what the agent has written since."""
        state = agent_state(read_whole(self.folder / STATE))
        if state is None or state.restart < self.restart:
            return
        if state.restart > self.restart:
            self.restart = state.restart
        self.agent = state
        self.ticket = self.ticket or state.job
        self.served = self.served or bool(state.hosts)
        if (state.restart, state.counter) != self._moved:
            self._moved, self._moved_at = (state.restart, state.counter), now

    def update_state(self, queue: SlurmQueue, now: float) -> None:
        """Work out its state."""
        self.ticket = self.ticket or queue.job_of(self.name)
        job = queue.state(self.ticket) if self.ticket else None
        if job is not None and job.restarts > self.restart:
            self.restart = job.restarts
        if self.agent is not None and self.agent.restart < self.restart:
            self.agent = None
        over = read_whole(self.folder / OVER)
        told = str(over.get("why")) if over.get("restart") == self.restart else None
        found = pilot_state(
            self.agent,
            fresh=now - self._moved_at < SILENT_S,
            over=told,
            job=job,
            runs=queue.runs(self.ticket) if self.ticket else [],
            silent=queue.silent,
            no_history=queue.no_history,
        )
        if found.phase != "missing":
            self.gone_since = None
        else:
            self.gone_since = now if self.gone_since is None else self.gone_since
            if now - self.gone_since < (MISSING_S if self.ticket else UNCONFIRMED_S):
                found = PilotState(phase="unknown", detail=found.detail)
        self.state = found
        if found.phase == "queued":
            self.waits = self.waits or found.detail
        if found.phase not in ("ended", "missing"):
            self.ended_at = None
            return
        self.ended_at = now if self.ended_at is None else self.ended_at
        # A job that was put back into the queue is another start, and says so by its count of restarts.
        over_too = job is None or job.phase == "ended"
        self.settled = over_too and not queue.silent and (found.phase == "missing" or queue.asked > self.ended_at)

    def submitted(self, ticket: str) -> None:
        """SLURM has taken it."""
        self.ticket = ticket
        write_object(self.folder / JOB, {"job": ticket})

    def show_driver(self, counter: str, looks: str) -> None:
        """Tell the agent that a driver lives; one beat that the disk does not take is no reason to end."""
        with contextlib.suppress(OSError):
            write_object(self.folder / DRIVER_BEAT, {"counter": counter, "looks": looks})

    def close(self) -> None:
        """Record that it has ended, and that none of its attempts is open."""
        (self.folder / CLOSED).touch()


def find_pilots(home: Path, digest: str) -> dict[str, PilotJob]:
    """The pilot jobs of earlier drivers that may live, by name; `digest`: of the driver's code."""
    found: dict[str, PilotJob] = {}
    for path in sorted(pilots_folder(home).glob(f"*/{DESCRIPTION}")):
        folder = path.parent
        content = read_whole(path)
        if not content or (folder / CLOSED).exists():
            continue
        found[folder.name] = PilotJob(
            folder=folder,
            name=str(content["name"]),
            current=content["host"]["digest"] == digest,
            made=path.stat().st_mtime,
            ticket=str(read_whole(folder / JOB).get("job", "")),
            served=True,
        )
    return found


def new_pilot(folder: Path, name: str, *, short_limit: bool) -> PilotJob:
    """One that is about to be asked for."""
    return PilotJob(folder=folder, name=name, current=True, made=time.time(), short_limit=short_limit)
