"""Backends by name, imported when chosen."""

from collections.abc import Callable
from typing import Any

from orchestrator.backends.protocol import Backend
from orchestrator.errors import BackendError

NAMES = ("ray", "slurm", "fake")


def backend_class(name: str) -> Callable[..., Backend]:
    """What makes the backend called `name` (`backend` in cluster/*.yaml).

    Raises:
        BackendError: no such backend; says which there are.
    """
    chosen: Any
    if name == "ray":
        from orchestrator.backends.ray.client import RayBackend

        chosen = RayBackend
    elif name == "slurm":
        from orchestrator.backends.slurm.backend import SlurmBackend

        chosen = SlurmBackend
    elif name == "fake":
        from orchestrator.backends.fake import rehearsal

        chosen = rehearsal
    else:
        raise BackendError(f"backend is {name!r}; allowed are {', '.join(map(repr, NAMES))}")
    found: Callable[..., Backend] = chosen
    return found
