"""Variants of the controls: the changes that each combination of axis values and each deviation makes."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.spec.canonical import axis_text
from orchestrator.spec.cell import Deviation
from orchestrator.spec.schema import Axis
from orchestrator.spec.typed import build
from workloads.contract.workload import Workload


def changed(controls: Mapping[str, Any], branches: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Plain controls and branches with `changes` (full path -> value); unchanged sections stay the same objects."""
    trees: dict[str, dict[str, Any]] = {"controls": dict(controls), "branches": dict(branches)}
    for path, value in changes.items():
        top, section, key = path.split(".")
        trees[top][section] = {**trees[top][section], key: value}
    return trees["controls"], trees["branches"]


def first_problem(
    workload: Workload, controls: Mapping[str, Any], branches: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Key and problem of the first inconsistency in plain controls and branches; None: there is none."""
    return next(workload.problems(build(workload.controls, controls), build(workload.branches, branches)), None)


def labels_of(axes: Iterable[str], values: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """(axis, text of its value) of one combination of axis values."""
    return tuple((name, axis_text(value)) for name, value in zip(axes, values, strict=True))


def variants(
    axes: Mapping[str, Axis], deviations: Sequence[Deviation], rows: Iterable[str]
) -> Iterator[tuple[tuple[Any, ...], dict[str, dict[str, Any]]]]:
    """For each combination of axis values: the values, and row -> its changes to the controls.

    A deviation takes precedence over an axis, as it is the more specific of the two.
    """
    own: dict[str, dict[str, Any]] = {row: {} for row in rows}
    for deviation in deviations:
        if deviation.key.startswith("controls."):
            for row in deviation.rows:
                own[row][deviation.key] = deviation.value
    keys = [axis.key for axis in axes.values()]
    for values in itertools.product(*(axis.values for axis in axes.values())):
        shared = dict(zip(keys, values, strict=True))
        yield values, {row: {**shared, **changes} if changes else shared for row, changes in own.items()}
