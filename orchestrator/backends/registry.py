"""Backends by name, imported when chosen."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Backend
from orchestrator.errors import BackendError
from orchestrator.plan.job import Job
from orchestrator.spec.cluster import BACKENDS, Cluster


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
        from orchestrator.backends.slurm.pilot.mixed import slurm_backend

        chosen = slurm_backend
    elif name == "fake":
        from orchestrator.backends.fake import rehearsal

        chosen = rehearsal
    else:
        raise BackendError(f"backend is {name!r}; allowed are {', '.join(map(repr, BACKENDS))}")
    found: Callable[..., Backend] = chosen
    return found


def admit(cluster: Cluster, jobs: Iterable[Job], *, described: Path, matrix: Path, say: Callable[[str], None]) -> None:
    """Before a backend is made: refuse jobs that the site behind it cannot run. Ray and fake find out by themselves.

    Args:
        cluster: the settings; `described` in this file.
        jobs: that would be submitted; of the study `matrix`.
        described, matrix: named in messages.
        say: is told what does not stop the run.

    Raises:
        SiteError: says what does not fit, and what to do.
    """
    if cluster.backend == "slurm":
        from orchestrator.backends.slurm.preflight.admission import admit as admit_to_slurm

        admit_to_slurm(cluster, jobs, described=described, matrix=matrix, say=say)
