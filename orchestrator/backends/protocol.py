"""The protocols of backends: a backend runs attempts, on hosts that it is given places on, or in a queue.

`PlacingBackend`: has hosts; the scheduler chooses the host, processors and devices of each attempt.
`QueueingBackend`: has queues; a scheduler of its own finds the places, and it takes so many jobs at once.
A backend may be both. Obligations of every implementation (`orchestrator/testing/backends.py` tests them):

* `submit` returns at once with a ticket per attempt, or raises BackendError and has started nothing.
* `poll` answers in one call for *all* attempts that were submitted to this instance or adopted, and
  keeps saying `ended` with the same ending once an attempt has ended.
* An attempt that ends well has been published to the store before `poll` says so.
* What the backend cannot tell is `unknown`, never a guess.
* `stop` asks ranks to save and end (they get `grace_s`); `kill` does not ask. Both return at once.
* After `close`, nothing that was started for this driver runs on, unless the backend outlives drivers:
  then attempts go on, and another instance that is asked to `adopt` them answers for them.
* `hosts` and `queues` raise BackendSilent while nobody can tell, and BackendError where that will not change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from orchestrator.spec.cell import Resources

Phase = Literal["waiting", "running", "ended", "unknown", "missing"]

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

ENDING_MEANINGS: Mapping[Ending, str] = {
    "ok": "the result is published and its commit record made",
    "bad_input": "the job refused what it read; another attempt would end in the same way",
    "diverged": "the computation left the range in which it means anything; another attempt would end in the same way",
    "error": "the job raised an exception, or a process of it exited with an error",
    "out_of_memory": "the memory of the device, of the host or of the job's limit was used up; the next attempt has a "
    "smaller micro-batch",
    "timed_out": "the time limit was reached (`resources.STAGE.minutes`, that of the cluster file, or one that was "
    "estimated)",
    "preempted": "the scheduler gave its nodes to another job",
    "node_lost": "its node failed or was taken away",
    "interrupted": "the run was stopped; the attempt saved a checkpoint",
    "vanished": "it ended without a trace: killed from outside, or its host stopped",
    "cancelled": "`cancel` ended it",
}
"""For people: what has happened to the attempt."""


@dataclass(frozen=True, kw_only=True)
class HostShare:
    """One host's share of a node, as the backend holds it: what jobs are placed on."""

    name: str
    cpus: int
    devices: int
    memory_gib: float
    stages: tuple[str, ...] | None = None
    """Whose jobs it takes; None: of all stages."""
    pending: bool = False
    """Requested, and not there yet: it takes nothing now, and jobs that fit on it wait."""
    group: str | None = None
    """Hosts of one group can share a job that needs several; None: it takes whole jobs only."""


@dataclass(frozen=True, kw_only=True)
class JobQueue:
    """A queue of a scheduler that finds the places by itself."""

    name: str
    """Attempts in it are recorded with this as their host."""
    slots: int
    """Attempts of this driver that it takes, whatever they need; those that it holds count."""
    stages: tuple[str, ...] | None = None
    """Whose jobs it takes; None: of all stages."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which cpus and devices of which host an attempt gets; the scheduler keeps count of the devices' numbers."""

    host: str
    """Or the queue; cpus and devices then say only how many. Of several hosts, that of rank 0."""
    cpus: int
    devices: tuple[int, ...]
    others: tuple["Placement", ...] = ()
    """An equal share on each further host, in the order of the ranks; these have no others."""

    @property
    def parts(self) -> "tuple[Placement, ...]":
        """The share of each host, that of rank 0 first; the first one says the others too."""
        return (self, *self.others)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of its hosts, that of rank 0 first."""
        return tuple(part.host for part in self.parts)

    @property
    def where(self) -> str:
        """For people: its hosts."""
        return " + ".join(self.hosts)


@dataclass(frozen=True, kw_only=True)
class ExpectedTime:
    """How long an attempt is expected to take, for schedulers that want a time limit."""

    seconds: float
    """The 95th percentile."""
    observations: int
    """Measured jobs on which it rests."""
    timeouts: int = 0
    """Earlier attempts of the job that ran into a time limit."""


@dataclass(frozen=True, kw_only=True)
class ExpectedWork:
    """How much work ready jobs of one stage and size are, for backends that submit allocations for many jobs."""

    jobs: int = 0
    seconds: float = 0.0
    """Sum of their durations."""
    longest_s: float = 0.0
    """The largest 95th percentile of one."""
    observations: int = 0
    """Measured jobs on which the estimate of one rests, at least; 0: nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One attempt to start.

    `request` is a `workloads.contract.request.Request` as JSON whose `inputs` and `out` are empty:
    the host fills them in from the store (`inputs` below, by fingerprint) and writes request.json.
    """

    attempt: str
    job: str
    label: str
    request: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Stage -> fingerprint of the committed input."""
    resources: Resources
    placement: Placement
    items: Mapping[str, str] = field(default_factory=dict)
    """Item -> content, of a job with items: for its commit record."""
    measured: str = ""
    """Digest of what they are measured with, likewise."""
    taken: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fingerprint of a finished job -> `items` of it that are taken over, and whether they are `measured`."""
    whole_checkpoints: bool = False
    """`StageSpec.whole_checkpoints`: a host without the attempts' folders downloads the newest alone."""
    expected: ExpectedTime | None = None
    """None: nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the backend knows of one attempt."""

    attempt: str
    phase: Phase
    ending: Ending | None = None
    detail: str = ""
    """For people: the exit code or signal, the limit that was hit, who killed it."""
    heartbeat: Mapping[str, Any] | None = None
    """`{"counter", "step", "of", "phase"}` as last written by the workload."""
    started: float | None = None
    ended: float | None = None
    successor: str | None = None
    """`ended` only: the backend has started the job again by itself, as this attempt, and answers for it."""
    failed_on: str = ""
    """`ended` on several hosts only: the host whose rank, or which itself, was lost first; empty: not known."""
    short_limit: bool = False
    """`timed_out` only: the limit was estimated, and shorter than what the job may take."""


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """An attempt of an earlier driver that a backend which outlives drivers is to answer for."""

    attempt: str
    ticket: str
    """Empty where the earlier driver died before it recorded one: the backend may know the attempt or not."""
    job: str
    label: str
    work: str
    """The attempt's folder."""
    placement: Placement

    @staticmethod
    def of(submission: Submission, ticket: str = "") -> "Adoption":
        """What another driver needs to take up an attempt that was submitted."""
        return Adoption(
            attempt=submission.attempt,
            ticket=ticket,
            job=submission.job,
            label=submission.label,
            work=str(submission.request["work"]),
            placement=submission.placement,
        )


class Backend(Protocol):
    """What both kinds of backends can do."""

    name: str
    outlives_driver: bool
    """True: attempts go on without a driver and are adopted by the next one."""

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Start attempts; returns attempt -> ticket."""

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver; `poll` answers for them, with `missing` where they are not known.

        Called once, before the first `poll`, and only where `outlives_driver` is true.
        """

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts."""

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save a checkpoint and end."""

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""

    def close(self) -> None:
        """Let go of everything; idempotent."""


@runtime_checkable
class PlacingBackend(Backend, Protocol):
    """A backend with hosts; `submit` starts each attempt where its placement says."""

    def hosts(self) -> Sequence[HostShare]:
        """The hosts that can take attempts now; may grow and shrink. A name means the same host for ever."""


@runtime_checkable
class QueueingBackend(Backend, Protocol):
    """A backend with queues; `submit` puts each attempt into the queue that its placement names."""

    def queues(self) -> Sequence[JobQueue]:
        """How many jobs it takes now, and of which stages; may change."""


@runtime_checkable
class Autoscaling(Protocol):
    """What a backend can do beside that gets hosts when jobs wait for them."""

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        """How many jobs are ready and have no place, by stage and need; called before `hosts`, and when none is.

        Of a job that several hosts share, the need is that of each, and its `nodes` says of how many.
        """

    def pending_hosts(self) -> str:
        """What it has asked for and does not have yet, for people; empty: nothing."""


@runtime_checkable
class WorkPlanning(Protocol):
    """What a backend can do beside that asks for hosts for a limited time."""

    def expected_work(self, work: Mapping[tuple[str, Resources], ExpectedWork]) -> None:
        """Stage and size of jobs -> how much work is ready; called now and then, before `hosts`."""
