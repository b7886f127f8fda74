"""Which jobs of a crate are run again: those that are named, or the cheapest cell that goes through the most stages.

A cell of a reference row trains nothing of its own, so others come first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import PlanError
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.select import find_jobs, with_needs
from orchestrator.store.protocol import Commit


@dataclass(frozen=True, kw_only=True)
class RerunChoice:
    """Jobs to be run again, dependencies first."""

    jobs: Sequence[Job]
    seconds: float
    """What they took when they were recorded, one after the other."""
    refused: Mapping[str, str]
    """Label of a job of the plan that cannot be run again here -> why; without those that need its result."""


def choose_jobs(
    plan: Plan, commits: Mapping[str, Commit], paths: Mapping[str, str], names: Sequence[str] = ()
) -> RerunChoice:
    """The jobs of `names` and what they need; without names, those of one cell.

    Args:
        plan: of the crate, by the code of this installation.
        commits: of the crate, by job id.
        paths: of the cluster file on this machine.
        names: labels, ids, globs.

    Raises:
        PlanError: a name matches nothing, or a named job cannot be run again here.
    """
    reasons = {job.id: plan.workload.cannot_rerun(job, paths) for job in plan.jobs.values()}
    refused = {job_id: why for job_id, why in reasons.items() if why}

    def needs(job_id: str) -> frozenset[str]:
        return with_needs(plan, [job_id])

    usable = {job for job in commits if refused.keys().isdisjoint(needs(job))}
    if names:
        wanted = {job.id for job in find_jobs(plan, names)}
        for job_id in sorted(wanted - usable):
            label, needed = plan.jobs[job_id].label, needs(job_id)
            first = next((one for one in plan.jobs if one in needed and one in refused), None)
            why = "" if first is None else f"{plan.jobs[first].label}: {refused[first]}"
            raise PlanError(f"{label} cannot be run again here: {why or 'the crate has no result of it'}")
    else:
        wanted = set(_cheapest(plan, commits, usable))
    chosen = with_needs(plan, wanted)
    jobs = [job for job in plan.jobs.values() if job.id in chosen]
    return RerunChoice(
        jobs=jobs,
        seconds=_seconds(chosen, commits),
        refused={plan.jobs[job_id].label: why for job_id, why in refused.items()},
    )


def _cheapest(plan: Plan, commits: Mapping[str, Commit], usable: set[str]) -> Iterable[str]:
    """The usable jobs of the cell whose jobs took least, among the cells that go through the most stages."""
    cells = [
        (cell.reference, with_needs(plan, jobs))
        for cell in plan.cells
        if cell.alias_of is None and (jobs := usable.intersection(plan.jobs_of[cell.id].values()))
    ]

    def cost(cell: tuple[bool, frozenset[str]]) -> tuple[int, bool, float]:
        reference, jobs = cell
        return -len({plan.jobs[job].stage for job in jobs}), reference, _seconds(jobs, commits)

    return min(cells, key=cost, default=(False, frozenset[str]()))[1]


def _seconds(jobs: Iterable[str], commits: Mapping[str, Commit]) -> float:
    return sum(commits[job].ended - commits[job].started for job in jobs if job in commits)
