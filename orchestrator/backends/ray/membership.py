"""The hosts of a Ray cluster: which live, which take attempts, and why the others died."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError

from orchestrator.backends.ray.environment import CLUSTER
from orchestrator.backends.ray.growth import Need, space_of
from orchestrator.backends.ray.hosts import (
    RayHost,
    find_hosts,
    host_name,
    node_share,
    put_code,
    remove_group,
    start_host,
    words_of,
)
from orchestrator.errors import BackendError
from orchestrator.host.libraries import library_versions

ANSWER_S = 5.0  # for hosts to answer a message
KEEP_ALIVE_S = 1.0  # and a message that every living host answers at once
START_S = 120.0  # for a host to start
HELLO_S = 10.0  # for a host that was found to tell its identity
PREEMPTED = 3  # NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED, as `DeathReason` of ray.nodes()


class Membership:
    """One host on each node.

    Args:
        settings: as for `RayCluster`; Ray is connected.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._embedded = settings["address"] == "local"
        self._identity = {"digest": settings["digest"], "versions": library_versions()}
        self._code = put_code(settings)
        self._types = settings.get("node_types", {})
        self._grows = bool(self._types)
        """Whether an autoscaler adds nodes, and removes those that nobody holds."""
        self._broken_nodes: set[str] = set()
        """Nodes on which no host can start."""
        self.draining: set[str] = set()
        """Nodes that are about to be taken away."""
        self.living: list[RayHost] = []
        """Those that live or are starting."""
        if not self._embedded:
            self.living = find_hosts(settings["study"], {self._name(node): node for node in self._nodes()})
        self.refresh()
        self._wait_for_first()

    @property
    def taking(self) -> list[RayHost]:
        """Those that take attempts."""
        able = [host for host in self.living if host.current and not host.suspected]
        return [host for host in able if host.node not in self.draining]

    def _name(self, node: Mapping[str, Any]) -> str:
        return host_name(node, embedded=self._embedded)

    def _nodes(self) -> list[Mapping[str, Any]]:
        return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]

    def ask(
        self, hosts: Sequence[RayHost], call: Callable[[RayHost], Any], within_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Ask hosts at once and wait for them all; token -> answer. Those that have died are marked dead."""
        asked = {call(host): host for host in hosts}
        if not asked:
            return {}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=within_s)
        answers = {}
        for reference in ready:
            host = asked[reference]
            try:
                answers[host.token] = ray.get(reference, timeout=ANSWER_S)
            except (ActorUnavailableError, GetTimeoutError):
                continue  # it may come back
            except RayActorError as error:
                self._mark_dead(host, error)
            except RayError:
                continue  # its method raised: it lives, and is asked again
        return answers

    def refresh(self, needs: Sequence[Need] = ()) -> None:
        """Take up hosts that have started, and give every living node one.

        Where an autoscaler removes idle nodes, those alone that hold a job that waits: the others are let go.

        Args:
            needs: what ready jobs need that have no place.
        """
        self.collect_hellos()

        def keep_alive(host: RayHost) -> Any:
            return host.actor.keep_alive.remote(self._is_needed(host.share(), needs))

        # A host that has ended by itself must be seen to have, before anything is placed on it.
        answers = self.ask([host for host in self.living if host.identity], keep_alive, KEEP_ALIVE_S)
        for host in list(self.living):
            host.suspected = host.suspected and host.token not in answers
            if not answers.get(host.token, True):
                self.end_if_outdated(host)
        nodes = self._nodes()
        held = {host.name for host in self.living}
        for node in nodes:
            if self._name(node) in held or node["NodeID"] in self.draining | self._broken_nodes:
                continue
            if self._is_needed(node_share(node, embedded=self._embedded), needs) and self._is_free(node):
                self.living.append(start_host(node, self._settings, self._code))

    def _is_free(self, node: Mapping[str, Any]) -> bool:
        """Whether nobody else holds a part of a node: then the autoscaler is to add another for us."""
        if not self._grows:
            return True
        free = ray._private.state.available_resources_per_node().get(node["NodeID"], {})
        return bool(free.get("CPU", 0) >= node["Resources"]["CPU"])

    def _is_needed(self, share: Mapping[str, Any], needs: Sequence[Need]) -> bool:
        return not self._grows or any(space_of(share).holds(need) for need in needs)

    def to_come(self) -> list[dict[str, Any]]:
        """Shares that take nothing yet: nodes without a host that serves, and what the autoscaler can add."""
        there = {host.name for host in self.taking}
        shares = [node_share(node, embedded=self._embedded) for node in self._nodes() if self._name(node) not in there]
        shares += [{**one, "name": f"a new {name}"} for name, one in self._types.items()]
        return [{**share, "pending": True, "group": CLUSTER} for share in shares]

    def collect_hellos(self) -> None:
        """Take the identities of hosts that have started since."""
        for host in list(self.living):
            if host.identity is None:
                self._collect_hello(host)

    def _collect_hello(self, host: RayHost, within_s: float = 0.0) -> None:
        """Take the identity of a host, if it has started.

        Raises:
            BackendError: it cannot start.
        """
        ready, _ = ray.wait([host.hello], timeout=within_s)
        if not ready:
            return
        try:
            host.identity = ray.get(host.hello, timeout=ANSWER_S)
        except (ActorUnavailableError, GetTimeoutError):
            host.hello = host.actor.hello.remote()
            return
        except RayActorError as error:
            self._mark_dead(host, error)
            if "creation task" in str(error) or "__init__" in str(error):
                self._broken_nodes.add(host.node)
                words = f"the host on {host.name} does not start: {words_of(error).removeprefix('RuntimeError: ')}"
                if not self.living:
                    raise BackendError(words) from error
                print(words, file=sys.stderr, flush=True)  # the other nodes do
            return
        host.current = {key: host.identity[key] for key in self._identity} == self._identity

    def _wait_for_first(self) -> None:
        """Wait for the first host, and for each that was found and is to be judged by its code.

        Raises:
            BackendError: no host starts; says what stands in the way.
        """
        deadline = time.monotonic() + START_S
        for host in list(self.living):
            if host.identity is None and not self._embedded:
                self._collect_hello(host, HELLO_S)
        while not any(host.identity for host in self.living) and self.living:
            if time.monotonic() > deadline:
                waiting = ", ".join(f"{host.name} ({host.cpus} cpus)" for host in self.living)
                free = ray.available_resources().get("CPU", 0.0)
                raise BackendError(
                    f"no host has started within {START_S:g} s; asked for are {waiting}, and {free:g} cpus of the "
                    "cluster are free: others hold the rest; wait for them, or see `ray status`"
                )
            self._collect_hello(self.living[0], 0.5)
            for host in list(self.living[1:]):
                self._collect_hello(host)

    def end_if_outdated(self, host: RayHost) -> None:
        """End an idle host of other code or libraries, so that one of ours can start on its node."""
        if not host.current and not host.asked_to_end:
            host.asked_to_end = True
            host.actor.leave.remote()

    def _mark_dead(self, host: RayHost, error: RayActorError) -> None:
        host.died_at = time.monotonic()
        host.current = False
        self.living.remove(host)
        node = next((node for node in ray.nodes() if node["NodeID"] == host.node), None)
        if node is not None and not node["Alive"]:
            words = node.get("DeathReasonMessage") or "Ray does not say why"
            host.why = f"the node of {host.name} died: {words}"
        else:
            host.why = f"the host on {host.name} died"
        preempted = node is not None and not node["Alive"] and node.get("DeathReason") == PREEMPTED
        if preempted or error.preempted or host.node in self.draining:
            host.ending = "preempted"
        remove_group(host.group)
