"""Workload loading: imports a workload by its module name and validates it. Standard library only."""

import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from keyword import iskeyword
from typing import get_type_hints

from workloads.contract.fields import key_of, optional_sections, section_kinds
from workloads.contract.metrics import METRIC_NAME
from workloads.contract.stage import StageSpec
from workloads.contract.workload import REFERENCES, Workload

ATTRIBUTE = "WORKLOAD"
"""Attribute of the module."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Of a workload: it is part of fingerprints."""

KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?<!_)")
"""Of a stage, which is a key of `resources` and part of paths and labels, and of `rows_key`."""

ROWS = ("none", "trained", "evaluated", "references")
"""Which form of the row a stage may read."""

MATRIX_KEYS = (
    "study",
    "workload",
    "seeds",
    "controls",
    "axes",
    "exclude",
    "include",
    "branches",
    "tables",
    "deviations",
    "profiles",
)
"""Keys of matrix.yaml, in its usual order, without that of the rows (`Workload.rows_key`)."""
OPTIONAL_KEYS = ("workload", "exclude", "include")
"""Those that may be left out."""


class WorkloadError(Exception):
    """A workload that is not valid."""


def load_workload(name: str) -> Workload:
    """The workload in `package.module`.

    Raises:
        WorkloadError: no such module, it has no workload, or the workload is not valid.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise WorkloadError(
            f"workload {name!r}: no module {error.name!r}; allowed: package.module beside the matrix, or installed"
        ) from error
    found = getattr(module, ATTRIBUTE, None)
    if not isinstance(found, Workload):
        raise WorkloadError(
            f"workload {name!r}: {module.__file__} has no {ATTRIBUTE} = Workload(...); see docs/tutorials/own-study.md"
        )
    for problem in table_problems(found):
        raise WorkloadError(f"workload {name!r}: {problem}")
    return found


def table_problems(workload: Workload) -> Iterator[str]:
    """What cannot be in the tables of a workload, most basic first: where, what is allowed."""
    for what, sections in (("controls", workload.controls), ("branches", workload.branches)):
        if not is_dataclass(sections):
            yield f"`{what}` is {sections!r}; allowed: a dataclass with a field for each section"
            return
        for name, section in section_kinds(sections).items():
            if not is_dataclass(section):
                yield f"`{what}` has {name!r} of type {section!r}; allowed: a dataclass with the section's keys"
                return
        optional = optional_sections(sections)
        if optional and what == "controls":
            yield f"`controls` has {sorted(optional)[0]!r}, which may be None; allowed: sections that are always there"
        defaults = {key_of(one.name): one.default for one in fields(sections)}
        for name in optional:
            if defaults[name] is not None:
                yield f"`{what}` has {name!r}, which may be None, without a default; write `{name}: ... = None`"
    if not NAME.fullmatch(workload.name):
        yield f"`name` is {workload.name!r}; allowed: letters, digits, '_' and '-'"
    if not KEY.fullmatch(workload.rows_key) or workload.rows_key in MATRIX_KEYS:
        yield f"`rows_key` is {workload.rows_key!r}; allowed: letters, digits and '_', but no other key of matrix.yaml"
    for what, entries in (("stages", workload.stages), ("families", workload.families)):
        if not entries:
            yield f"`{what}` is empty; allowed: one and more"
    keys = _keys(workload.controls)
    for path in workload.row_controls:
        if "." not in path or path not in keys:
            yield f"`row_controls` names {path!r}, which is no section.key of `controls`"
    earlier: list[str] = []
    for stage in workload.stages:
        yield from _stage_problems(workload, stage, earlier, keys)
        earlier.append(stage.name)
    for kind in workload.families:
        if not isinstance(getattr(kind, "family", None), str):
            yield f"{kind.__name__} has no `family`: set its name in matrix.yaml"
    if len(workload.family) < len(workload.families):
        yield f"two families have the same name; names: {_listed(kind.family for kind in workload.families)}"
    yield from _derived_problems(workload)


def _stage_problems(
    workload: Workload, stage: StageSpec, earlier: Sequence[str], keys: Collection[str]
) -> Iterator[str]:
    """What cannot be in the entry of a stage, which comes after `earlier`."""
    where = f"stage {stage.name!r}"
    if stage.name in earlier:
        yield f"{where} appears twice in `stages`"
    if not KEY.fullmatch(stage.name) or iskeyword(stage.name):
        yield f"{where} is not a valid name; allowed: letters, digits and '_', first a letter; no keyword of Python"
    if stage.row not in ROWS:
        yield f"{where} has `row` {stage.row!r}; allowed: {_listed(ROWS)}"
    for need in stage.inputs:
        if need not in earlier:
            yield f"{where} reads {need!r}, which is not a stage before it; allowed: {_listed(earlier)}"
            continue
        branches = workload.by_name[need].branches
        if branches and not stage.branches:
            yield f"{where} reads {need!r}, which has branches, and has none; allowed: {_listed(branches)}"
        if branches and not set(stage.branches) <= set(branches):
            yield f"{where} has branches that its input {need!r} does not have; allowed: {_listed(branches)}"
        if stage.row == "references" and need not in workload.shared:
            yield (
                f"{where} is of reference rows and reads {need!r}, which depends on a row; allowed: "
                f"{_listed(workload.shared)}"
            )
        if workload.by_name[need].row == "references":
            yield f"{where} reads {need!r}, which is of all reference rows; allowed: {_listed(_of_one_row(workload))}"
    if stage.row == "references":
        if not stage.branches or not stage.tracked or stage.seed or stage.curve:
            yield f"{where} is of reference rows; allowed: branches, tracked=True, and neither seed nor curve"
        if REFERENCES in keys:
            yield f"`controls` has a section {REFERENCES!r}, which {where} has in its config; name it differently"
    for name in stage.performs:
        if name not in workload.by_name:
            yield f"{where} performs {name!r}, which is no stage; allowed: {_listed(workload.by_name)}"
            continue
        for path in workload.by_name[name].revisions.values():
            if path not in stage.sections and path.partition(".")[0] not in stage.sections:
                yield f"{where} performs {name!r}, whose revision reads {path!r}; add that to its `sections`"
    if stage.resources_of and stage.resources_of not in [one.name for one in workload.stages if not one.resources_of]:
        allowed = _listed(one.name for one in workload.stages if not one.resources_of)
        yield f"{where} has the resources of {stage.resources_of!r}; allowed: a stage with its own: {allowed}"
    for branch in stage.branches:
        if branch not in workload.branch_names:
            allowed = _listed(workload.branch_names)
            yield f"{where} has branch {branch!r}, which is not in `branches`; allowed: {allowed}"
    bounds = (path for check in stage.counted for path in (check.of, check.most))
    named = (path for path in (stage.global_batch, stage.continued) if path)
    single = (*stage.revisions.values(), *named, *bounds)
    for path in (*stage.sections, *single, *(path for check in stage.checks for path in check.depends)):
        section, _, key = path.partition(".")
        if section not in keys:
            names = (name for name in keys if "." not in name)
            yield f"{where} reads {path!r}, which is not a section of `controls`; allowed: {_listed(names)}"
        elif path not in keys:
            own = (name.partition(".")[2] for name in keys if name.startswith(f"{section}."))
            yield f"{where} reads {path!r}, but section {section!r} has no {key!r}; allowed: {_listed(own)}"
    for path in single:
        if path in keys and "." not in path:
            yield f"{where} names {path!r}, a whole section; allowed: section.key"
    if (stage.checks or stage.counted) and not stage.tracked:
        yield f"{where} has `checks` or `counted` and is not `tracked`: no cell has its records; set tracked=True"


def _of_one_row(workload: Workload) -> list[str]:
    return [stage.name for stage in workload.stages if stage.row != "references"]


def _derived_problems(workload: Workload) -> Iterator[str]:
    """What cannot be in `derived`."""
    names: set[str] = set()
    every = {metric.name for metric in workload.derived}
    for metric in workload.derived:
        where = f"derived metric {metric.name!r}"
        if metric.name in names:
            yield f"{where} appears twice in `derived`"
        if not METRIC_NAME.fullmatch(metric.name):
            yield f"{where} is not a valid name; allowed: letters, digits and _ . / : - and spaces"
        if not metric.of:
            yield f"{where} has an empty `of`; allowed: the metrics that it is computed from"
        if metric.name in metric.of:
            yield f"{where} is computed from itself"
        for later in sorted(every.intersection(metric.of) - names - {metric.name}):
            yield f"{where} is computed from {later!r}, which comes after it in `derived`; put {later!r} first"
        for branch in metric.branches:
            if branch not in workload.branch_names:
                allowed = _listed(workload.branch_names)
                yield f"{where} has branch {branch!r}, which is not in `branches`; allowed: {allowed}"
        names.add(metric.name)


def _keys(controls: type) -> list[str]:
    """The sections of `controls`, and every `section.key`."""
    found: list[str] = []
    for name, section in get_type_hints(controls).items():
        found += [key_of(name), *(f"{key_of(name)}.{key_of(key)}" for key in get_type_hints(section))]
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
