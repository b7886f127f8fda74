"""Continued jobs: which longer jobs of a plan wait for shorter ones, whose state they begin with. Pure.

Jobs of a stage with `StageSpec.continued` and one base differ in their budgets: each is the same as every longer one up
to the step that its item names. A longer one waits for an open shorter one, so that a study of several budgets costs
its longest budget and what each does alone after its item. That is an order and no need: a shorter job that failed, was
cancelled or is blocked holds nobody.

No such order can deadlock: it is strict within one base, whose jobs are of one stage, and needs lead to earlier stages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from orchestrator.plan.growth import Growth, share_left
from orchestrator.plan.job import Job
from orchestrator.plan.makespan import Chained
from orchestrator.spec.cell import Resources

SHORTER = "shorter job"
"""In place of an input's name: the job that a longer one waits for."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A longer job as schedules see it: it waits for a shorter one as for an input."""

    id: str
    stage: str
    inputs: Mapping[str, str]
    resources: Resources


def shorter_jobs(jobs: Iterable[Job]) -> dict[str, tuple[Job, ...]]:
    """Job id -> the shorter jobs of its base whose state it could begin with, shortest first; without those of none.

    Args:
        jobs: in the plan's order; among jobs of one item, it decides.
    """
    bases: dict[str, list[Job]] = {}
    for job in jobs:
        if job.spec.continued and job.items:
            bases.setdefault(job.base, []).append(job)
    found: dict[str, tuple[Job, ...]] = {}
    for chain in bases.values():
        chain.sort(key=lambda job: job.step)
        for n, job in enumerate(chain):
            if before := tuple(one for one in chain[:n] if one.step < job.budget):
                found[job.id] = before
    return found


def as_chained(jobs: Sequence[Job], shorter: Mapping[str, Sequence[Job]]) -> Sequence[Chained]:
    """The jobs, a longer one with the longest shorter one among its inputs; dependencies first.

    Args:
        jobs: dependencies first.
        shorter: `shorter_jobs` of them.
    """
    if not shorter:
        return jobs
    found: dict[str, Chained] = {job.id: job for job in jobs}
    for job in jobs:
        if before := shorter.get(job.id):
            inputs = {**job.inputs, SHORTER: before[-1].id}
            found[job.id] = Waiting(id=job.id, stage=job.stage, inputs=inputs, resources=job.resources)
    needs = {job: [need for need in one.inputs.values() if need in found] for job, one in found.items()}
    return [found[job] for job in TopologicalSorter(needs).static_order()]


def begins_at(job: Job, growth: Growth, shorter: Sequence[Job] = ()) -> int:
    """The step at which a job of a continued stage begins: that of what is finished, or will be."""
    taken = (int(max(one.items)) for one in growth.taken)
    return max((*taken, *(one.step for one in shorter)), default=0)


def work_left(
    growth: Callable[[Job], Growth], shorter: Mapping[str, Sequence[Job]] | None = None
) -> Callable[[Job], float]:
    """Which share of a job's work is left, once what others have made is taken over.

    Args:
        growth: of a job.
        shorter: `shorter_jobs` of those that are open.
    """

    of_items = share_left(growth)

    def left(job: Job) -> float:
        if not job.spec.continued or not job.items:
            return of_items(job)
        return 1.0 - begins_at(job, growth(job), (shorter or {}).get(job.id, ())) / job.budget

    return left
