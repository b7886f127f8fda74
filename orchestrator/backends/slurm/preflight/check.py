"""Preflight, before anything is recorded or submitted: can SLURM be reached, and does the site take what is kind."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.slurm.core.commands import SlurmSilent, dropped_words, missing_programs
from orchestrator.backends.slurm.core.time_limit import SIGNAL_SLACK_S
from orchestrator.backends.slurm.preflight.fit import Misfit, misfits_in, nodes
from orchestrator.backends.slurm.preflight.requirements import Files, JobKind, kind_of_pilot, kind_of_stage
from orchestrator.backends.slurm.preflight.site import Site, read_site
from orchestrator.backends.slurm.settings import RESERVED_GIB, PilotSettings, SlurmSettings, slurm_settings
from orchestrator.errors import SiteError
from orchestrator.plan.job import Job
from orchestrator.spec.cell import Resources

NEEDED = ("sbatch", "srun", "squeue", "scancel", "scontrol")
"""Without these nothing can be submitted or watched; without sacct, endings are less exact."""
PING_REMEDY = "see `scontrol ping`, then `run` again, or run it elsewhere (`--backend local`)"
LOG_IN_REMEDY = "log in to a machine of the cluster, or load its module (such as `module load slurm`)"


def missing_message(missing: Iterable[str]) -> str:
    """For people."""
    return f"not on PATH: {', '.join(missing)}"


def needs_of(jobs: Iterable[Job]) -> Mapping[str, tuple[Resources, ...]]:
    """Stage -> what its jobs need, each size once."""
    found: dict[str, dict[Resources, None]] = {}
    for job in jobs:
        found.setdefault(job.stage, {})[job.resources] = None
    return {stage: tuple(sizes) for stage, sizes in found.items()}


def find_misfits(site: Site | None, run: PlannedRun) -> list[Misfit]:
    """What keeps the site, as read now, from running the jobs; None: what the files say against each other alone."""
    where = str(run.cluster_file) if run.cluster_file.exists() else f"{run.cluster_file} (not there yet)"
    files = Files(cluster=where, matrix=str(run.matrix))
    slurm, grace_s = slurm_settings(run.cluster), float(run.cluster.grace_s)
    return list(misfits(site, slurm, needs_of(run.jobs), files=files, grace_s=grace_s))


def preflight(run: PlannedRun, say: Callable[[str], None]) -> None:
    """Refuse jobs that the site cannot run.

    A SLURM that does not answer is waited for only where attempts are to be taken over: it may run them still.

    Raises:
        SiteError: programs are missing, SLURM does not answer, or something does not fit; says all of it, each with
            its remedy.
    """
    if missing := missing_programs(NEEDED):
        raise SiteError(f"{missing_message(missing)}; {LOG_IN_REMEDY}")
    if dropped := dropped_words():
        say(dropped)
    try:
        site = read_site()
    except SlurmSilent as error:
        if not run.takes_over:
            raise SiteError(f"SLURM does not answer: {error}; nothing was started; {PING_REMEDY}") from error
        say(f"SLURM's limits are not checked now: {error}")
        return
    found = find_misfits(site, run)
    for one in found:
        if not one.refuses:
            say(str(one))
    refusing = [str(one) for one in found if one.refuses]
    if len(refusing) == 1:
        raise SiteError(refusing[0])
    if refusing:
        raise SiteError("\n  ".join([f"SLURM cannot run this, for {len(refusing)} reasons:", *refusing]))


def preview(run: PlannedRun, say: Callable[[str], None]) -> None:
    """Say what the files say against each other; the site is not asked: a plan may be made far from it."""
    for one in find_misfits(None, run):
        say(str(one))


def misfits(
    site: Site | None, slurm: SlurmSettings, needs: Mapping[str, Collection[Resources]], *, files: Files, grace_s: float
) -> tuple[Misfit, ...]:
    """All that does not fit, each once.

    Args:
        site: what SLURM allows; None: it is not known.
        slurm: the section of the cluster file.
        needs: stage -> what its jobs need, each size once.
        files: named in the words.
        grace_s: between being asked to stop and being killed.
    """
    found: list[Misfit] = []
    pilot = slurm.pilot
    into = {stage for stage, sizes in needs.items() if all(slurm.in_pilots(stage, one) for one in sizes)}
    if pilot is not None and into:
        kind = kind_of_pilot(pilot, files)
        found += [*grace_misfits(kind, files, grace_s), *([] if site is None else misfits_in(site, kind))]
    for stage, sizes in needs.items():
        for resources in sizes:
            if pilot is not None and stage in into:
                found += pilot_misfits(stage, resources, pilot, files)
            else:
                kind = kind_of_stage(stage, resources, slurm, files)
                if slurm.in_pilots(stage):
                    found.append(beside_pilots(stage, kind))
                found += [
                    *spread_misfits(stage, resources, kind),
                    *grace_misfits(kind, files, grace_s),
                    *([] if site is None else misfits_in(site, kind)),
                ]
    return tuple(dict.fromkeys(found))


def spread_misfits(stage: str, resources: Resources, kind: JobKind) -> Iterator[Misfit]:
    """What cluster file and matrix say against each other, of jobs of SLURM."""
    ranks, number = resources.world_size, kind.request.nodes
    gpus = sum(kind.request.gpus.values())
    if ranks % number:
        spread = ", ".join(str(one) for one in range(1, ranks + 1) if ranks % one == 0)
        yield Misfit(
            says=f"{kind['nodes']} is {number}, over which the {ranks} ranks of a job cannot be spread evenly",
            remedy=f"set it to one of {spread}, or change resources.{stage}.devices",
        )
    elif kind["devices"].key.endswith(".gpus") and gpus * number < resources.devices:
        yield Misfit(
            says=f"{kind['devices']} is {kind['devices'].value}, on {nodes(number)} {gpus * number}, and a job has "
            f"{resources.devices} ranks with one each",
            remedy=f"ask for {math.ceil(resources.devices / number)} a node, or lower resources.{stage}.devices",
        )


def beside_pilots(stage: str, kind: JobKind) -> Misfit:
    """A job on several nodes is not for pilot jobs."""
    return Misfit(
        says=f"{kind['nodes']} is {kind.request.nodes}, but in a pilot job a job is on one node: those of stage "
        f"{stage!r} are SLURM jobs of their own, beside the pilot jobs",
        remedy="where slurm.pilot.stages names the other stages only, this is not said",
        refuses=False,
    )


def pilot_misfits(stage: str, resources: Resources, pilot: PilotSettings, files: Files) -> Iterator[Misfit]:
    """In a pilot job, a job runs on one node of the allocation."""
    has = {"cpus": pilot.cpus, "memory_gib": pilot.memory_gib - RESERVED_GIB, "devices": pilot.devices}
    for field, most in has.items():
        wanted = getattr(resources, field)
        if wanted > most:
            kept = f" ({pilot.memory_gib:g} less {RESERVED_GIB:g} for Ray)" if field == "memory_gib" else ""
            yield Misfit(
                says=f"{files.matrix}: resources.{stage}.{field} is {wanted:g}, but a node of a pilot job has "
                f"{most:g}{kept} for jobs ({files.cluster}: slurm.pilot.{field})",
                remedy=f"raise slurm.pilot.{field}, or leave {stage!r} out of slurm.pilot.stages",
            )
    if resources.minutes > pilot.minutes:
        yield Misfit(
            says=f"{files.matrix}: resources.{stage}.minutes is {resources.minutes:g}, but a pilot job has "
            f"{pilot.minutes:g} ({files.cluster}: slurm.pilot.minutes)",
            remedy=f"raise slurm.pilot.minutes, or leave {stage!r} out of slurm.pilot.stages",
            refuses=False,  # it goes on from its checkpoint in the next pilot job, and may need less than it may take
        )


def grace_misfits(kind: JobKind, files: Files, grace_s: float) -> Iterator[Misfit]:
    """The signal to save must not come as soon as the job starts."""
    early_s, whole_s = math.ceil(grace_s) + SIGNAL_SLACK_S, kind.request.minutes * 60
    if early_s < whole_s or {"time", "t"} & kind.extra.keys():
        return
    most = whole_s - SIGNAL_SLACK_S - 60
    remedy = f"at most {most}, or give " if most > 0 else "less, and give "
    yield Misfit(
        says=f"{files.cluster}: grace_s is {grace_s:g}, so a job is asked to stop {early_s} s before its limit, but "
        f"{kind.what} has {whole_s} s: it would be asked at once",
        remedy=f"set grace_s to {remedy}it more {kind['minutes'].key}",
    )
