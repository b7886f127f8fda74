"""Job selection: by row, seed and branch, or by label, id or glob."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.errors import PlanError
from orchestrator.plan.job import Job, Plan
from orchestrator.spec.cell import Cell
from orchestrator.spec.lines import nearest
from orchestrator.spec.patterns import FAMILY, is_glob, matching_rows, split_names
from orchestrator.wording import shortened

Patterns = str | Iterable[str] | None
"""Names or globs, as one comma list or several; None: all."""

COMPARED = 5000
"""Names searched for the nearest spelling; difflib needs half a second for these."""

SHOWN = 6
"""Candidates listed in an error."""


def select(plan: Plan, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> frozenset[str]:
    """Ids of the jobs of these rows, seeds and branches, and of their dependencies.

    A pattern is a name, a glob, or for rows a family (`family:NAME`).

    Raises:
        PlanError: a pattern matches nothing; with the nearest name.
    """
    if (rows, seeds, branches) == (None, None, None):
        return frozenset(plan.jobs)
    return with_needs(plan, _own(plan, select_cells(plan, rows, seeds), branches))


def selected_part(plan: Plan, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> Plan:
    """The plan with these cells only, and with the jobs of `select` only: to show what a run of them does.

    Raises:
        PlanError: a pattern matches nothing; with the nearest name.
    """
    cells = select_cells(plan, rows, seeds)
    if (rows, seeds, branches) == (None, None, None):
        jobs, jobs_of = plan.jobs, plan.jobs_of
    else:
        selected = select(plan, rows, seeds, branches)
        jobs = {job_id: job for job_id, job in plan.jobs.items() if job_id in selected}
        jobs_of = {
            cell.id: {name: job_id for name, job_id in plan.jobs_of[cell.id].items() if job_id in jobs}
            for cell in cells
        }
    chosen = {(cell.row, cell.seed) for cell in cells}
    return replace(
        plan,
        cells=tuple(cells),
        jobs=jobs,
        jobs_of=jobs_of,
        excluded=tuple(one for one in plan.excluded if (one.row, one.seed) in chosen),
        added={row: why for row, why in plan.added.items() if any(row == cell.row for cell in cells)},
    )


def select_own(plan: Plan, rows: Patterns = None, seeds: Patterns = None, branches: Patterns = None) -> frozenset[str]:
    """Ids of the jobs that only cells of these rows and seeds use, of these branches: safe to cancel.

    Raises:
        PlanError: a pattern matches nothing; with the nearest name.
    """
    cells = select_cells(plan, rows, seeds)
    computation = {cell.id: cell.alias_of or cell.id for cell in plan.cells}
    chosen = {computation[cell.id] for cell in cells}
    return frozenset(
        job_id
        for job_id in _own(plan, cells, branches)
        if all(computation[cell] in chosen for cell in plan.jobs[job_id].cells)
    )


def select_cells(plan: Plan, rows: Patterns = None, seeds: Patterns = None) -> list[Cell]:
    """The cells of these rows and seeds, in the order of the plan.

    Raises:
        PlanError: a pattern matches nothing; with the nearest name.
    """
    row_names = _matched_rows(plan, patterns_of(rows))
    seed_names = _matched("seed", patterns_of(seeds), list(dict.fromkeys(str(cell.seed) for cell in plan.cells)))
    return [cell for cell in plan.cells if cell.row in row_names and str(cell.seed) in seed_names]


def select_branches(plan: Plan, branches: Patterns = None) -> list[str]:
    """The names of these branches, in the order of the workload.

    Raises:
        PlanError: a pattern matches nothing, with the nearest name; or a branch that is off.
    """
    patterns, on = patterns_of(branches), plan.branches
    for name in patterns or ():
        off = [known for known in fnmatch.filter(plan.workload.branch_names, name) if known not in on]
        if off and not fnmatch.filter(on, name):
            raise PlanError(
                f"branch {off[0]} is off in profile {plan.profile} (on: {', '.join(on)}); switch it on with "
                f"`branches.{off[0]}={{}}`, which takes its values under `branches` of the matrix, or write them there"
            )
    found = _matched("branch", patterns, list(on))
    return [name for name in on if name in found]


def with_needs(plan: Plan, ids: Iterable[str]) -> frozenset[str]:
    """`ids` and all their dependencies, direct or not."""
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        job_id = waiting.pop()
        if job_id not in found:
            found.add(job_id)
            waiting += plan.jobs[job_id].inputs.values()
    return frozenset(found)


def find_job(plan: Plan, name: str) -> Job:
    """The job with this id, label (of an alias too), or unique prefix of an id or fingerprint.

    Raises:
        PlanError: no job matches, or several.
    """
    if name in plan.jobs:
        return plan.jobs[name]
    labelled = {job.label: job.id for job in plan.jobs.values()}
    if name in labelled:
        return plan.jobs[labelled[name]]
    for cell in plan.cells:
        step = name.removesuffix(f"/{cell.id}")
        if step != name and step in plan.jobs_of[cell.id]:
            return plan.jobs[plan.jobs_of[cell.id][step]]
    found = [job for job in plan.jobs.values() if job.id.startswith(name) or job.fingerprint.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = shortened([f"{job.id} ({job.label})" for job in found], SHOWN)
        raise PlanError(f"job {name!r} is ambiguous, {len(found)} match: {shown}; give more digits of the id")
    # Jobs of the same stage first: the search for the nearest name is limited.
    stage = name.partition("/")[0]
    names = sorted([*labelled, *plan.jobs], key=lambda known: known.partition("/")[0] != stage)[:COMPARED]
    if outside := next((part for part in name.split("/") if part in plan.outside), None):
        raise PlanError(f"no job {name!r} in this plan: {_is_outside(plan, outside)}")
    raise PlanError(
        f"no job {name!r} in the plan of profile {plan.profile}{nearest(name, names)}; allowed: a label "
        "(STAGE/ROW/s0), an id, or a unique prefix of an id; `echo-matrix plan` lists them"
    )


def find_jobs(plan: Plan, names: Iterable[str]) -> tuple[Job, ...]:
    """The jobs of several names, in the order of the plan; a name is as for `find_job`, or a glob over labels and ids.

    Raises:
        PlanError: a name or glob matches nothing, or a prefix matches several.
    """
    found: set[str] = set()
    for name in names:
        if not is_glob(name):
            found.add(find_job(plan, name).id)
            continue
        labels = {f"{step}/{cell.id}": job_id for cell in plan.cells for step, job_id in plan.jobs_of[cell.id].items()}
        labels |= {job.label: job.id for job in plan.jobs.values()} | {job_id: job_id for job_id in plan.jobs}
        matches = {labels[label] for label in fnmatch.filter(labels, name)}
        if not matches:
            if outside := [row for row in plan.outside if _names_row(name, row)]:
                raise PlanError(f"no job matches {name!r} in this plan: {_is_outside(plan, *outside)}")
            raise PlanError(
                f"no job matches {name!r} in the plan of profile {plan.profile}; a glob must match a whole label or "
                "id, such as 'STAGE/*'; `echo-matrix plan` lists them"
            )
        found |= matches
    return tuple(job for job in plan.jobs.values() if job.id in found)


def _names_row(name: str, row: str) -> bool:
    """Whether a part of a glob over labels is a pattern for this row, and not for every row."""
    return any(part.strip("*") and fnmatch.fnmatch(row, part) for part in name.split("/"))


def _own(plan: Plan, cells: Iterable[Cell], branches: Patterns) -> set[str]:
    branch_names = select_branches(plan, branches)
    cells = list(cells)
    lost = [] if branches is None else [name for name in branch_names if not any(name in c.branches for c in cells)]
    if lost and len(lost) == len(branch_names):
        rows = dict.fromkeys(cell.row for cell in plan.cells if lost[0] in cell.branches)
        raise PlanError(f"no selected row has branch {lost[0]}; it has the rows {shortened(list(rows), SHOWN)}")
    chosen: set[str] = set()
    for cell in cells:
        for name, job_id in plan.jobs_of[cell.id].items():
            _, _, branch = name.partition("/")
            if branch in branch_names or (not branch and branches is None):
                chosen.add(job_id)
    return chosen


def patterns_of(patterns: Patterns) -> list[str] | None:
    """The single patterns; None: all."""
    if patterns is None:
        return None
    return split_names([patterns] if isinstance(patterns, str) else patterns)


def _matched_rows(plan: Plan, patterns: Sequence[str] | None) -> frozenset[str]:
    """The rows of the plan that any pattern matches."""
    family_of = {cell.row: cell.family for cell in plan.cells}
    if patterns is None:
        return frozenset(family_of)
    found: set[str] = set()
    for pattern in patterns:
        matches = matching_rows(pattern, family_of)
        if not matches:
            raise PlanError(_no_row(plan, pattern, family_of))
        found.update(matches)
    return frozenset(found)


def _no_row(plan: Plan, pattern: str, family_of: Mapping[str, str]) -> str:
    if outside := matching_rows(pattern, plan.outside):
        return _is_outside(plan, *outside)
    every = {**family_of, **plan.outside}
    if pattern.startswith(FAMILY):
        family, families = pattern.removeprefix(FAMILY), list(dict.fromkeys(every.values()))
        near = nearest(family, families)
        return f"no row of family {family!r} in this matrix{near} (families: {', '.join(families)})"
    also = f"; not in profile {plan.profile}: {', '.join(plan.outside)}" if plan.outside else ""
    return _no_match("row", pattern, list(family_of), also, nearest(pattern, every))


def _is_outside(plan: Plan, *rows: str) -> str:
    """Why rows of the matrix are not in the plan, and how they come in."""
    several = len(rows) > 1
    subject = f"rows {', '.join(rows)} are" if several else f"row {rows[0]} is"
    them = ("them", "their") if several else ("it", "its")
    return (
        f"{subject} in the matrix, but not in profile {plan.profile}, and nothing of {them[1]} own is done; "
        f"`echo-matrix run --rows {','.join(rows)}` runs {them[0]}"
    )


def _matched(what: str, patterns: Sequence[str] | None, names: Sequence[str]) -> frozenset[str]:
    """The names that any pattern matches."""
    if patterns is None:
        return frozenset(names)
    found: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(names, pattern)
        if not matches:
            raise PlanError(_no_match(what, pattern, names))
        found |= set(matches)
    return frozenset(found)


def _no_match(what: str, pattern: str, names: Sequence[str], more: str = "", near: str | None = None) -> str:
    if what == "seed" and pattern.isdecimal():
        return (
            f"no seed {pattern} in this matrix (seeds: {', '.join(names)}); "
            f"add it with seeds=[{','.join([*names, pattern])}]"
        )
    plural = "branches" if what == "branch" else f"{what}s"
    also = "; also globs and family:NAME" if what == "row" else "; also globs"
    near = nearest(pattern, names) if near is None else near
    return f"no {what} {pattern!r} in this matrix{near} ({plural}: {', '.join(names)}{more}{also})"
