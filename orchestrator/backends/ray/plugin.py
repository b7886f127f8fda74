"""The plug-in of Ray: attempts on an embedded Ray, or on a cluster that is there already."""

from collections.abc import Callable

from orchestrator.backends.plugin import BackendContext, BackendPlugin, PlannedRun, RemoteDriver, SiteCapacity
from orchestrator.backends.protocol import Backend
from orchestrator.backends.ray.checks import connection, dashboard, leftovers, temporary
from orchestrator.backends.ray.node_checks import nodes
from orchestrator.backends.ray.settings import LOCAL, NAME, RaySettings, complete, local_share, ray_settings
from orchestrator.spec.cluster import Cluster


def _build(context: BackendContext, cluster: Cluster) -> Backend:
    from orchestrator.backends.ray.client import RayBackend

    return RayBackend(context, ray_settings(cluster))


def _preflight(run: PlannedRun, say: Callable[[str], None]) -> SiteCapacity | None:
    from orchestrator.backends.ray.preflight import preflight

    return preflight(run, say)


def _preview(run: PlannedRun, say: Callable[[str], None]) -> SiteCapacity | None:
    from orchestrator.backends.ray.preflight import preview

    return preview(run, say)


def _remote_driver(cluster: Cluster) -> RemoteDriver | None:
    dashboard = ray_settings(cluster).dashboard
    if dashboard is None:
        return None
    from orchestrator.backends.ray.driver_job import DriverJob

    return DriverJob(dashboard)


PLUGIN = BackendPlugin(
    name=NAME,
    settings=RaySettings,
    build=_build,
    libraries=("ray",),
    outlives_driver=lambda cluster: not ray_settings(cluster).embedded,
    complete=complete,
    preflight=_preflight,
    preview=_preview,
    checks={"temporary": temporary, "ray": connection, "dashboard": dashboard, "nodes": nodes},
    leftovers=leftovers,
    local_share=local_share,
    remote_driver=_remote_driver,
    templates={name: (__package__, f"{name}.yaml") for name in (LOCAL, NAME)},
)
