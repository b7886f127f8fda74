"""The look at every node of a Ray cluster: `python -m orchestrator.backends.ray.nodes` reads a request, prints JSON.

Each node is looked at by a task that takes no cpu, so that it runs beside hosts that hold all of them; all nodes at
once. A node that does not answer in time has no facts. Only this child imports ray.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.environment import SETTINGS, join_environment

os.environ.update({**SETTINGS, **join_environment()})  # before ray is imported

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import workloads.contract
from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.head import ask_head
from orchestrator.backends.ray.hosts import NAMESPACE, host_name, named_hosts, words_of
from orchestrator.backends.ray.node_look import ALL_REDUCE_S, all_reduce, look, stamp
from orchestrator.backends.ray.pipe import REFUSED, SILENT
from orchestrator.errors import SiteError
from orchestrator.host.code import CHECKOUT

HELLO_S = 3.0  # for the hosts of a study to tell their code
ALL_REDUCE_FOR_S = 1.0
HEAD = "node:__internal_head__"
"""Resource that only the head has."""


def main() -> int:
    """Look, and print `inventory` and `nodes`; what the cluster cannot be used for is the last line of stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what Ray prints must not be read as the answer
    request = json.load(sys.stdin)
    try:
        inventory = ask_head(request["address"])
    except (ClusterSilent, SiteError) as error:
        print(error, file=sys.stderr, flush=True)
        return SILENT if isinstance(error, ClusterSilent) else REFUSED
    packages = [str(CHECKOUT / "orchestrator"), str(Path(workloads.__path__[0]))]
    ray.init(
        address=request["address"],
        namespace=NAMESPACE,
        configure_logging=False,
        log_to_driver=False,
        runtime_env={"py_modules": packages},
    )
    living = [node for node in ray.nodes() if node["Alive"]]
    found = _on_each(living, look, {**request, "stamp": stamp(Path(request["place"]))}, request["answer_s"])
    digests = _digests(request["study"])
    nodes = [
        {
            "name": host_name(node, embedded=False),
            "head": HEAD in node["Resources"],
            "cpus": int(node["Resources"].get("CPU", 0)),
            "counted_devices": int(node["Resources"].get("GPU", 0)),
            "host": digests.get(host_name(node, embedded=False), ""),
            **found[node["NodeID"]],
        }
        for node in living
    ]
    gang, on_devices = largest_gang(request["needs"], max((node["counted_devices"] for node in nodes), default=0))
    _all_reduce(living, nodes, gang, on_devices=on_devices)
    with os.fdopen(answer, "w") as file:
        json.dump({"inventory": inventory.as_json(), "nodes": nodes}, file)
    os._exit(0)  # a node that hangs would hold Ray's orderly end


def largest_gang(needs: Sequence[tuple[int, int]], most_devices: int) -> tuple[int, bool]:
    """The most nodes of one job, and whether jobs of several nodes use devices.

    Args:
        needs: nodes and devices of each kind of job; 0 nodes: as few as hold its devices.
        most_devices: of a node.
    """
    sizes = [(nodes or (-(-devices // most_devices) if most_devices else 1), devices > 0) for nodes, devices in needs]
    return max((nodes for nodes, _ in sizes), default=1), any(on_devices for nodes, on_devices in sizes if nodes > 1)


def _here(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of a task on one node that waits for nothing."""
    affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": affinity}


def _on_each(
    nodes: Sequence[Mapping[str, Any]], call: Any, request: Mapping[str, Any], within_s: float
) -> dict[str, dict[str, Any]]:
    """Id of each node -> `facts` and the difference of its clock, or `problem`."""
    began = time.monotonic()
    asked = {ray.remote(call).options(**_here(node)).remote(request): node["NodeID"] for node in nodes}
    silent = {"problem": f"does not answer within {within_s:g} s"}
    found = dict.fromkeys(asked.values(), silent)
    waiting = list(asked)
    while waiting and (left := began + within_s - time.monotonic()) > 0:
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=left)
        for reference in ready:
            try:
                facts = ray.get(reference, timeout=max(0.1, left))
                # Sent when it was looked at, and received now: a clock that is equal is some milliseconds behind.
                found[asked[reference]] = {"facts": facts, "clock_s": facts.pop("time") - time.time()}
            except GetTimeoutError:
                continue
            except RayError as error:
                found[asked[reference]] = {"problem": f"cannot be looked at: {words_of(error)}"}
    return found


def _digests(study: str) -> dict[str, str]:
    """Host -> digest of the code of each living host of a study; one that does not answer has none."""
    asked = {actor.hello.remote(): name for name, _, actor in named_hosts(study)}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=HELLO_S) if asked else ([], [])
    found = {}
    for reference in ready:
        try:
            found[asked[reference]] = str(ray.get(reference, timeout=HELLO_S)["digest"])
        except RayError:
            continue
    return found


def _all_reduce(
    living: Sequence[Mapping[str, Any]], nodes: list[dict[str, Any]], gang: int, *, on_devices: bool
) -> None:
    """Let as many nodes as a gang has sum a tensor, all such groups at once; adds `all_reduce` to each node.

    Nodes that are left over, fewer than a gang, are tried together with the first ones.
    """
    able = [
        number
        for number, node in enumerate(nodes)
        if "facts" in node and node["cpus"] and (node["counted_devices"] or not on_devices)
    ]
    if gang < 2 or len(able) < gang:
        return
    groups = [able[first : first + gang] for first in range(0, len(able), gang)]
    groups[-1] += [number for number in able if number not in groups[-1]][: gang - len(groups[-1])]
    backend = "nccl" if on_devices else "gloo"
    for wave in (groups[:-1], groups[-1:]) if len(groups) > 1 else (groups,):
        asked = {}
        for group in wave:
            leader = nodes[group[0]]["facts"]
            for rank, number in enumerate(group):
                task = ray.remote(all_reduce).options(**_here(living[number]))
                arguments = (rank, len(group), leader["address"], leader["port"], ALL_REDUCE_FOR_S, backend)
                asked[task.remote(*arguments)] = (number, len(group))
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ALL_REDUCE_S + HELLO_S)
        for reference, (number, size) in asked.items():
            measured: dict[str, Any] = {"problem": "no answer"}
            if reference in ready:
                try:
                    measured = ray.get(reference, timeout=HELLO_S)
                except RayError as error:
                    measured = {"problem": words_of(error)}
            nodes[number].setdefault("all_reduce", {**measured, "nodes": size, "backend": backend})


if __name__ == "__main__":
    sys.exit(main())
