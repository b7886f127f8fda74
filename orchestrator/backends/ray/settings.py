"""The section `ray` of cluster/*.yaml."""

from dataclasses import dataclass

from orchestrator.backends.plugin import LocalShare
from orchestrator.spec.cluster import Cluster
from workloads.contract.fields import Count, Natural, Positive

NAME = "ray"
LOCAL = "local"
MEMORY_SHARE = 0.9  # of the machine's memory, where cluster/*.yaml names none


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


def local_share(cluster: Cluster) -> LocalShare | None:
    """What of this machine the jobs may use; None: they run elsewhere."""
    ray = ray_settings(cluster)
    if not ray.embedded:
        return None
    return LocalShare(section=NAME, cpus=ray.cpus, devices=ray.devices, memory_gib=ray.memory_gib)
