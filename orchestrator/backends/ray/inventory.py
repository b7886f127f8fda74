"""What a standing Ray cluster has and may get, asked before it is joined."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.backends.protocol import HostShare
from orchestrator.backends.ray.address import (
    ClusterSilent,
    place_of,
    unusable,
)
from orchestrator.backends.ray.auth_token import check_token
from orchestrator.backends.ray.environment import CLUSTER
from orchestrator.backends.ray.pipe import REFUSED, SILENT
from orchestrator.backends.ray.settings import NodeType
from orchestrator.errors import BackendError, SiteError
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import RAY, passed
from orchestrator.wording import counted, last_line

CHILD_S = 45.0  # for the process that asks: on a busy machine ray is imported for ten seconds


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a cluster has, and may get."""

    version: str
    """Of its ray."""
    nodes: tuple[HostShare, ...]
    """Those that live and can have a host."""
    may_come: tuple[HostShare, ...] = ()
    """Kinds of nodes that its autoscaler knows, `name` being the kind's."""

    def as_json(self) -> dict[str, Any]:
        """As a mapping for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Inventory":
        """What `as_json` gave."""
        nodes, may_come = (tuple(HostShare(**one) for one in read[key]) for key in ("nodes", "may_come"))
        return cls(version=read["version"], nodes=nodes, may_come=may_come)

    def has_or_may_get(self, types: Mapping[str, NodeType]) -> tuple[HostShare, ...]:
        """What jobs may count on some time: the living nodes, and those that we ask the autoscaler for.

        Args:
            types: `ray.node_types`.
        """
        return (*self.nodes, *shares_of(types))

    def words(self, types: Mapping[str, NodeType]) -> str:
        """For people; `types` as for `has_or_may_get`."""
        has = f"{counted(len(self.nodes), 'node')} with {shapes(self.nodes)}" if self.nodes else "no node with a cpu"
        if types:
            return f"{has}, and its autoscaler adds nodes with {shapes(shares_of(types))}"
        if self.may_come:
            return f"{has}; its autoscaler could add nodes with {shapes(self.may_come)}, but ray.node_types names none"
        return has


def shares_of(types: Mapping[str, NodeType]) -> tuple[HostShare, ...]:
    """`ray.node_types` as hosts that are to come."""
    return tuple(
        HostShare(name=name, cpus=one.cpus, devices=one.devices, memory_gib=one.memory_gib, pending=True, group=CLUSTER)
        for name, one in types.items()
    )


def shapes(shares: Iterable[HostShare]) -> str:
    """The sizes among some nodes, each once, with how many have it."""
    sizes = Counter((one.cpus, one.devices, round(one.memory_gib, 1)) for one in shares)
    return "; ".join(
        (f"{number} x " if number > 1 else "") + f"{counted(cpus, 'cpu')}, {counted(devices, 'device')}, {memory:g} GiB"
        for (cpus, devices, memory), number in sizes.items()
    )


def read_inventory(address: str, environment: Mapping[str, str] = os.environ) -> Inventory:
    """Ask the cluster at `ray.address` what it has; within seconds.

    Raises:
        ClusterSilent, SiteError, BackendError: see `ask_in_child`; no address, or no token where one is to be sent.
    """
    place = place_of(address, environment)
    check_token(environment)
    return Inventory.from_json(json.loads(ask_in_child("head", (place,), place, environment, CHILD_S)))


def ask_in_child(
    module: str, arguments: Sequence[str], place: str, environment: Mapping[str, str], within_s: float, said: str = ""
) -> str:
    """What a module of this package prints, run in a child process, which alone imports ray.

    Args:
        module: its name.
        arguments: of its command line.
        place: of the cluster that it asks.
        environment: of this process.
        within_s: for all of it.
        said: to its standard input.

    Raises:
        ClusterSilent: nothing answers there.
        SiteError: what answers cannot be used, since the token or a version is another; says what to do.
        BackendError: the child has failed.
    """
    try:
        done = subprocess.run(
            python_command(f"orchestrator.backends.ray.{module}", *arguments),
            cwd=os.sep,
            env=child_environment(CHECKOUT, passed(environment, RAY)),
            input=said,
            capture_output=True,
            text=True,
            timeout=within_s,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterSilent(unusable(place, f"it was asked for {within_s:g} s without an answer")) from error
    words = last_line(done.stderr) or "it said nothing"
    match done.returncode:
        case 0:
            return done.stdout
        case code if code == REFUSED:
            raise SiteError(words)
        case code if code == SILENT:
            raise ClusterSilent(words)
        case code:
            raise BackendError(unusable(place, f"asking it failed with {code}: {words}"))
