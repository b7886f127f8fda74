"""The fingerprint of a planned job, computed plainly from what the plan says that it reads.

`build` computes those of a whole plan at once; tests compare the two, and an audit computes those of a recorded plan.
"""

from collections.abc import Mapping

from orchestrator.plan.fingerprint import content_of, fingerprint, identity_of, selected, with_items
from orchestrator.plan.job import Job
from orchestrator.spec.canonical import digest


def fingerprint_of(job: Job, jobs: Mapping[str, Job]) -> str:
    """The fingerprint of a job of a plan.

    Args:
        job: of the plan.
        jobs: of the plan, by id.

    Raises:
        KeyError: it reads a job or an item that is not there.
        TypeError: a value that has no canonical form.
        ValueError: a number that is not finite, or items whose contents are not those that follow from what they read.
    """
    needs = {stage: jobs[need] for stage, need in job.inputs.items()}
    inputs = [_stands_for(job, stage, need) for stage, need in needs.items()]
    made, measured = (job.config, {}) if job.items is None else identity_of(job.spec, job.config)
    own = fingerprint(job.stage, job.revisions, made, job.row, job.seed, job.branch, inputs, smoke=job.smoke)
    if job.items is None:
        return own
    contents = {item: _content(item, reads, needs) for item, reads in job.item_reads.items()}
    if contents != dict(job.items):
        odd = sorted(item for item in {**contents, **job.items} if contents.get(item) != job.items.get(item))
        raise ValueError(f"item {odd[0]} is {job.items.get(odd[0])}, and what it reads gives {contents.get(odd[0])}")
    return with_items(own, digest(measured), contents)


def _stands_for(job: Job, stage: str, need: Job) -> str:
    if need.items is None or stage not in job.named:
        return need.fingerprint
    return (
        selected(need.base, {item: need.items[item] for item in job.reads[stage]}) if stage in job.reads else need.base
    )


def _content(item: str, reads: Mapping[str, tuple[str, ...]], needs: Mapping[str, Job]) -> str:
    read: dict[str, Mapping[str, str]] = {}
    for stage, names in reads.items():
        of_need = needs[stage].items
        if of_need is not None:
            read[stage] = {name: of_need[name] for name in names}
    return content_of(item, read)
