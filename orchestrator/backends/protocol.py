"""What every way of running attempts promises.

Obligations of an implementation (`tests/contracts/backend.py` checks them on all, fake included):

* `submit` returns at once with a ticket per attempt, or raises BackendError and has started nothing.
* `poll` answers for *all* attempts ever submitted to this instance (or adopted) in one call, and
  keeps saying `ended` with the same ending once an attempt has ended.
* An attempt that ends well has been published to the store before `poll` says so.
* What the backend cannot tell is `unknown`, never a guess.
* `stop` asks ranks to save and end (they get `grace_s`); `kill` does not ask. Both return at once.
* After `close`, nothing that was started for this driver runs on (unless the backend outlives drivers:
  then attempts go on, and another instance that is asked to `adopt` them answers for them).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from orchestrator.spec.cell import Resources

Phase = Literal["waiting", "running", "ended", "unknown", "missing"]

Ending = Literal[
    "ok",
    "bad_input",
    "error",
    "out_of_memory",
    "timed_out",
    "preempted",
    "node_lost",
    "interrupted",
    "vanished",
    "cancelled",
]


@dataclass(frozen=True, kw_only=True)
class HostShare:
    """One host's share of a node, as the backend holds it: what the policy places jobs on."""

    name: str
    cpus: int
    devices: int
    memory_gib: float
    jobs: int | None = None
    """A number: a scheduler of its own finds the places, and takes so many attempts at once, whatever they need."""
    stages: tuple[str, ...] | None = None
    """Whose jobs it takes; None: of all stages."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which cpus and devices of which host an attempt gets (by number: the policy keeps count)."""

    host: str
    cpus: int
    devices: tuple[int, ...]


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


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """An attempt of an earlier driver that a backend which outlives drivers is to answer for."""

    attempt: str
    ticket: str
    """Empty where the earlier driver died before it was booked: the backend may know the attempt or not."""
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
    """A way of running attempts."""

    name: str
    outlives_driver: bool
    """True: attempts go on without a driver and are adopted by the next one."""

    def hosts(self) -> Sequence[HostShare]:
        """The hosts that can take attempts now; may grow and shrink."""

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
class Elastic(Protocol):
    """Of a backend that gets its hosts by asking for them: it is told for whom. No backend needs to have it."""

    def waiting_for_room(self, stages: Collection[str]) -> None:
        """Jobs of these stages are ready and have no place; called before `hosts`."""

    def asking(self) -> str:
        """What it has asked for and does not have yet, for people; empty: nothing."""
