"""The first lines of a run: what will run, for how long, and where to look."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from orchestrator.commands.options import study_options
from orchestrator.plan.forecast_show import forecast_line
from orchestrator.plan.growth_show import growth_lines
from orchestrator.plan.job import Plan, Standing
from orchestrator.plan.show import added_text
from orchestrator.spec.cell import Cell
from orchestrator.study import Study
from orchestrator.wording import counted

NAMED = 4
"""Rows or seeds that are named; more are counted."""


def opening_text(study: Study, selected: Collection[str], standings: Mapping[str, Standing], at: float) -> str:
    """The lines; empty with nothing left to do.

    Args:
        study: as planned.
        selected: ids of the jobs that are asked for.
        standings: by job id, before the run.
        at: now, seconds since 1970.
    """
    plan = study.plan
    open_jobs = [job for job in plan.jobs.values() if job.id in selected and standings[job.id].state != "done"]
    if not open_jobs:
        return ""
    asked = [job_id for job_id in plan.jobs if job_id in selected]
    stages = Counter(job.stage for job in open_jobs)
    each = ", ".join(f"{stages[stage.name]} {stage.name}" for stage in plan.workload.stages if stages[stage.name])
    expected = forecast_line(study.forecast({job.id: standings[job.id] for job in open_jobs}), at)
    return "\n".join(
        [
            f"{plan.study} · {plan.profile}: {len(open_jobs)} of {counted(len(selected), 'job')} to do",
            f"  {each}",
            *(f"  {line}" for line in growth_lines(study.stage_growth({one: standings[one] for one in asked}))),
            f"  {_cells(plan, selected)}",
            *([] if (older := study.older_results()) is None else [f"  {older}"]),
            *_added(plan, {job.id for job in open_jobs}),
            "  " + expected.replace("; ", "\n    "),
            f"in another terminal: echo-matrix status --watch{study_options(study)} (also: results, ui, stop)",
            "Ctrl-C stops at the next checkpoint; the same command continues",
            f"all files are in {study.home}",
        ]
    )


def _own_cells(plan: Plan, ids: Collection[str]) -> list[Cell]:
    """The cells with one of these jobs that no other row needs, and the reference cells with one of these jobs."""
    distinct = [cell for cell in plan.cells if cell.alias_of is None]
    used = Counter(job_id for cell in distinct for job_id in set(plan.jobs_of[cell.id].values()))
    own = {
        job_id
        for job_id, cells in used.items()
        if job_id in ids and (cells == 1 or plan.jobs[job_id].spec.row == "references")
    }
    return [cell for cell in distinct if not own.isdisjoint(plan.jobs_of[cell.id].values())]


def _cells(plan: Plan, selected: Collection[str]) -> str:
    """Rows and seeds of which something is selected that no other row needs."""
    cells = _own_cells(plan, selected)
    rows, seeds = dict.fromkeys(cell.row for cell in cells), dict.fromkeys(str(cell.seed) for cell in cells)
    return f"{_named('row', list(rows))}; {_named('seed', list(seeds))}"


def _added(plan: Plan, open_jobs: Collection[str]) -> list[str]:
    """The rows outside the profile that have work of their own left, and why they are in the plan."""
    working = {cell.row for cell in _own_cells(plan, open_jobs)}
    added = {row: why for row, why in plan.added.items() if row in working}
    return [f"  beside the rows of profile {plan.profile}: {added_text(added)}"] if added else []


def _named(what: str, names: Sequence[str]) -> str:
    return counted(len(names), what) + (f": {', '.join(names)}" if len(names) <= NAMED else "")
