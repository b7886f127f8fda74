"""Cell: one row, one value of each axis and one seed, fully resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workloads.contract.fields import Count, Natural, Positive


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job of a stage needs. Never part of a fingerprint."""

    cpus: Count
    """Processors."""
    devices: Natural
    """Accelerators."""
    memory_gib: Positive
    """Main memory, GiB."""
    minutes: Positive
    """Time limit of an attempt."""
    ranks: Count | None = None
    """Processes that share the job; None: one per device, and one without devices."""
    nodes: Count | None = None
    """Hosts that share the job equally: cpus, devices, memory and ranks. None: one, or where none has so many devices,
    the fewest that have."""
    slots: Mapping[str, Count] = field(default_factory=dict, hash=False)
    """Name -> how many it takes of `slots` of the cluster file, besides one of its stage's name."""

    @property
    def world_size(self) -> int:
        """Processes that share the job."""
        return self.ranks or max(1, self.devices)

    @property
    def units(self) -> tuple[int, int]:
        """Devices and cpus that a cost counts: cpus only of jobs without devices."""
        return (self.devices, 0) if self.devices else (0, self.cpus)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """An intended difference between rows, with its reason; `value` is set if `key` is a control."""

    key: str
    """Full path of a control, or `ROWS.PARAMETER` of a parameter that needs a reason."""
    rows: tuple[str, ...]
    """Rows that differ."""
    reason: str
    """Why; every report prints it."""
    value: Any = None
    """Of the control in these rows; not with a parameter, which the row itself sets."""


@dataclass(frozen=True, kw_only=True)
class ExcludedCell:
    """A cell of the full product that `exclude` of matrix.yaml leaves out."""

    row: str
    axes: tuple[tuple[str, str], ...]
    seed: int
    entry: str
    """The entry that leaves it out, `exclude[0]: rows: ssm-*, site: pre_norm`."""
    place: str
    """Where that is written, `matrix.yaml:12`."""

    @property
    def id(self) -> str:
        """As of a cell."""
        return cell_id(self.row, self.axes, self.seed)


def cell_id(row: str, axes: tuple[tuple[str, str], ...], seed: int) -> str:
    """`ROW/AXIS=VALUE/s0`."""
    if not axes:
        return f"{row}/s{seed}"
    return "/".join((row, *(f"{axis}={value}" for axis, value in axes), f"s{seed}"))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the expanded matrix.

    `controls` holds the resolved sections this cell reads: controls that size rows and that its row does not read
    are left out (`Workload.row_controls`).
    """

    id: str
    """`ROW/s0`; with axes `ROW/AXIS=VALUE/s0`."""
    row: str
    axes: tuple[tuple[str, str], ...]
    seed: int
    family: str
    """As written in matrix.yaml, even if the row resolves to another family."""
    reference: bool
    """A ceiling or floor: it trains nothing and is not ranked."""
    trained: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    controls: Mapping[str, Mapping[str, Any]]
    branches: Mapping[str, Mapping[str, Any]]
    alias_of: str | None
    """Id of the first cell, in file order, with the same computation."""
    fingerprint: str
    """Digest of the computation and the alias number; the tracker finds a renamed cell by it."""
