"""A cluster's autoscaler adds nodes for the jobs that wait, and removes them when nobody needs them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standing import Standing
from toy_jobs import SERVER, as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import NodeType, RaySettings
from orchestrator.spec.cell import Resources

SHARED = Resources(cpus=1, devices=0, memory_gib=0.1, minutes=1.0, nodes=2)
"""By two hosts, each of which could hold both halves."""
GPU = Resources(cpus=1, devices=1, memory_gib=0.1, minutes=1.0)
TYPES = {
    "cpu": {"resources": {"CPU": 2, "object_store_memory": 80 << 20}, "node_config": {}, "max_workers": 2},
    "gpu": {"resources": {"CPU": 2, "GPU": 1, "object_store_memory": 80 << 20}, "node_config": {}, "max_workers": 1},
}
SETTINGS = {"cpu": NodeType(cpus=2, memory_gib=1.0), "gpu": NodeType(cpus=2, devices=1, memory_gib=1.0)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Standing]:
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    made = Standing(cpus=0, node_types=TYPES)
    yield made
    made.close()
    del os.environ["RAY_AUTH_MODE"]
    if before is not None:
        os.environ["RAY_AUTH_MODE"] = before


@pytest.fixture
def backend(cluster: Standing, tmp_path: Path) -> Iterator[RayBackend]:
    context = toy_context(tmp_path, idle_s=2.0, server=SERVER)
    made = RayBackend(context, RaySettings(address=cluster.address, node_types=SETTINGS))
    yield made
    made.close()


def raylets(cluster: Standing) -> int:
    """Nodes of the cluster, its head included."""
    return len(cluster.head.processes("raylet/raylet"))


def test_a_node_comes_for_a_job_that_waits_and_goes_when_it_has_ended(
    cluster: Standing, backend: RayBackend, tmp_path: Path
) -> None:
    backend.waiting_for_room({("data", GPU): 1})
    first = backend.hosts()
    assert {(one.name, one.devices, one.pending) for one in first} == {("a new cpu", 0, True), ("a new gpu", 1, True)}
    assert backend.pending_hosts() == "asked the cluster's autoscaler for 1 node: 1 of type gpu (2 cpus, 1 device)"
    wait_until(lambda: any(not one.pending for one in backend.hosts()), "a host is there", 120)
    (host,) = [one for one in backend.hosts() if not one.pending]
    assert (host.cpus, host.devices) == (2, 1)
    assert backend.pending_hosts() == ""
    assert raylets(cluster) == 2

    submission = as_submission(toy_submission(tmp_path, "write"), host.name)
    backend.submit([submission])
    backend.waiting_for_room({})
    wait_until(lambda: backend.poll()[submission.attempt].phase == "ended", "the attempt ended", 120)
    assert backend.poll()[submission.attempt].ending == "ok"
    wait_until(lambda: raylets(cluster) == 1, "the node was given back", 120)


def test_a_driver_that_is_killed_leaves_no_request_behind(cluster: Standing, backend: RayBackend) -> None:
    backend.waiting_for_room({("data", SHARED): 1})
    backend.hosts()
    assert backend.pending_hosts().startswith("asked the cluster's autoscaler for 2 nodes: 2 of type cpu"), "no half"
    wait_until(lambda: raylets(cluster) == 3, "both nodes came", 120)
    assert backend._pipe is not None
    os.kill(backend._pipe.pid, signal.SIGKILL)
    backend.close()
    wait_until(lambda: raylets(cluster) == 1, "no node stays", 120)
