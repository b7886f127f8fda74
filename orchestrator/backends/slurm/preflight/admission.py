"""Before anything is booked or submitted: can SLURM be reached from here, and does the site take what the plan asks."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from orchestrator.backends.slurm.core.commands import SlurmSilent, missing_programs
from orchestrator.backends.slurm.preflight.fit import Files, misfits
from orchestrator.backends.slurm.preflight.misfit import Misfit
from orchestrator.backends.slurm.preflight.site import Site, read_site
from orchestrator.errors import SiteError
from orchestrator.plan.job import Job
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import Cluster

NEEDED = ("sbatch", "srun", "squeue", "scancel", "scontrol")
"""Without these nothing can be submitted or watched; without sacct endings are told less exactly."""
LOG_IN = "log in to a machine of the cluster, or load its module (such as `module load slurm`)"


def missing_words(missing: Iterable[str]) -> str:
    """For people."""
    return f"not on PATH: {', '.join(missing)}"


def needs_of(jobs: Iterable[Job]) -> Mapping[str, tuple[Resources, ...]]:
    """Stage -> what its jobs need, each size once."""
    found: dict[str, dict[Resources, None]] = {}
    for job in jobs:
        found.setdefault(job.stage, {})[job.resources] = None
    return {stage: tuple(sizes) for stage, sizes in found.items()}


def find_misfits(site: Site, cluster: Cluster, jobs: Iterable[Job], *, described: Path, matrix: Path) -> list[Misfit]:
    """What keeps the site from running these jobs.

    Args:
        site: as read now.
        cluster: the settings.
        jobs: that would be submitted.
        described: where the settings are written, or would be.
        matrix: the study.
    """
    where = str(described) if described.exists() else f"{described} (not there yet)"
    files = Files(cluster=where, matrix=str(matrix))
    found = misfits(site, cluster.slurm, needs_of(jobs), files=files, grace_s=float(cluster.grace_s))
    return list(found)


def admit(cluster: Cluster, jobs: Iterable[Job], *, described: Path, matrix: Path, say: Callable[[str], None]) -> None:
    """Refuse jobs that the site cannot run. A SLURM that does not answer now refuses nothing: it is asked again later.

    Args:
        cluster, jobs, described, matrix: as in `find_misfits`.
        say: is told what does not stop the run.

    Raises:
        SiteError: programs are missing, or something does not fit; says all of it, each with its remedy.
    """
    if missing := missing_programs(NEEDED):
        raise SiteError(f"{missing_words(missing)}; {LOG_IN}")
    try:
        site = read_site()
    except SlurmSilent as error:
        say(f"SLURM's limits are not checked now: {' '.join(str(error).split())}")
        return
    found = find_misfits(site, cluster, jobs, described=described, matrix=matrix)
    for one in found:
        if not one.refuses:
            say(str(one))
    refusing = [str(one) for one in found if one.refuses]
    if len(refusing) == 1:
        raise SiteError(refusing[0])
    if refusing:
        raise SiteError("\n  ".join([f"{len(refusing)} things keep SLURM from running this:", *refusing]))
