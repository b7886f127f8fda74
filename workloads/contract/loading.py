"""Workload loading: imports a workload by its module name and validates it. Standard library only."""

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields

from workloads.contract.fields import key_of
from workloads.contract.workload import Workload

ATTRIBUTE = "WORKLOAD"
"""Attribute of the module."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names of stages are part of paths and labels."""


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
            f"workload {name!r}: {module.__file__} has no {ATTRIBUTE} = Workload(...); see docs/tutorial"
        )
    for problem in table_problems(found):
        raise WorkloadError(f"workload {name!r}: {problem}")
    return found


def table_problems(workload: Workload) -> Iterator[str]:
    """Problems of a workload: where, and what is allowed."""
    sections = [key_of(field.name) for field in fields(workload.controls)]
    earlier: list[str] = []
    for stage in workload.stages:
        where = f"stage {stage.name!r}"
        if stage.name in earlier:
            yield f"{where} appears twice in `stages`"
        if not NAME.fullmatch(stage.name):
            yield f"{where} is not a valid name; allowed: letters, digits, '_' and '-'"
        for need in stage.inputs:
            if need not in earlier:
                yield f"{where} reads {need!r}, which is not a stage before it; allowed: {_listed(earlier)}"
            elif not set(stage.branches) <= set(workload.by_name[need].branches or stage.branches):
                allowed = _listed(workload.by_name[need].branches)
                yield f"{where} has branches that its input {need!r} does not have; allowed: {allowed}"
        for branch in stage.branches:
            if branch not in workload.branch_names:
                allowed = _listed(workload.branch_names)
                yield f"{where} has branch {branch!r}, which is not in `branches`; allowed: {allowed}"
        read = (*stage.sections, *stage.revisions.values(), *([stage.global_batch] if stage.global_batch else []))
        for path in (*read, *(path for check in stage.checks for path in check.depends)):
            if path.partition(".")[0] not in sections:
                yield f"{where} reads {path!r}, which is not a section of `controls`; allowed: {_listed(sections)}"
        earlier.append(stage.name)
    for kind in workload.families:
        if not isinstance(getattr(kind, "family", None), str):
            yield f"{kind.__name__} has no `family`: set its name in matrix.yaml"
    if len(workload.family) < len(workload.families):
        yield f"two families have the same name; names: {_listed(kind.family for kind in workload.families)}"
    if len([stage for stage in workload.stages if stage.checks or stage.counted]) > 1:
        yield "more than one stage has `checks` or `counted`; allowed: one"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
