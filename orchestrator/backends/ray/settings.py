"""The section `ray` of cluster/*.yaml."""

from dataclasses import dataclass

from orchestrator.spec.cluster import Cluster
from workloads.contract.fields import Count, Natural, Positive

NAME = "ray"
LOCAL = "local"


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

    @property
    def embedded(self) -> bool:
        """Whether the cluster starts and ends with the controller."""
        return self.address == LOCAL


def ray_settings(cluster: Cluster) -> RaySettings:
    """The section `ray`, or its defaults."""
    return cluster.section(NAME, RaySettings)
