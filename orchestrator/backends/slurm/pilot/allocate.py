"""Asking SLURM for an allocation: its folder is written, then submitit writes the script and calls sbatch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.slurm.core.batch import Batch, parameters_of
from orchestrator.backends.slurm.pilot.mailbox import PACK, make_folder
from orchestrator.spec.slurm import Packed
from workloads.contract.json_files import write_object

MODULE = "orchestrator.backends.slurm.pilot"


def make_pack(
    home: Path,
    packed: Packed,
    *,
    setup: Sequence[str],
    description: Mapping[str, Any],
    grace_s: float,
    idle_s: float,
    orphan_s: float,
) -> Batch:
    """Describe one more allocation, on disk and for sbatch.

    Args:
        home: `outputs/{study}`.
        packed: what it is of.
        setup: shell lines before the agent.
        description: of its hosts (`host.description`).
        grace_s: that attempts have to save when they are asked to end.
        idle_s: without anything to do until it is let go.
        orphan_s: without a driver until it stops its attempts and is let go.
    """
    folder = make_folder(home)
    name = f"em:{home.name}:pack:{folder.name}"
    content = {
        "version": 1,
        "name": name,
        "host": dict(description),
        "devices": packed.devices,
        "memory_gib": packed.memory_gib,
        "minutes": packed.minutes,
        "nodes": packed.nodes,
        "grace_s": grace_s,
        "idle_s": idle_s,
        "orphan_s": orphan_s,
    }
    write_object(folder / PACK, content)
    parameters = parameters_of(
        packed,
        name=name,
        nodes=packed.nodes,
        cpus=packed.cpus,
        memory_gib=packed.memory_gib,
        minutes=math.ceil(packed.minutes),
        devices=packed.devices,
        setup=setup,
        code=Path(description["code"]),
        grace_s=grace_s,
    )
    return Batch(name=name, folder=folder, works=[folder], parameters=parameters, module=MODULE)
