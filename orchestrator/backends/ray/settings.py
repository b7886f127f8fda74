"""The section `ray` of cluster/*.yaml."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.backends.plugin import LocalShare
from orchestrator.backends.ray.address import ALLOWED, is_address
from orchestrator.spec.cluster import Cluster, SectionSource
from workloads.contract.fields import Count, Natural, Positive

NAME = "ray"
LOCAL = "local"
MEMORY_SHARE = 0.9  # of the machine's memory, where cluster/*.yaml names none
SCRATCH_GIB = 50.0


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """A node that the autoscaler of a cluster can add, as it declares it to Ray."""

    cpus: Count
    """Processors."""
    memory_gib: Positive
    """Main memory that jobs may use, GiB."""
    devices: Natural = 0
    """Accelerators."""


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
    dashboard: str | None = None
    """Of an existing cluster, such as `http://127.0.0.1:8265`: `run --detach` starts the controller there, as a Ray
    job. None: on this machine."""
    node_types: Mapping[str, NodeType] = field(default_factory=dict)
    """What the autoscaler of an existing cluster can add, by name; none: the cluster has the nodes that it has."""

    @property
    def embedded(self) -> bool:
        """Whether the cluster starts and ends with the controller."""
        return self.address == LOCAL


def complete(ray: RaySettings, source: SectionSource) -> RaySettings:
    """Refuse addresses that are none, what only an existing cluster can have, and a relative scratch folder.

    Raises:
        MatrixError: names the key.
    """
    if ray.address not in (LOCAL, "auto") and not is_address(ray.address):
        source.refuse(f"{NAME}.address", f"is {ray.address!r}; {ALLOWED}")
    for key, given in (("node_types", ray.node_types), ("dashboard", ray.dashboard)):
        if ray.embedded and given:
            source.refuse(
                f"{NAME}.{key}", f"needs an existing cluster, but {NAME}.address is {LOCAL}; name its address"
            )
    if ray.dashboard is not None and not re.match(r"https?://[^/\s]", ray.dashboard):
        source.refuse(f"{NAME}.dashboard", f"is {ray.dashboard!r}; allowed: an address such as http://127.0.0.1:8265")
    if ray.scratch is not None and not ray.scratch.startswith("/"):
        source.refuse(f"{NAME}.scratch", f"is {ray.scratch!r}; write an absolute path, such as /scratch/me")
    return ray


def study_of(home: Path) -> str:
    """What the hosts of a study have in their names: a digest of its folder."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]


def ray_settings(cluster: Cluster) -> RaySettings:
    """The section `ray`, or its defaults."""
    return cluster.section(NAME, RaySettings)


def local_share(cluster: Cluster) -> LocalShare | None:
    """What of this machine the jobs may use; None: they run elsewhere."""
    ray = ray_settings(cluster)
    if not ray.embedded:
        return None
    return LocalShare(section=NAME, cpus=ray.cpus, devices=ray.devices, memory_gib=ray.memory_gib)
