"""Plan interface for workloads: the parts of a plan that a workload may use, and what it returns. Standard library
only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


class JobResources(Protocol):
    """Resources of a job."""

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
        """Readable name."""

    @property
    def stage(self) -> str:
        """Name of its stage."""

    @property
    def branch(self) -> str | None:
        """Its branch, if its stage has branches."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The sections it reads; that of its branch is `branch`."""

    @property
    def row(self) -> Mapping[str, Any] | None:
        """The resolved row, in the form that it reads."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Stage -> id of the job whose artifact it reads."""

    @property
    def resources(self) -> JobResources:
        """Resources that it needs."""


class PlannedCell(Protocol):
    """A cell as a workload sees it."""

    @property
    def id(self) -> str:
        """`ROW/AXIS=VALUE/s0`."""

    @property
    def seed(self) -> int:
        """Its seed."""

    @property
    def reference(self) -> bool:
        """Whether its row is a reference row."""

    @property
    def alias_of(self) -> str | None:
        """Id of the first cell with the same computation."""

    @property
    def trained(self) -> Mapping[str, Any]:
        """The row as it is trained, resolved."""

    @property
    def evaluated(self) -> Mapping[str, Any]:
        """The row as it is evaluated, resolved."""

    @property
    def controls(self) -> Mapping[str, Mapping[str, Any]]:
        """Resolved sections; row controls only where the row reads them."""

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
        """By id, dependencies first."""

    @property
    def jobs_of(self) -> Mapping[str, Mapping[str, str]]:
        """Cell id -> {stage or `stage/branch`: job id}."""


class PlannedCluster(Protocol):
    """The cluster that a plan will run on, as a workload sees it."""

    @property
    def deepspeed(self) -> Mapping[str, Any]:
        """DeepSpeed settings of the cluster file."""

    @property
    def device_gib(self) -> float | None:
        """Memory of one accelerator, GiB; None: not known."""

    @property
    def keep_stable(self) -> bool:
        """Whether a job that longer ones continue publishes its state."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Predicted cost of a plan, and whether it fits."""

    text: str
    """Printed by `plan`."""
    json: Mapping[str, Any]
    """Further keys of `plan --json`."""
    disk_bytes: int
    """Disk space of the whole plan; `doctor` compares it with the free space."""
    refusal: str = ""
    """Why the plan cannot run: what, where, what is allowed, what next; empty: it can run."""


@dataclass(frozen=True, kw_only=True)
class SceneCount:
    """How many scenes the cases of a branch are of: the sampling unit of every interval."""

    number: int
    key: str
    """What sets it: `controls.data.open_prompts`."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A result that `doctor` prints."""

    level: Literal["ok", "warning", "bad"]
    says: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class ServiceEndpoint:
    """A server that `doctor` sends a request to."""

    what: str
    """In messages: `the judge's endpoint`."""
    url: str
    headers: Mapping[str, str]
    """Sent, never printed."""
    remedy: str
