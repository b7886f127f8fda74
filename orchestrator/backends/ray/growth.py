"""Which nodes a cluster's autoscaler is to add for the jobs that wait. Pure; imports no ray.

A host takes a whole node, so whole nodes are asked for, and not the shapes of jobs: of the types that
`ray.node_types` declares, the smallest that holds a job, filled with as many of the others as fit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.backends.free_share import FreeShare
from orchestrator.host.machine import GIB
from orchestrator.wording import counted

MOST_NODES = 100
"""Asked for at once; the autoscaler has a bound of its own (`max_workers`, `maxReplicas`)."""


class Need(NamedTuple):
    """What one job needs on each of its hosts."""

    cpus: int
    devices: int
    memory_gib: float
    nodes: int = 1
    """Hosts that share the job."""


NodeTypes = Mapping[str, Mapping[str, Any]]
"""Name -> `cpus`, `devices` and `memory_gib` of a node of this type, as `NodeType` as JSON."""


def nodes_to_add(waiting: Sequence[tuple[Need, int]], free: Sequence[FreeShare], types: NodeTypes) -> Counter[str]:
    """How many nodes of each type hold the jobs that the living hosts have no room for.

    Args:
        waiting: what ready jobs need, and how many need it.
        free: what is left on each living host; it is used up.
        types: what may be added; a job that fits on none of them asks for nothing.
    """
    wanted: Counter[str] = Counter()
    spaces = list(free)
    for need, number in sorted(waiting, key=lambda one: (one[0].devices, one[0].cpus, one[0].memory_gib), reverse=True):
        able = [name for name in types if space_of(types[name]).holds(need)]
        smallest = min(able, key=lambda name: (types[name]["devices"], types[name]["cpus"]), default=None)
        for _ in range(number):
            found = [one for one in spaces if one.holds(need)][: need.nodes]
            missing = need.nodes - len(found)
            if missing and (smallest is None or wanted.total() + missing > MOST_NODES):
                break
            if smallest is not None and missing:
                wanted[smallest] += missing
                found += (new := [space_of(types[smallest]) for _ in range(missing)])
                spaces += new
            for space in found:
                space.take(need)
    return wanted


def size_of(resources: Mapping[str, float]) -> dict[str, Any]:
    """What a node has, as Ray counts it: `cpus`, `devices` and `memory_gib`."""
    return {
        "cpus": int(resources.get("CPU", 0)),
        "devices": int(resources.get("GPU", 0)),
        "memory_gib": resources.get("memory", 0.0) / GIB,
    }


def bundle_of(size: Mapping[str, Any]) -> dict[str, float]:
    """The cpus and devices of a node, as a placement group asks for them."""
    return {"CPU": float(size["cpus"]), **({"GPU": float(size["devices"])} if size["devices"] else {})}


def space_of(share: Mapping[str, Any]) -> FreeShare:
    """All of a node: of a type, or of a host's share."""
    return FreeShare(share["cpus"], share["devices"], share["memory_gib"])


def growth_text(wanted: Mapping[str, int], types: NodeTypes) -> str:
    """What the autoscaler was asked for, for people; empty: nothing."""
    if not wanted:
        return ""
    nodes = [
        f"{number} of type {name} ({counted(types[name]['cpus'], 'cpu')}, {counted(types[name]['devices'], 'device')})"
        for name, number in sorted(wanted.items())
    ]
    return f"asked the cluster's autoscaler for {counted(sum(wanted.values()), 'node')}: {', '.join(nodes)}"
