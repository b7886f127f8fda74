"""A cell: one row, one value of every axis, one seed, with all it resolves to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job of a stage needs. Never part of a fingerprint."""

    cpus: int
    devices: int
    memory_gib: float
    minutes: float
    ranks: int | None = None
    """Processes that share the job; None: one a device, and one without devices."""

    @property
    def world_size(self) -> int:
        """Processes that share the job."""
        return self.ranks or max(1, self.devices)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A wanted difference between rows: `value` is set where `key` is a control."""

    key: str
    rows: tuple[str, ...]
    reason: str
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the expanded matrix.

    `controls` holds the resolved sections this cell reads: controls that size rows and that its row does not read
    are left out (`Workload.row_controls`).
    """

    id: str
    """For people: `ROW/s0`, with axes `ROW/AXIS=VALUE/s0`."""
    row: str
    axes: tuple[tuple[str, str], ...]
    seed: int
    family: str
    """As written in matrix.yaml, also where the row resolves to another family."""
    reference: bool
    """A ceiling or floor: trains nothing of its own, takes no rank."""
    trained: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    controls: Mapping[str, Mapping[str, Any]]
    branches: Mapping[str, Mapping[str, Any]]
    alias_of: str | None
    """Id of the first cell, in file order, with the same computation."""
    fingerprint: str
    """What is computed, and which of its aliases this is: finds the cell's MLflow run after a renaming."""
