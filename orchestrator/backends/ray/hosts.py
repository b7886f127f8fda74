"""Host actors: starting one, finding those that an earlier driver started, and releasing their nodes.

On a standing cluster hosts are detached, that is they live without a driver. Their names, and those
of their placement groups, are `{study}/{host}/{token}`: `study` is a digest of the study's folder,
`host` is the name of the node for the scheduler, and `token` is new each time, so that a host that comes
after a dead one is never taken for it. An embedded Ray's hosts have no names and die with it.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import get_placement_group, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.backends.ray import entry
from orchestrator.backends.ray.actor import Host
from orchestrator.backends.ray.entry import class_of_host
from orchestrator.backends.ray.environment import CLUSTER, EXCHANGE_GROUP, HOST_LABEL
from orchestrator.backends.ray.growth import bundle_of, size_of
from orchestrator.errors import BackendError
from orchestrator.host import code_archive
from orchestrator.host.code_archive import pack_code
from orchestrator.wording import last_line
from workloads.runtime.fault_points import VARIABLE

NAMESPACE = "echo-matrix"

for _module in (entry, code_archive):  # a node that does not see the study's folder cannot import them
    ray.cloudpickle.register_pickle_by_value(_module)


@dataclass
class RayHost:
    """A host actor, as its driver sees it."""

    name: str
    node: str
    """Ray's id of its node; empty until a host that was found has answered."""
    token: str
    cpus: int
    devices: int
    memory_gib: float
    group: Any
    actor: Any
    hello: Any
    """Ray's reference to its identity, which is there once it has started."""
    sharing: str | None = CLUSTER
    """`HostShare.group`."""
    began: float = field(default_factory=time.monotonic)
    identity: Mapping[str, Any] | None = None
    """Its answer to `hello`; None: it has not started, or does not answer."""
    ready: bool = False
    """Its server has imported everything, once at least; as far as it was asked."""
    failed: str = ""
    """Why its server was given up."""
    current: bool = False
    """It runs the driver's code with the driver's libraries, and takes attempts."""
    asked_to_end: bool = False
    suspected: bool = False
    """Other hosts of an attempt have lost it, and it has not answered since."""
    died_at: float | None = None
    """Monotonic clock, s."""
    ending: str = "node_lost"
    """Of attempts that die with it."""
    why: str = ""

    @property
    def apart(self) -> bool:
        """Whether its node does not see the study's folder."""
        return self.identity is not None and bool(self.identity.get("apart"))

    def share(self) -> dict[str, Any]:
        """As the fields of a `HostShare`."""
        share = {"name": self.name, "cpus": self.cpus, "devices": self.devices, "memory_gib": self.memory_gib}
        return share | {"group": self.sharing}


def put_code(settings: Mapping[str, Any]) -> list[Any]:
    """Reference to the code, for nodes of a standing cluster that do not see it; empty: none can use it.

    Raises:
        BackendError: the code cannot be read.
    """
    if settings.get("token") is None or settings["store"]["kind"] == "files":
        return []
    try:
        return [ray.put(pack_code(Path(settings["code"])))]
    except OSError as error:
        raise BackendError(f"the code of the study cannot be read: {error}") from error


def start_host(node: Mapping[str, Any], settings: Mapping[str, Any], code: Sequence[Any]) -> RayHost:
    """Ask for a node's whole share and for a host on it; returns at once, `hello` is answered when it runs.

    Args:
        node: of Ray.
        settings: as for `RayCluster`.
        code: as `put_code` gave it.
    """
    embedded = settings["address"] == "local"
    share = node_share(node, embedded=embedded)
    name, devices = share["name"], share["devices"]
    token = secrets.token_hex(4)
    lasting = {} if embedded else {"name": f"{settings['study']}/{name}/{token}", "lifetime": "detached"}
    # By the node's id: two raylets on one machine share `node:ADDRESS`, and one's host could take the other's place.
    here = {"ray.io/node-id": node["NodeID"]}
    group = placement_group([bundle_of(share)], strategy="STRICT_PACK", bundle_label_selector=[here], **lasting)
    options: dict[str, Any] = {
        "num_cpus": share["cpus"],
        "num_gpus": devices,
        "max_restarts": 0,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=0),
        **lasting,
    }
    if not embedded and VARIABLE in os.environ:  # a worker of an embedded Ray inherits it
        options["runtime_env"] = {"env_vars": {VARIABLE: os.environ[VARIABLE]}}
    host: Any = ray.remote(concurrency_groups={EXCHANGE_GROUP: 1})(class_of_host(vars(Host)))
    actor = host.options(**options).remote(settings, devices, code)
    if embedded and settings["memory_gib"]:
        share["memory_gib"] = settings["memory_gib"]
    return RayHost(
        **share,
        node=node["NodeID"],
        token=token,
        group=group,
        actor=actor,
        hello=actor.hello.remote(),
        sharing=None if embedded else CLUSTER,
    )


def node_share(node: Mapping[str, Any], *, embedded: bool) -> dict[str, Any]:
    """What a host would have of a node, as the fields of a `HostShare`."""
    return {"name": host_name(node, embedded=embedded), **size_of(node["Resources"])}


def host_name(node: Mapping[str, Any], *, embedded: bool) -> str:
    """The name of a node for the scheduler: of several raylets on one machine each has its own."""
    if HOST_LABEL in node["Labels"]:
        return str(node["Labels"][HOST_LABEL])
    machine = str(node["NodeManagerHostname"])
    return machine if embedded else f"{machine}-{node['NodeID'][:6]}"


def named_hosts(study: str) -> Iterator[tuple[str, str, Any]]:
    """Name, token and actor of each host of a study that lives on a standing cluster; `study` as for `find_hosts`."""
    for named in ray.util.list_named_actors(all_namespaces=True):
        if named["namespace"] != NAMESPACE or not named["name"].startswith(f"{study}/"):
            continue
        _, name, token = named["name"].split("/")
        try:
            yield name, token, ray.get_actor(named["name"], namespace=NAMESPACE)
        except ValueError:  # it has just ended
            continue


def find_hosts(study: str, nodes: Mapping[str, Mapping[str, Any]]) -> list[RayHost]:
    """The hosts of a study that earlier drivers left on a standing cluster; groups without a host are removed.

    Args:
        study: digest of the study's folder.
        nodes: Ray's living nodes by the name of the host that they would have.
    """
    found = []
    for name, token, actor in named_hosts(study):
        node = nodes.get(name, {"NodeID": "", "Resources": {}})
        found.append(
            RayHost(
                name=name,
                node=node["NodeID"],
                token=token,
                **size_of(node["Resources"]),
                group=_group(f"{study}/{name}/{token}"),
                actor=actor,
                hello=actor.hello.remote(),
            )
        )
    living = {f"{study}/{host.name}/{host.token}" for host in found}
    for group in ray.util.placement_group_table().values():
        if group["name"].startswith(f"{study}/") and group["name"] not in living and group["state"] != "REMOVED":
            remove_group(_group(group["name"]))
    return found


def words_of(error: Exception) -> str:
    """The last line of an error that comes with a traceback of another process."""
    return last_line(str(error)) or type(error).__name__


def remove_group(group: Any) -> None:
    """Remove a placement group; one of a dead node may be gone with it."""
    if group is not None:
        with contextlib.suppress(Exception):
            remove_placement_group(group)


def _group(name: str) -> Any:
    try:
        return get_placement_group(name)
    except ValueError:
        return None
