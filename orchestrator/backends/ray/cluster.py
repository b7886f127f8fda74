"""Ray as we use it: a host actor per node, messages to them, and notice of those that die.

This file alone imports ray, and only the child process imports this file.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by Ray when it is imported or when it starts its processes; an embedded Ray inherits them.
os.environ.update(
    RAY_worker_niceness="0",  # at Ray's 15 a host gets almost no processor beside any busy process
    RAY_memory_monitor_refresh_ms="0",  # it would kill a host, that is all its jobs
    RAY_USAGE_STATS_ENABLED="0",
    RAY_DEDUP_LOGS="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
)

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.backends.ray.actor import Host
from orchestrator.errors import BackendError
from orchestrator.host.processes import end_leftovers

OBJECT_STORE = 80 << 20  # bytes; messages are small, and Ray takes no less than 75 MiB
ANSWER_S = 5.0  # for a host to answer a message
START_S = 120.0  # for a host to start
CLOSE_S = 3.0
SILENCE_S = 5.0  # after a host's death until its ranks are gone, measured 4 s
GIB = 2**30


@dataclass
class RayHost:
    """A host actor and what we know of it."""

    name: str
    node: str
    cpus: int
    devices: int
    memory_gib: float
    group: Any
    actor: Any

    def share(self) -> dict[str, Any]:
        """As the fields of a `HostShare`."""
        return {"name": self.name, "cpus": self.cpus, "devices": self.devices, "memory_gib": self.memory_gib}


class RayCluster:
    """Ray with one host per node.

    Args:
        settings: `address` (`local`: started here), `cpus`, `devices`, `memory_gib` of an embedded
            session, and what a `Host` needs.
        folder: of an embedded session.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        self._settings = settings
        self._embedded = settings["address"] == "local"
        self._hosts: dict[str, RayHost] = {}
        self._host_of: dict[str, str] = {}
        """Attempt -> host."""
        self._work_of: dict[str, Path] = {}
        self._died_at: dict[str, float] = {}
        """Host -> monotonic clock, s."""
        quiet = {"configure_logging": False, "log_to_driver": False, "namespace": "echo-matrix"}
        if self._embedded:
            ray.init(
                address="local",
                num_cpus=settings["cpus"],
                num_gpus=settings["devices"],
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                _temp_dir=str(folder),
                **quiet,
            )
        else:
            ray.init(address=settings["address"], **quiet)
        self.session = Path(ray.get_runtime_context().gcs_address).name if not self._embedded else folder.name
        self._refresh()

    def hosts(self) -> list[dict[str, Any]]:
        """The shares of the hosts that live, as JSON; a new node gets a host first."""
        self._refresh()
        return [host.share() for host in self._hosts.values()]

    def submit(self, submissions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Send attempts to their hosts; attempt -> ticket.

        Raises:
            BackendError: a placement on a host that there is not; nothing was started.
        """
        by_host: dict[str, list[Mapping[str, Any]]] = {}
        for submission in submissions:
            by_host.setdefault(submission["placement"]["host"], []).append(submission)
        for name in by_host:
            if name not in self._hosts:
                raise BackendError(
                    f"there is no host {name!r}; there are {', '.join(map(repr, self._hosts)) or 'none'}"
                )
        for name, group in by_host.items():
            self._hosts[name].actor.start.remote(group)
            for submission in group:
                self._host_of[submission["attempt"]] = name
                self._work_of[submission["attempt"]] = Path(submission["request"]["work"])
        names = [submission["attempt"] for submission in submissions]
        return {attempt: f"{self.session}/{self._host_of[attempt]}/{attempt}" for attempt in names}

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of all attempts that were not forgotten."""
        for attempt in forget:
            self._host_of.pop(attempt, None)
            self._work_of.pop(attempt, None)
        asked = {name: host.actor.poll.remote(list(forget)) for name, host in self._hosts.items()}
        known: dict[str, dict[str, Any]] = {}
        silent: set[str] = set()
        for name, reference in asked.items():
            try:
                known.update(ray.get(reference, timeout=ANSWER_S))
            except GetTimeoutError:
                silent.add(name)
            except RayActorError:
                self._bury(name)
        for attempt, name in self._host_of.items():
            if attempt not in known:
                known[attempt] = self._of_no_answer(attempt, name, name in silent)
        return known

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        for actor, names in self._by_actor(attempts):
            actor.stop.remote(names)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        for actor, names in self._by_actor(attempts):
            actor.kill.remote(names)

    def close(self) -> None:
        """End all hosts, and an embedded Ray with them."""
        closing = [host.actor.close.remote() for host in self._hosts.values()]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
        for host in self._hosts.values():
            remove_placement_group(host.group)
        ray.shutdown()

    def _by_actor(self, attempts: Sequence[str]) -> list[tuple[Any, list[str]]]:
        chosen: dict[str, list[str]] = {}
        for attempt in attempts:
            name = self._host_of.get(attempt)
            if name in self._hosts:
                chosen.setdefault(name, []).append(attempt)
        return [(self._hosts[name].actor, names) for name, names in chosen.items()]

    def _refresh(self) -> None:
        """Give every living node a host."""
        held = {host.node for host in self._hosts.values()}
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in held:
                host = self._start(node)
                self._hosts[host.name] = host

    def _start(self, node: Mapping[str, Any]) -> RayHost:
        resources = node["Resources"]
        cpus, devices = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        memory_gib = resources.get("memory", 0.0) / GIB
        if self._embedded and self._settings["memory_gib"]:
            memory_gib = self._settings["memory_gib"]
        pinned = next(name for name in resources if name.startswith("node:") and name != "node:__internal_head__")
        bundle = {"CPU": cpus, pinned: 0.001, **({"GPU": devices} if devices else {})}
        group = placement_group([bundle], strategy="STRICT_PACK")
        count = sum(1 for died in self._died_at if died.startswith(node["NodeManagerHostname"]))
        # A host that comes after a dead one is another host: attempts of the dead one stay its own.
        name = f"{node['NodeManagerHostname']}-{node['NodeID'][:6]}" + (f"-{count + 1}" if count else "")
        strategy = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=0)
        actor = (
            ray.remote(Host)
            .options(num_cpus=cpus, num_gpus=devices, scheduling_strategy=strategy, max_restarts=0)
            .remote(self._settings, devices)
        )
        try:
            ray.get(actor.pid.remote(), timeout=START_S)
        except (GetTimeoutError, RayActorError) as error:
            remove_placement_group(group)
            raise BackendError(f"the host on {name} does not start: {error}") from error
        return RayHost(name, node["NodeID"], cpus, devices, memory_gib, group, actor)

    def _bury(self, name: str) -> None:
        host = self._hosts.pop(name)
        self._died_at[name] = time.monotonic()
        with contextlib.suppress(Exception):  # the group of a dead node may be gone with it
            remove_placement_group(host.group)

    def _of_no_answer(self, attempt: str, name: str, silent: bool) -> dict[str, Any]:
        """What to say of an attempt whose host does not: nothing, until its death is proven."""
        if name in self._died_at:
            if time.monotonic() - self._died_at[name] > SILENCE_S and end_leftovers(self._work_of[attempt]):
                return {
                    "attempt": attempt,
                    "phase": "ended",
                    "ending": "node_lost",
                    "detail": f"the host on {name} died",
                    "ended": time.time(),
                }
            return {"attempt": attempt, "phase": "unknown", "detail": f"the host on {name} died"}
        if silent:
            return {"attempt": attempt, "phase": "unknown", "detail": f"the host on {name} does not answer"}
        return {"attempt": attempt, "phase": "missing", "detail": f"the host on {name} does not know it"}
