"""Preflight of Ray, before anything is recorded or started: is the cluster usable, and which hosts has it."""

import os
from collections.abc import Callable
from dataclasses import replace

from orchestrator.backends.plugin import PlannedRun, SiteCapacity, excess_devices
from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.auth_token import open_token
from orchestrator.backends.ray.inventory import Inventory, read_inventory, shapes, shares_of
from orchestrator.backends.ray.settings import MEMORY_SHARE, RaySettings, local_share, ray_settings
from orchestrator.errors import BackendError, SiteError
from orchestrator.host.machine import VISIBLE, machine_gib


def preflight(run: PlannedRun, say: Callable[[str], None]) -> SiteCapacity | None:
    """The hosts of a run; None where attempts are to be taken over on a cluster that cannot be asked: they may run on.

    Raises:
        SiteError: the cluster does not answer or cannot be used, or this shell names another one; says what to do.
    """
    if not ray_settings(run.cluster).embedded and (open_to := open_token(run.environment or os.environ)):
        say(open_to)
    try:
        return _capacity(run)
    except BackendError as error:
        if ray_settings(run.cluster).embedded or not run.takes_over:
            raise SiteError(str(error)) from error
        say(f"the attempts that are left are taken over all the same: {error}")
        return None


def preview(run: PlannedRun, say: Callable[[str], None]) -> SiteCapacity | None:
    """The hosts that a run would have; None: they are not known now.

    Raises:
        SiteError: the cluster was asked, answers and cannot be used.
    """
    settings = ray_settings(run.cluster)
    if not settings.embedded and not run.may_ask:
        return _declared(settings)
    try:
        return _capacity(run)
    except ClusterSilent as error:
        say(f"whether the cluster can run this is not known: {error}")
        return _declared(settings)
    except BackendError as error:
        if not settings.embedded:
            raise SiteError(str(error)) from error
        say(str(error))
    return None


def _declared(settings: RaySettings) -> SiteCapacity | None:
    """The hosts that the cluster file says may come; None: it names none."""
    if not settings.node_types:
        return None
    shares = shares_of(settings.node_types)
    return SiteCapacity(where=f"ray.node_types are {shapes(shares)}", hosts=shares, is_all=False)


def capacity_of(inventory: Inventory, settings: RaySettings) -> SiteCapacity:
    """The hosts that jobs may count on, there now or to come."""
    types = settings.node_types
    where = f"the Ray cluster at {settings.address!r} has {inventory.words(types)}"
    return SiteCapacity(where=where, hosts=inventory.has_or_may_get(types))


def _capacity(run: PlannedRun) -> SiteCapacity | None:
    settings, environment = ray_settings(run.cluster), run.environment or os.environ
    jobs, share = list(run.jobs), local_share(run.cluster)
    if not jobs:
        return None
    if share is None:
        inventory = read_inventory(settings.address, environment)
        return capacity_of(inventory, settings)
    if named := environment.get("RAY_ADDRESS"):
        raise SiteError(
            f"RAY_ADDRESS is {named!r}, but {run.cluster_file.name} starts a Ray of its own beside that cluster; use "
            "the cluster (--cluster ray --set ray.address=auto), or `unset RAY_ADDRESS`"
        )
    if VISIBLE in environment and any(job.resources.devices for job in jobs):
        too_many = excess_devices(share, environment)
        if too_many is not None:
            raise SiteError("; ".join(too_many))
    host = share.host(environment=environment)
    if share.memory_gib is None:
        host = replace(host, memory_gib=machine_gib() * MEMORY_SHARE)
    return SiteCapacity(where="the jobs run on this machine", hosts=(host,))
