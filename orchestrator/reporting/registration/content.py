"""What is registered of a plan: its questions and how they are tested, metrics, margins, tables, rows, seeds, branches,
controls, and the fingerprints of its jobs. Plain JSON values.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestrator.plan.job import Plan
from orchestrator.spec.canonical import digest
from reports.spec import BranchSpec, ReportSpec, ScorePart

Constant = bool | int | float | str
Content = Mapping[str, Any]


def content_of(plan: Plan, spec: ReportSpec) -> dict[str, Any]:
    """The content of a registration.

    Args:
        plan: the whole matrix of one profile.
        spec: of its report, with only the branches that are on.
    """
    controls: dict[str, dict[str, Any]] = {}
    branches: dict[str, Any] = {}
    for cell in plan.cells:
        for name, section in cell.controls.items():
            for key, value in section.items():
                controls.setdefault(name, {}).setdefault(key, value)
        branches = {**{name: dict(section) for name, section in cell.branches.items()}, **branches}
    found = {
        "profile": plan.profile,
        "questions": _questions(spec),
        "metrics": _metrics(spec),
        "shown": list(spec.metrics),
        "contrast": list(spec.contrast or ()),
        "main table": spec.main_table or "",
        "tables": {name: list(rows) for name, rows in plan.tables.items()},
        "rows": {cell.row: dict(cell.evaluated) for cell in plan.cells},
        "axes": sorted({"/".join(f"{key}={value}" for key, value in cell.axes) for cell in plan.cells} - {""}),
        "seeds": sorted({cell.seed for cell in plan.cells}),
        "branches": branches,
        "controls": controls,
        "deviations": {f"{one.key} of {', '.join(one.rows)}": one.value for one in plan.deviations},
        "plan": {
            "jobs": len(plan.jobs),
            "fingerprints": digest(sorted(job.fingerprint for job in plan.jobs.values())),
            "evaluations": sorted(evaluations_of(plan)),
        },
    }
    if spec.race is not None:
        found["race"] = {"metric": spec.race.metric, "baseline": spec.race.baseline, "margin": spec.race.margin}
    plainly: dict[str, Any] = _plain(found)
    return plainly


def evaluations_of(plan: Plan) -> frozenset[str]:
    """Fingerprints of the jobs that evaluate a row that is compared: who has seen none of them, has seen no result."""
    references = {cell.id for cell in plan.cells if cell.reference}
    return frozenset(
        job.fingerprint for job in plan.jobs.values() if job.branch is not None and not references.issuperset(job.cells)
    )


def _questions(spec: ReportSpec) -> dict[str, Any]:
    effects = {one.finding: one for one in spec.smallest_effects}
    found = {}
    for name, statement, test in spec.questions():
        source, constants = source_of(test)
        found[name] = {"statement": statement, "test": source, "constants": constants}
        if (asked := effects.get(name)) is not None:
            found[name]["smallest effect"] = {
                "margin" if asked.claim == "equivalence" else "difference": asked.effect,
                "metric": asked.metric,
                "pairs": [list(pair) for pair in asked.pairs],
            }
    return found


def _metrics(spec: ReportSpec) -> dict[str, Any]:
    return {
        branch.name: {
            "score": [_part(part) for part in branch.score],
            "otherwise": [_part(part) for part in branch.otherwise],
            "beside": list(branch.beside),
            "scene": branch.variant,
            "group": branch.group,
        }
        for branch in spec.branches
    }


def _part(part: ScorePart) -> str:
    stand_in = f", or {part.stand_in}" if part.stand_in else ""
    return f"{part.metric} ({part.better}{stand_in})"


def metric_names(spec: ReportSpec, branch: BranchSpec) -> set[str]:
    """`branch/metric` of everything that is declared of a branch before it is measured."""
    parts = [one for part in (*branch.score, *branch.otherwise) for one in (part.metric, part.stand_in) if one]
    return {f"{branch.name}/{metric}" for metric in (*parts, *branch.beside, *spec.metrics)}


def source_of(test: Callable[..., Any]) -> tuple[str, dict[str, Constant]]:
    """What a test does: the sha256 of its source, and the constants that it reads, by name.

    Its source is its own and that of everything that it names in its module, so that a changed margin or helper shows;
    comments, docstrings and layout do not count. What it imports is not followed: the commit tells it. A test without
    a source of its own, such as a partial, counts by its name.
    """
    module = sys.modules.get(getattr(test, "__module__", "") or "")
    try:
        assert module is not None
        tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
        name = test.__name__
    except (AssertionError, AttributeError, OSError, SyntaxError, TypeError, UnicodeError):
        return sha256(repr(getattr(test, "__qualname__", type(test).__qualname__)).encode()).hexdigest(), {}
    defined = _defined(tree)
    wanted, read = [name], dict[str, str]()
    constants: dict[str, Constant] = {}
    while wanted:
        one = wanted.pop()
        if one in read or (one not in defined and one != name):
            if one not in read:
                constants |= _constant(module, one)  # imported by name
            continue
        node = defined.get(one)
        if node is None:  # a lambda, or a function that was made by another
            break
        read[one] = ast.unparse(_without_docstrings(node))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            constants |= _constant(module, one)
        wanted += sorted({inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} - {one})
    text = "\n".join(read[one] for one in sorted(read)) or f"{module.__name__}.{name}"
    return sha256(text.encode()).hexdigest(), dict(sorted(constants.items()))


def _constant(module: ModuleType, name: str) -> dict[str, Constant]:
    """A number or text of a module, by its name; empty: it is something else."""
    value = getattr(module, name, None)
    return {name: value} if isinstance(value, bool | int | float | str) and not name.startswith("__") else {}


def _defined(tree: ast.Module) -> dict[str, ast.stmt]:
    """Name -> the statement of a module that defines it."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {one.id: node for one in node.targets if isinstance(one, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
    return node


def _plain(value: Any) -> Any:
    """Mappings, lists and scalars, as JSON holds them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
