"""What each rank of an attempt is given: its environment, and how it finds the others."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.host.parts import Part

# Left behind by what started the host; a rank's environment says nothing about its scheduler.
DROPPED_PREFIXES = ("RAY_", "OMP_", "OPENBLAS_", "MKL_", "SLURM_", "PMI_")
DROPPED = ("CUDA_VISIBLE_DEVICES", "PYTHONPATH", "PYTHONSTARTUP")


def rank_environment(
    base: Mapping[str, str],
    execution: Mapping[str, Any],
    *,
    rank: int,
    part: Part,
    visible: Sequence[str],
    code_folder: str,
) -> dict[str, str]:
    """The whole environment of one rank.

    Args:
        base: the host's own; what a scheduler or a thread setting left there is dropped.
        execution: of the request: threads, ranks, determinism.
        rank: its number among all.
        part: the ranks of this host.
        visible: the job's devices as CUDA_VISIBLE_DEVICES names them; all ranks see all, LOCAL_RANK chooses.
        code_folder: where children of the rank find our code.
    """
    kept = {
        name: value for name, value in base.items() if not name.startswith(DROPPED_PREFIXES) and name not in DROPPED
    }
    given = {
        "PYTHONPATH": code_folder,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(execution["threads"]),
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": ",".join(visible),
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank - part.first),
        "WORLD_SIZE": str(part.world),
        "LOCAL_WORLD_SIZE": str(part.ranks),
    }
    if execution["deterministic"]:
        given["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return {**kept, **given}


def bind_store(address: str) -> socket.socket:
    """A listening socket on a port that the kernel picks; kept open and handed over, so that nobody takes the port."""
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    bound.bind((address, 0))
    bound.listen()
    return bound


def rendezvous_of(rank: int, part: Part, address: str | None, port: int | None) -> dict[str, Any]:
    """The rendezvous of one rank as in a request, without the descriptor, which only the rank itself can name.

    Args:
        rank: its number among all.
        part: the ranks of this host.
        address, port: of the store at which the ranks meet; None at world size 1, or while it is not known.
    """
    return {
        "world_size": part.world,
        "rank": rank,
        "local_rank": rank - part.first,
        "address": address,
        "port": port,
        "listen_fd": None,
    }
