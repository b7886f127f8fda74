"""Asking SLURM for an allocation: its folder is written, then submitit writes the script and calls sbatch."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.slurm.batch import SIGNAL_SLACK_S, Batch, extra_lines
from orchestrator.backends.slurm.packed.folder import PACK, make_folder, write_object
from orchestrator.spec.slurm import Packed

MODULE = "orchestrator.backends.slurm.packed"


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
    code = str(description["code"])
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
    parameters: dict[str, Any] = {
        "job_name": name,
        "nodes": packed.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": packed.cpus,
        "mem": f"{math.ceil(packed.memory_gib * 1024)}MB",
        "time": math.ceil(packed.minutes),
        "partition": packed.partition,
        "account": packed.account,
        "qos": packed.qos,
        "constraint": packed.constraint,
        "gpus_per_node": packed.gpus or (packed.devices or None),
        "signal_delay_s": math.ceil(grace_s) + SIGNAL_SLACK_S,
        "stderr_to_stdout": True,
        "setup": [*setup, f"export PYTHONPATH={shlex.quote(code)}", f"cd {shlex.quote(code)}"],
        # srun does not take these from sbatch since SLURM 22.05, and would give one cpu.
        "srun_args": [f"--cpus-per-task={packed.cpus}", "--kill-on-bad-exit=1"],
        "additional_parameters": {"requeue": True, **extra_lines(packed.sbatch)},
    }
    return Batch(name=name, folder=folder, works=[folder], parameters=parameters, module=MODULE)
