"""The plug-in of the fake: a rehearsal of a whole study, with scripted time and no results."""

from dataclasses import dataclass

from orchestrator.backends.plugin import BackendContext, BackendPlugin, LocalShare
from orchestrator.backends.protocol import Backend
from orchestrator.spec.cluster import Cluster
from workloads.contract.fields import Count, Natural, Positive

NAME = "fake"


@dataclass(frozen=True, kw_only=True)
class FakeSettings:
    """The host that is pretended. None: of this machine's size."""

    cpus: Count | None = None
    devices: Natural | None = None
    memory_gib: Positive | None = None


def _local_share(cluster: Cluster) -> LocalShare:
    # A file that was written for Ray is rehearsed by changing the one word `backend`.
    section = next((name for name in (NAME, "ray") if name in cluster.sections), NAME)
    host = cluster.section(section, FakeSettings)
    return LocalShare(section=section, cpus=host.cpus, devices=host.devices, memory_gib=host.memory_gib)


def _build(context: BackendContext, cluster: Cluster) -> Backend:
    from orchestrator.backends.fake.backend import rehearsal

    return rehearsal(context, _local_share(cluster))


PLUGIN = BackendPlugin(
    name=NAME,
    settings=FakeSettings,
    build=_build,
    outlives_driver=lambda _cluster: False,
    local_share=_local_share,
    publishes_results=False,
)
