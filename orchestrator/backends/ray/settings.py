"""The section `ray` of cluster/*.yaml."""

from dataclasses import dataclass

from orchestrator.spec.cluster import Cluster, SectionSource
from workloads.contract.fields import Count, Natural, Positive

NAME = "ray"
LOCAL = "local"
SCRATCH_GIB = 50.0


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """The Ray cluster. None: what this machine has."""

    address: str = LOCAL
    """`local`: a cluster that starts and ends with the controller; else the address of an existing one."""
    cpus: Count | None = None
    """Processors that jobs may use."""
    devices: Natural | None = None
    """Accelerators that jobs may use."""
    memory_gib: Positive | None = None
    """Main memory that jobs may use, GiB."""
    scratch: str | None = None
    """Folder on each node that does not see `outputs/`, for its attempts; a node's own `ECHO_MATRIX_SCRATCH` goes
    before; null: the system's temporary folder."""
    scratch_gib: Positive = SCRATCH_GIB
    """What that folder may hold, GiB; ended attempts go first."""

    @property
    def embedded(self) -> bool:
        """Whether the cluster starts and ends with the controller."""
        return self.address == LOCAL


def complete(ray: RaySettings, source: SectionSource) -> RaySettings:
    """Refuse what types cannot rule out.

    Raises:
        MatrixError: a scratch folder that would be another one on each node.
    """
    if ray.scratch is not None and not ray.scratch.startswith("/"):
        source.refuse("ray.scratch", f"is {ray.scratch!r}; write an absolute path, such as /scratch/me")
    return ray


def ray_settings(cluster: Cluster) -> RaySettings:
    """The section `ray`, or its defaults."""
    return cluster.section(NAME, RaySettings)
