"""Connects to Ray: an embedded one is started, a standing one is joined."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RpcError

from orchestrator.backends.ray.address import ClusterSilent, check_reachable, unusable
from orchestrator.backends.ray.environment import HOST_LABEL, OBJECT_STORE
from orchestrator.backends.ray.head_watch import cluster_id
from orchestrator.backends.ray.hosts import NAMESPACE
from orchestrator.errors import BackendError


def connect(settings: Mapping[str, Any], folder: Path | None) -> str:
    """Start or join Ray; returns the session's name, which tickets begin with.

    Of a standing cluster: the address of its head, `@`, and Ray's id of the cluster.

    Raises:
        ClusterSilent: no cluster answers at the address. BackendError: it cannot be joined.
    """
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False, "namespace": NAMESPACE}
    if settings["address"] == "local":
        assert folder is not None
        ray.init(
            address="local",
            num_cpus=settings["cpus"],
            num_gpus=settings["devices"],
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            labels={HOST_LABEL: settings["host"]} if "host" in settings else None,
            _temp_dir=str(folder),
            **quiet,
        )
        return folder.parent.name  # Ray's own folder lies in one that is named by its owner
    address = settings["address"]
    if address != "auto":
        check_reachable(address)
    try:
        # Ray puts the current folder on the import path of its processes on all nodes, and ours is the study's code.
        with contextlib.chdir(os.sep):
            ray.init(address=address, **quiet)
    except (RayError, OSError, RuntimeError, ValueError) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        kind = ClusterSilent if isinstance(error, OSError | RpcError) else BackendError
        raise kind(unusable(address, first)) from error
    head = str(ray.get_runtime_context().gcs_address)
    return f"{head.replace('/', '_')}@{cluster_id(head)}"
