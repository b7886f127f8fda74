"""A plan as a workload sees it, and what a workload answers about it. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


class JobResources(Protocol):
    """What a job asks of a host."""

    @property
    def devices(self) -> int:
        """Accelerators."""

    @property
    def memory_gib(self) -> float:
        """Memory of the host, GiB."""

    @property
    def world_size(self) -> int:
        """Processes that share the job."""


class PlannedJob(Protocol):
    """A job as a workload sees it."""

    @property
    def id(self) -> str:
        """`{stage}[/{branch}]/{12 hex digits}`."""

    @property
    def label(self) -> str:
        """Its name for people."""

    @property
    def stage(self) -> str:
        """Name of its stage."""

    @property
    def branch(self) -> str | None:
        """Its branch, if its stage has branches."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The sections it reads; the branch's own under `branch`."""

    @property
    def row(self) -> Mapping[str, Any] | None:
        """The row, resolved, in the form it reads."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Stage -> id of the job whose artifact it reads."""

    @property
    def resources(self) -> JobResources:
        """What it needs."""


class PlannedCell(Protocol):
    """A cell as a workload sees it: a row, a value of every axis, a seed, and what they resolve to."""

    @property
    def id(self) -> str:
        """`context-k5/site=pre_norm/s0`."""

    @property
    def seed(self) -> int:
        """Its seed."""

    @property
    def reference(self) -> bool:
        """Whether its row is a ceiling or floor."""

    @property
    def alias_of(self) -> str | None:
        """Id of the first cell with the same computation."""

    @property
    def trained(self) -> Mapping[str, Any]:
        """The row as it is trained, resolved."""

    @property
    def controls(self) -> Mapping[str, Mapping[str, Any]]:
        """Resolved sections; controls that size a row are there where the row reads them."""

    @property
    def branches(self) -> Mapping[str, Mapping[str, Any]]:
        """Resolved sections of the branches."""


class Planned(Protocol):
    """A plan as a workload sees it."""

    @property
    def cells(self) -> Sequence[PlannedCell]:
        """In file order."""

    @property
    def jobs(self) -> Mapping[str, PlannedJob]:
        """By id, needs first."""

    @property
    def jobs_of(self) -> Mapping[str, Mapping[str, str]]:
        """Cell id -> {stage or `stage/branch`: job id}."""


class Surroundings(Protocol):
    """What a workload may ask of the cluster that a plan will run on."""

    @property
    def deepspeed(self) -> Mapping[str, Any]:
        """DeepSpeed settings of the cluster file."""

    @property
    def device_gib(self) -> float | None:
        """Memory of one accelerator, GiB; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan costs and whether it fits, predicted before anything runs."""

    text: str
    """For people, as it is printed."""
    json: Mapping[str, Any]
    """Keys that `plan --json` adds."""
    disk_bytes: int
    """What all of the plan takes on disk."""
    refusal: str = ""
    """Why the plan cannot run: what, where, what is allowed, what next; empty: it can."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What one check of `doctor` found."""

    level: Literal["ok", "warning", "bad"]
    says: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class ServiceEndpoint:
    """A server that `doctor` is to ask whether it answers."""

    what: str
    """For people: `the judge's endpoint`."""
    url: str
    headers: Mapping[str, str]
    """Sent, and never shown."""
    remedy: str
