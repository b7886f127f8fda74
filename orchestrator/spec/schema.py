"""What matrix.yaml may say beside the sections of its workload, and what it is once it has been read.

`typed.py` reads YAML by the annotations of dataclasses, so a key is declared once and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from orchestrator.spec.cell import Deviation, Resources
from workloads.contract.fields import Count, Natural, Positive
from workloads.contract.rows import Row
from workloads.contract.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Needs(Resources):
    """Resources with their ranges."""

    cpus: Count
    devices: Natural
    memory_gib: Positive
    minutes: Positive
    ranks: Count | None = None


def resources_of(workload: Workload) -> Any:
    """The dataclass of a profile's `resources`: what a job of each stage needs; never part of a fingerprint."""
    fields = [(stage.name, Needs) for stage in workload.stages]
    return make_dataclass("StageResources", fields, frozen=True, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An ablated control."""

    key: str
    """Full path: `controls.action.site`."""
    values: tuple[Any, ...]
    """Already of the key's type."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A scale: what it changes of the base, and what its stages need."""

    seeds: tuple[int, ...] | None
    controls: Mapping[str, Mapping[str, Any]]
    """Only what differs from the base."""
    branches: Mapping[str, Mapping[str, Any]]
    resources: Any


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """matrix.yaml as written and found to be valid."""

    path: Path
    study: str
    seeds: tuple[int, ...]
    workload_name: str
    """`package.module`, as written or by default."""
    workload: Workload
    controls: Any
    """Instance of the workload's `controls`."""
    rows: Mapping[str, Row]
    """Name -> row, in file order."""
    axes: Mapping[str, Axis]
    branches: Any
    tables: Mapping[str, tuple[str, ...]]
    deviations: tuple[Deviation, ...]
    profiles: Mapping[str, Profile]
    places: Mapping[str, int] = field(repr=False, compare=False)
    """Dotted key -> line of matrix.yaml, for errors that are found after reading."""


@dataclass(frozen=True, kw_only=True)
class ResolvedMatrix:
    """One profile of a matrix, with the overrides of the command line: nothing is left to merge."""

    study: str
    profile: str
    overrides: tuple[str, ...]
    """As given, each `key=value` without spaces around it."""
    seeds: tuple[int, ...]
    workload_name: str
    workload: Workload
    controls: Any
    rows: Mapping[str, Row]
    axes: Mapping[str, Axis]
    branches: Any
    tables: Mapping[str, tuple[str, ...]]
    deviations: tuple[Deviation, ...]
    resources: Any
    places: Mapping[str, str] = field(repr=False, compare=False)
    """Dotted key -> `matrix.yaml:12` or `command line`, for errors that are found in expansion."""
