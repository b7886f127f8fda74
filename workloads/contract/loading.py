"""Finding a workload by the name that matrix.yaml or a request gives it. Standard library only."""

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields

from workloads.contract.fields import key_of
from workloads.contract.workload import Workload

ATTRIBUTE = "WORKLOAD"
"""What the named module holds."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Of a stage: it is part of paths and labels."""


class WorkloadError(Exception):
    """A workload that cannot be used: what, where, what is allowed, what next."""


def load_workload(name: str) -> Workload:
    """The workload that `package.module` holds.

    Raises:
        WorkloadError: no such module, it cannot be imported, or it holds no workload.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise WorkloadError(
            f"workload {name!r}: there is no module {error.name!r}; allowed: package.module beside matrix.yaml, "
            "or of an installed package"
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
    """What cannot be in the tables of a workload: where, what is allowed."""
    sections = [key_of(field.name) for field in fields(workload.controls)]
    earlier: list[str] = []
    for stage in workload.stages:
        where = f"stage {stage.name!r}"
        if stage.name in earlier:
            yield f"{where} stands twice in `stages`"
        if not NAME.fullmatch(stage.name):
            yield f"{where}: allowed in a name: letters, digits, '_' and '-'"
        for need in stage.inputs:
            if need not in earlier:
                yield f"{where} reads {need!r}, which is no stage before it; before it are: {_listed(earlier)}"
            elif not set(stage.branches) <= set(workload.by_name[need].branches or stage.branches):
                allowed = _listed(workload.by_name[need].branches)
                yield f"{where} has branches that its input {need!r} has not; allowed: {allowed}"
        for branch in stage.branches:
            if branch not in workload.branch_names:
                allowed = _listed(workload.branch_names)
                yield f"{where} has branch {branch!r}, which `branches` has not; allowed: {allowed}"
        read = (*stage.sections, *stage.revisions.values(), *([stage.global_batch] if stage.global_batch else []))
        for path in (*read, *(path for check in stage.checks for path in check.depends)):
            if path.partition(".")[0] not in sections:
                yield f"{where} reads {path!r}, which is no section of `controls`; sections: {_listed(sections)}"
        earlier.append(stage.name)
    for kind in workload.families:
        if not isinstance(getattr(kind, "family", None), str):
            yield f"{kind.__name__} has no `family`, its name in matrix.yaml"
    if len(workload.family) < len(workload.families):
        yield f"two families have one name; names: {_listed(kind.family for kind in workload.families)}"
    if len([stage for stage in workload.stages if stage.checks or stage.counted]) > 1:
        yield "several stages have `checks` or `counted`; allowed: one"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
