"""What a study asks of a cluster's autoscaler: placement groups that wait for nodes.

`ray.autoscaler.sdk.request_resources` would be one number for the whole cluster: the request of one study replaces
that of another, and it stays when the driver that made it has died, with nodes that cost money. A placement group that
waits is counted by every autoscaler (`ray up`'s and KubeRay's), adds to those of others, and ends with its driver.
"""

import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, placement_group_table

from orchestrator.backends.ray.growth import NodeTypes, bundle_of, growth_text
from orchestrator.backends.ray.hosts import remove_group

LOOK_S = 5.0  # between two questions what the autoscaler cannot do
ANSWER_S = 2


class Demand:
    """The groups of one driver, one for each node that it waits for.

    Args:
        types: `ray.node_types`.
    """

    def __init__(self, types: NodeTypes) -> None:
        self._types = types
        self._groups: dict[str, list[Any]] = {}
        self._looked = -LOOK_S
        self._refused: list[str] = []

    def ask(self, wanted: Mapping[str, int]) -> None:
        """Let so many nodes of each type be waited for; what has come, or is wanted no more, is asked for no more."""
        states = placement_group_table() if any(self._groups.values()) else {}
        for name, groups in self._groups.items():
            # A group that was placed keeps a node from its host.
            placed = [group for group in groups if states.get(group.id.hex(), {}).get("state") != "PENDING"]
            waiting = [group for group in groups if group not in placed]
            surplus = waiting[wanted.get(name, 0) :]
            for group in (*placed, *surplus):
                remove_group(group)
            self._groups[name] = waiting[: wanted.get(name, 0)]
        for name, number in wanted.items():
            groups = self._groups.setdefault(name, [])
            new = range(number - len(groups))
            groups += [placement_group([self._bundle(name)], strategy="STRICT_PACK") for _ in new]

    @property
    def asks(self) -> bool:
        """Whether any node is waited for."""
        return any(self._groups.values())

    def text(self) -> str:
        """What was asked for and has not come, for people; empty: nothing."""
        asked = growth_text({name: len(groups) for name, groups in self._groups.items() if groups}, self._types)
        if asked and time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            self._refused = self._infeasible()
        refused = [name for name in self._refused if self._groups.get(name)]
        if not refused:
            return asked
        return (
            f"{asked}; it says that it has no node as large as {' or '.join(refused)}: correct ray.node_types, or what "
            "the cluster was started with"
        )

    def _bundle(self, name: str) -> dict[str, float]:
        return bundle_of(self._types[name])

    def _infeasible(self) -> list[str]:
        """Types of which the autoscaler says that it can never add one as `ray.node_types` declares it."""
        reply = GetClusterStatusReply()
        try:
            reply.ParseFromString(ray._private.worker.global_worker.gcs_client.get_cluster_status(timeout_s=ANSWER_S))
        except (RayError, OSError, RuntimeError):
            return []  # it says so next time
        requests = [
            dict(request.resources_bundle)
            for gang in reply.autoscaling_state.infeasible_gang_resource_requests
            for request in (*gang.requests, *(one for of in gang.bundle_selectors for one in of.resource_requests))
        ]
        return [name for name in self._groups if self._bundle(name) in requests]
