"""Schema of matrix.yaml, except for the sections that its workload declares; and the matrix once it is read.

YAML is read by the annotations of these dataclasses (`typed.py`), so that each key is declared once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from orchestrator.spec.cell import Deviation, Resources
from orchestrator.spec.exclusion import Exclusion
from workloads.contract.rows import Row
from workloads.contract.workload import Workload


def resources_of(workload: Workload) -> Any:
    """The dataclass of a profile's `resources`: what a job of each stage needs.

    A stage that takes another's (`StageSpec.resources_of`) may be left out of matrix.yaml: `completed` adds it.
    """
    fields: list[Any] = [
        (stage.name, Resources, field(default=None)) if stage.resources_of else (stage.name, Resources)
        for stage in workload.stages
    ]
    return make_dataclass("StageResources", fields, frozen=True, kw_only=True)


def completed(workload: Workload, resources: Mapping[str, Any]) -> dict[str, Any]:
    """A profile's `resources`, with those of another stage for each one that is left out and may be."""
    taken = {stage.name: resources[stage.resources_of] for stage in workload.stages if stage.resources_of}
    return {**taken, **resources}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A control that is varied: an ablation."""

    key: str
    """Full path: `controls.action.site`."""
    values: tuple[Any, ...]
    """Of the key's type."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A scale of the study: its changes to the base, and the resources of its stages."""

    seeds: tuple[int, ...] | None
    """In place of the seeds above."""
    rows: tuple[str, ...] | None
    """Names, globs and `family:NAME` of its rows; it has all of them by default. A row outside is in the plan only if
    `--rows` names it or it has results."""
    controls: Mapping[str, Mapping[str, Any]]
    """Only what differs from the base."""
    branches: Mapping[str, Mapping[str, Any] | None]
    """Only what differs from the base; null: the branch is off."""
    resources: Any
    """For every stage: what its jobs need."""


@dataclass(frozen=True, kw_only=True)
class StudyDeclaration:
    """What `Matrix` and `ResolvedMatrix` have in common."""

    study: str
    """Name of the study and of its folder below outputs/."""
    seeds: tuple[int, ...]
    """Every row is computed once for each."""
    workload_name: str
    """`package.module` of the code of the study, as written or by default."""
    workload: Workload
    controls: Any
    """Settings that are equal in all compared cells, in sections: an instance of the workload's `controls`."""
    rows: Mapping[str, Row]
    """Name -> row, in file order: the variants under comparison."""
    axes: Mapping[str, Axis]
    """Name -> a control that is varied on purpose: every combination of values is a cell of each row."""
    branches: Any
    """Kinds of evaluation, a section each: an instance of the workload's `branches`."""
    tables: Mapping[str, tuple[str, ...]]
    """Name -> rows that are ranked together in the report."""
    deviations: tuple[Deviation, ...]
    """Declared differences between rows in a control, each with its reason."""
    exclusion: Exclusion = field(default_factory=Exclusion)


@dataclass(frozen=True, kw_only=True)
class Matrix(StudyDeclaration):
    """A valid matrix.yaml, as written."""

    path: Path
    profiles: Mapping[str, Profile]
    """Name -> a scale of the study; the first one is the default."""
    places: Mapping[str, int] = field(repr=False, compare=False)
    """Dotted key -> line of matrix.yaml, for errors found after reading."""


@dataclass(frozen=True, kw_only=True)
class ResolvedMatrix(StudyDeclaration):
    """One profile of a matrix with the overrides of the command line merged in."""

    profile: str
    overrides: tuple[str, ...]
    """Each `key=value`, as given, without surrounding spaces."""
    profile_rows: tuple[str, ...]
    """The rows that the profile has, in file order."""
    resources: Any
    places: Mapping[str, str] = field(repr=False, compare=False)
    """Dotted key -> `matrix.yaml:12` or `command line`, for errors found in expansion."""
