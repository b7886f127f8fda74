"""Whether the jobs of a plan fit what the site allows: every misfit with its remedy. Pure."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.backends.slurm.core.batch import LIMIT_SLACK_MINUTES, SIGNAL_SLACK_S, extra_lines
from orchestrator.backends.slurm.preflight.checks import Asked, Written, against
from orchestrator.backends.slurm.preflight.misfit import Misfit, nodes
from orchestrator.backends.slurm.preflight.site import Site
from orchestrator.backends.slurm.preflight.sizes import ask_of, ask_of_packed
from orchestrator.spec.cell import Resources
from orchestrator.spec.slurm import KEPT_GIB, Packed, Slurm, SlurmStage

WHERE = ("partition", "account", "qos")


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files that say what is asked for, as people know them."""

    cluster: str
    matrix: str


def misfits(
    site: Site, slurm: Slurm, needs: Mapping[str, Collection[Resources]], *, files: Files, grace_s: float
) -> tuple[Misfit, ...]:
    """All that does not fit, each once.

    Args:
        site: what SLURM allows.
        slurm: the section of the cluster file.
        needs: stage -> what its jobs need, each size once.
        files: named in the words.
        grace_s: between being asked to stop and being killed.
    """
    found: list[Misfit] = []
    packed = slurm.packed
    into = set() if packed is None else set(needs if packed.stages is None else packed.stages)
    if packed is not None and into & needs.keys():
        asked = of_packed(packed, files)
        found += [*grace(asked, files, grace_s), *against(site, asked)]
    for stage, sizes in needs.items():
        for resources in sizes:
            if packed is not None and stage in into:
                found += in_allocation(stage, resources, packed, files)
            else:
                asked = of_stage(stage, resources, slurm, files)
                found += [*shares(stage, resources, asked), *grace(asked, files, grace_s), *against(site, asked)]
    return tuple(dict.fromkeys(found))


def of_stage(stage: str, resources: Resources, slurm: Slurm, files: Files) -> Asked:
    """What the jobs of a stage ask for that are jobs of SLURM."""
    said, own = slurm.of(stage), slurm.stages.get(stage, SlurmStage())
    extra = extra_lines(said.sbatch)

    def written(field: str, value: str = "") -> Written:
        key = "sbatch" if field in extra else field
        section = f"stages.{stage}" if getattr(own, key) not in (None, ()) else "every"
        return Written(file=files.cluster, key=f"slurm.{section}.{key}", value=value)

    def needed(field: str) -> Written:
        value = f"{getattr(resources, field):g}"
        return Written(file=files.matrix, key=f"resources.{stage}.{field}", value=value)

    ask = ask_of(resources, said)
    return Asked(
        what=f"stage {stage}",
        ask=ask,
        said=_as_it_holds(said, extra),
        extra=extra,
        places={
            **{field: written(field) for field in (*WHERE, "nodes")},
            **{field: needed(field) for field in ("cpus", "memory_gib")},
            "minutes": needed("minutes") if said.minutes is None else written("minutes", f"{said.minutes:g}"),
            "devices": needed("devices") if said.gpus is None else written("gpus", repr(said.gpus)),
        },
        can_spread=resources.world_size > ask.nodes,
        slack=LIMIT_SLACK_MINUTES,
        shorter=f"set slurm.stages.{stage}.minutes in {files.cluster} to at most {{}} (a job whose time is over goes "
        "on from its checkpoint in another)",
    )


def of_packed(packed: Packed, files: Files) -> Asked:
    """What an allocation asks for."""

    def written(field: str, value: str = "") -> Written:
        return Written(file=files.cluster, key=f"slurm.packed.{field}", value=value)

    extra = extra_lines(packed.sbatch)
    said = SlurmStage(partition=packed.partition, account=packed.account, qos=packed.qos, constraint=packed.constraint)
    return Asked(
        what="an allocation",
        ask=ask_of_packed(packed),
        said=_as_it_holds(said, extra),
        extra=extra,
        places={
            **{field: written("sbatch" if field in extra else field) for field in (*WHERE, "nodes")},
            **{field: written(field, f"{getattr(packed, field):g}") for field in ("cpus", "memory_gib", "minutes")},
            "devices": written("devices", f"{packed.devices}")
            if packed.gpus is None
            else written("gpus", repr(packed.gpus)),
        },
        can_spread=False,
        slack=0,
        shorter=f"set slurm.packed.minutes in {files.cluster} to at most {{}}",
    )


def shares(stage: str, resources: Resources, asked: Asked) -> Iterator[Misfit]:
    """What cluster file and matrix say against each other, of jobs of SLURM."""
    ranks, number = resources.world_size, asked.ask.nodes
    gpus = sum(asked.ask.gpus.values())
    if ranks % number:
        spread = ", ".join(str(one) for one in range(1, ranks + 1) if ranks % one == 0)
        yield Misfit(
            says=f"{asked['nodes']} is {number}, over which the {ranks} ranks of a job cannot be spread evenly",
            remedy=f"set it to one of {spread}, or change resources.{stage}.devices",
        )
    elif asked["devices"].key.endswith(".gpus") and gpus * number < resources.devices:
        yield Misfit(
            says=f"{asked['devices']} is {asked['devices'].value}, on {nodes(number)} {gpus * number}, and a job has "
            f"{resources.devices} ranks with one each",
            remedy=f"ask for {math.ceil(resources.devices / number)} a node, or lower resources.{stage}.devices",
        )


def in_allocation(stage: str, resources: Resources, packed: Packed, files: Files) -> Iterator[Misfit]:
    """A packed job runs on one node of an allocation."""
    has = {"cpus": packed.cpus, "memory_gib": packed.memory_gib - KEPT_GIB, "devices": packed.devices}
    for field, most in has.items():
        wanted = getattr(resources, field)
        if wanted > most:
            kept = f" ({packed.memory_gib:g} less {KEPT_GIB:g} for Ray)" if field == "memory_gib" else ""
            yield Misfit(
                says=f"{files.matrix}: resources.{stage}.{field} is {wanted:g}, but a node of an allocation has "
                f"{most:g}{kept} for jobs ({files.cluster}: slurm.packed.{field})",
                remedy=f"raise slurm.packed.{field}, or leave {stage!r} out of slurm.packed.stages",
            )
    if resources.minutes > packed.minutes:
        yield Misfit(
            says=f"{files.matrix}: resources.{stage}.minutes is {resources.minutes:g}, but an allocation has "
            f"{packed.minutes:g} ({files.cluster}: slurm.packed.minutes)",
            remedy=f"raise slurm.packed.minutes, or leave {stage!r} out of slurm.packed.stages",
            refuses=False,  # it goes on from its checkpoint in the next allocation, and may need less than it may take
        )


def grace(asked: Asked, files: Files, grace_s: float) -> Iterator[Misfit]:
    """The signal to save must not come as soon as the job starts."""
    early_s, whole_s = math.ceil(grace_s) + SIGNAL_SLACK_S, asked.ask.minutes * 60
    if early_s < whole_s or {"time", "t"} & asked.extra.keys():
        return
    most = whole_s - SIGNAL_SLACK_S - 60
    remedy = f"at most {most}, or give " if most > 0 else "less, and give "
    yield Misfit(
        says=f"{files.cluster}: grace_s is {grace_s:g}, so a job is asked to stop {early_s} s before its limit, but "
        f"{asked.what} has {whole_s} s: it would be asked at once",
        remedy=f"set grace_s to {remedy}it more {asked['minutes'].key}",
    )


def _as_it_holds(said: SlurmStage, extra: Mapping[str, Any]) -> SlurmStage:
    """With what is written in `sbatch`: it comes last in the script, and holds."""
    given = {field: str(extra[field]) for field in WHERE if field in extra}
    return replace(
        said,
        partition=given.get("partition", said.partition),
        account=given.get("account", said.account),
        qos=given.get("qos", said.qos),
    )
