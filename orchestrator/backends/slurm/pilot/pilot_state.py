"""Where an allocation stands, and what became of attempts in it: pure, from what the agent and SLURM say.

In this order:

1. `over.json`: the keeper has seen Ray end on the allocation's first node.
2. SLURM says that the job has ended: then nothing of it runs.
3. An agent whose counter moves: what it says is so.
4. SLURM's word: the job waits, runs, or is not known.
5. Nothing: unknown, and nothing follows from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.backends.protocol import Ending
from orchestrator.backends.slurm.core.states import JobState

SILENT_S = 60.0
"""An agent whose counter has stood still for so long says nothing any more; it moves every 2 s."""

Phase = Literal["queued", "starting", "serving", "leaving", "ended", "missing", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an agent has written last."""

    restart: int = 0
    """How often SLURM had restarted the allocation when it began."""
    job: str = ""
    """SLURM's number of the allocation."""
    counter: int = -1
    phase: Literal["starting", "serving", "leaving", "over"] = "starting"
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


def said_of(raw: Mapping[str, Any]) -> Said | None:
    """What `state.json` holds; None where nobody has written it yet, or nobody of ours."""
    try:
        found = Said(**raw)
    except TypeError:
        return None
    return found if raw else None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an allocation stands."""

    phase: Phase
    words: str = ""
    """For people."""
    ending: Ending = "interrupted"
    """`ended` only: of the attempts that could not say themselves how they ended; always a free one."""


def standing(
    said: Said | None,
    *,
    fresh: bool,
    over: str | None,
    job: JobState | None,
    runs: Sequence[JobState],
    silent: str,
    no_history: str,
) -> Standing:
    """Where an allocation stands.

    Args:
        said: by its agent, of its newest start; None: nothing yet.
        fresh: the agent's counter has moved lately.
        over: why the Ray of that start has ended, as its keeper says; None: it does not.
        job: what squeue tells; None: squeue does not know the job.
        runs: what sacct tells, a line each time it ran.
        silent: why squeue does not answer.
        no_history: why sacct does not.
    """
    last = job if job is not None else (runs[-1] if runs else None)
    ended = last if last is not None and last.phase == "ended" else None
    if over is not None:
        return Standing(phase="ended", words=over, ending="interrupted" if ended is None else ending_of(ended))
    if ended is not None:
        return Standing(phase="ended", words=ended.words(), ending=ending_of(ended))
    if said is not None and fresh:
        return Standing(phase="leaving" if said.phase == "over" else said.phase, words=said.why)
    if silent:
        return Standing(phase="unknown", words=silent)
    if job is not None and job.phase == "waiting":
        return Standing(phase="queued", words=job.waits() if job.reason else "")
    if job is not None and said is None:
        return Standing(phase="starting")
    if job is not None:
        return Standing(phase="unknown", words=f"the agent of allocation {job.job} has been silent for {SILENT_S:g} s")
    if no_history:
        return Standing(phase="unknown", words=no_history)
    return Standing(phase="missing", words="SLURM does not know the allocation")


def ending_of(job: JobState) -> Ending:
    """Of an attempt that was lost with its allocation: whatever ended that, the attempt is not to blame.

    The allocation's limit of time is not the attempt's, and nobody knows whose memory was too much for it.
    """
    if job.ending in ("preempted", "node_lost"):
        return job.ending
    return "interrupted" if job.state in ("CANCELLED", "REVOKED", "REQUEUED", "TIMEOUT", "DEADLINE") else "node_lost"


def ending_of_run(runs: Sequence[JobState], restart: int) -> Ending:
    """Of an attempt of an earlier start of an allocation that SLURM has put back into the queue since."""
    own = runs[restart].ending if restart < len(runs) else "preempted"
    return own if own in ("preempted", "node_lost") else "preempted"
