"""The plug-in of Ray: attempts on an embedded Ray, or on a cluster that is there already."""

import os
from collections.abc import Callable

from orchestrator.backends.plugin import (
    BackendContext,
    BackendPlugin,
    LocalShare,
    PlannedRun,
    RemoteDriver,
    excess_devices,
)
from orchestrator.backends.protocol import Backend
from orchestrator.backends.ray.checks import connection, leftovers, temporary
from orchestrator.backends.ray.settings import LOCAL, NAME, RaySettings, complete, ray_settings
from orchestrator.errors import SiteError
from orchestrator.host.machine import VISIBLE
from orchestrator.spec.cluster import Cluster


def _build(context: BackendContext, cluster: Cluster) -> Backend:
    from orchestrator.backends.ray.client import RayBackend

    return RayBackend(context, ray_settings(cluster))


def _preflight(run: PlannedRun, _say: Callable[[str], None]) -> None:
    """Refuse more devices than CUDA_VISIBLE_DEVICES names: Ray would end with a traceback.

    Raises:
        SiteError: says how many there are, and what to change.
    """
    share = _local_share(run.cluster)
    if share is not None and VISIBLE in os.environ and any(job.resources.devices for job in run.jobs):
        too_many = excess_devices(share)
        if too_many is not None:
            raise SiteError("; ".join(too_many))


def _local_share(cluster: Cluster) -> LocalShare | None:
    ray = ray_settings(cluster)
    if not ray.embedded:
        return None
    return LocalShare(section=NAME, cpus=ray.cpus, devices=ray.devices, memory_gib=ray.memory_gib)


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
    checks={"temporary": temporary, "ray": connection},
    leftovers=leftovers,
    local_share=_local_share,
    remote_driver=_remote_driver,
    templates={name: (__package__, f"{name}.yaml") for name in (LOCAL, NAME)},
)
