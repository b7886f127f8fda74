"""Jobs that no host of a site can run, now or later: said before anything is spent."""

from collections.abc import Iterable

from orchestrator.backends.plugin import SiteCapacity
from orchestrator.backends.protocol import HostShare
from orchestrator.plan.job import Job
from orchestrator.schedule.misfits import Misfits, why_uneven

NOTHING = HostShare(name="none", cpus=0, devices=0, memory_gib=0.0)
"""In the place of the hosts of a site that has none: a job is unplaceable compared with some host only."""


def unrunnable(jobs: Iterable[Job], capacity: SiteCapacity | None) -> str:
    """Which stage no host can run, and what to do; empty: each job fits on one, or the hosts are not known."""
    if capacity is None:
        return ""
    kinds = dict.fromkeys((job.stage, job.resources) for job in jobs)
    if uneven := next(filter(None, (why_uneven(resources, stage) for stage, resources in kinds)), ""):
        return uneven
    found, misfits = dict[str, str](), Misfits(capacity.hosts or (NOTHING,))
    for stage, resources in kinds:
        why = misfits.why_unplaceable(resources, stage)
        if why is not None:
            found.setdefault(stage, why.replace("resources.STAGE", f"resources.{stage}"))
    if not found:
        return ""
    first, why = next(iter(found.items()))
    stages = f"stage {first}" if len(found) == 1 else f"stages {', '.join(found)}"
    return f"{capacity.where}; that is too little for {stages}: {first} {why}"
