"""What SLURM has given to this node's task: read from its variables, never from the machine."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.slurm import KEPT_GIB

MIB_IN_GIB = 1024
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, kw_only=True)
class Share:
    """One node of one start of an allocation."""

    job: str
    restart: int
    node: int
    """Its number in the allocation; Ray's head is on 0."""
    host: str
    """What the policy calls it: `{pack}.{name of the node}`, one name for one Ray for ever."""
    cpus: int
    devices: int
    memory_gib: float
    """That jobs may use: less what Ray and the warm server need."""


def share_of(pack: str, description: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Share:
    """Read this node's share of the allocation `pack`.

    Args:
        pack: its name.
        description: `pack.json`.
        environment: SLURM's variables.

    Raises:
        KeyError: this is no task of a SLURM job.
    """
    restart = int(environment.get("SLURM_RESTART_COUNT") or 0)
    node = environment.get("SLURMD_NODENAME") or environment["SLURM_NODEID"]
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    memory = environment.get("SLURM_MEM_PER_NODE", "")
    given_gib = int(memory) / MIB_IN_GIB if memory.isdigit() and int(memory) else float(description["memory_gib"])
    again = f".r{restart}" if restart else ""
    return Share(
        job=environment["SLURM_JOB_ID"],
        restart=restart,
        node=int(environment.get("SLURM_NODEID") or 0),
        host=f"{pack}.{UNSAFE.sub('-', node)}{again}",
        cpus=int(environment.get("SLURM_CPUS_PER_TASK") or environment["SLURM_CPUS_ON_NODE"]),
        devices=len(visible) if description["devices"] else 0,
        memory_gib=max(0.0, given_gib - KEPT_GIB),
    )


def pack_of(host: str) -> str:
    """The allocation that a host is, or was, of."""
    return host.partition(".")[0]
