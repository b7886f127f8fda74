"""The Ray cluster: a host actor per node, messages to them, and detection of those that died.

Only the child process imports this file, and with it ray. `lost` decides when an attempt whose host does
not respond has ended.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.environment import SETTINGS

os.environ.update(SETTINGS)  # before ray is imported; an embedded one inherits them

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError

from orchestrator.backends.ray.connect import connect
from orchestrator.backends.ray.hosts import RayHost, find_hosts, host_name, remove_group, start_host
from orchestrator.backends.ray.lost import Lost, ended_report
from orchestrator.errors import BackendError
from orchestrator.host.machine import library_versions

ANSWER_S = 5.0  # for hosts to answer a message
KEEP_ALIVE_S = 1.0  # and a message that every living host answers at once
START_S = 120.0  # for a host to start
HELLO_S = 10.0  # for a host that was found to say what it is
CLOSE_S = 3.0
DRAIN_LOOK_S = 5.0
PREEMPTED = 3  # NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED, as `DeathReason` of ray.nodes()


class RayCluster:
    """Ray with one host per node.

    Args:
        settings: `address` (`local`: started here), `cpus`, `devices`, `memory_gib` of an embedded
            session, `study` of a standing cluster, and what a `Host` needs.
        folder: for Ray, of an embedded session.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path | None) -> None:
        self._settings = settings
        self._embedded = settings["address"] == "local"
        self._hosts: list[RayHost] = []
        """Those that live or are starting."""
        self._host_of: dict[str, RayHost | str] = {}
        """Attempt -> host; the name alone where no host of that name lived when it was adopted."""
        self._work_of: dict[str, Path] = {}
        self._lost = Lost()
        self._identity = {"digest": settings["digest"], "versions": library_versions()}
        self._draining: set[str] = set()
        self._broken_nodes: set[str] = set()
        """Nodes on which no host can start."""
        self._drain_looked = time.monotonic()
        self.session = connect(settings, folder)
        if not self._embedded:
            self._hosts = find_hosts(settings["study"], {self._name(node): node for node in self._nodes()})
        self._refresh()
        self._wait_for_first_host()

    def hosts(self) -> list[dict[str, Any]]:
        """The shares of the hosts that take attempts, as JSON; a new node gets a host first."""
        self._refresh()
        return [host.share() for host in self._hosts if host.current and host.node not in self._draining]

    def ready_hosts(self) -> tuple[list[dict[str, Any]], str]:
        """As `hosts`, once their servers have imported everything; and why none will, where all were given up."""
        taking = {share["name"] for share in self.hosts()}
        hosts = [host for host in self._hosts if host.name in taking]
        answers = self._ask(hosts, lambda host: host.actor.server.remote(), KEEP_ALIVE_S)
        for host in hosts:
            ready, host.failed = answers.get(host.token, (host.ready, host.failed))
            host.ready = host.ready or ready
        failed = hosts[0].failed if hosts and all(host.failed for host in hosts) else ""
        return [host.share() for host in hosts if host.ready and not host.failed], failed

    @property
    def starts(self) -> bool:
        """Whether a host, or its server, is still starting, as `ready_hosts` found them."""
        return any(not host.ready and not host.failed for host in self._hosts)

    def submit(self, submissions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Send attempts to their hosts; attempt -> ticket.

        Raises:
            BackendError: a placement on a host that there is not; nothing was started.
        """
        current = {host.name: host for host in self._hosts if host.current}
        by_host: dict[str, list[Mapping[str, Any]]] = {}
        for submission in submissions:
            by_host.setdefault(submission["placement"]["host"], []).append(submission)
        for name in by_host:
            if name not in current:
                raise BackendError(f"there is no host {name!r}; there are {', '.join(map(repr, current)) or 'none'}")
        tickets = {}
        for name, group in by_host.items():
            current[name].actor.start.remote(group)
            for submission in group:
                attempt = submission["attempt"]
                self._host_of[attempt] = current[name]
                self._work_of[attempt] = Path(submission["request"]["work"])
                tickets[attempt] = f"{self.session}/{name}/{current[name].token}/{attempt}"
        return tickets

    def adopt(self, attempts: Sequence[Mapping[str, Any]]) -> None:
        """Answer for attempts of an earlier driver (`Adoption` as JSON)."""
        for one in attempts:
            parts = one["ticket"].split("/")
            name, token = (parts[1], parts[2]) if len(parts) == 4 else (one["placement"]["host"], "")
            found = [host for host in self._hosts if host.name == name and token in ("", host.token)]
            self._host_of[one["attempt"]] = found[0] if found else name
            self._work_of[one["attempt"]] = Path(one["work"])

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of all attempts that were not forgotten."""
        for attempt in forget:
            self._host_of.pop(attempt, None)
            self._work_of.pop(attempt, None)
            self._lost.forget(attempt)
        self._collect_hellos()  # while nothing waits for room nobody asks for `hosts`
        started = [host for host in self._hosts if host.identity is not None]
        answers = self._ask(started, lambda host: host.actor.poll.remote(list(forget)))
        self._stop_on_draining_nodes()
        known: dict[str, dict[str, Any]] = {}
        for host in started:
            answer = answers.get(host.token)
            if answer is not None:
                known.update(answer)
                if all(one["phase"] == "ended" for one in answer.values()):
                    self._ask_outdated_to_leave(host)
        reports = {}
        for attempt, of in self._host_of.items():
            reports[attempt] = known.get(attempt) or self._report_unanswered(attempt, of, answers)
            drained = isinstance(of, RayHost) and of.node in self._draining
            if drained and reports[attempt]["phase"] == "ended":
                reports[attempt] = _preempted(reports[attempt])
        return reports

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        for actor, names in self._by_actor(attempts):
            actor.stop.remote(names)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        for actor, names in self._by_actor(attempts):
            actor.kill.remote(names)

    def close(self) -> None:
        """End all hosts and an embedded Ray; let go of a standing one, whose hosts go on."""
        if self._embedded:
            closing = [host.actor.close.remote() for host in self._hosts]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
            for host in self._hosts:
                remove_group(host.group)
        ray.shutdown()

    def _name(self, node: Mapping[str, Any]) -> str:
        return host_name(node, embedded=self._embedded)

    def _nodes(self) -> list[Mapping[str, Any]]:
        return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]

    def _by_actor(self, attempts: Sequence[str]) -> list[tuple[Any, list[str]]]:
        chosen: dict[str, tuple[Any, list[str]]] = {}
        for attempt in attempts:
            host = self._host_of.get(attempt)
            if isinstance(host, RayHost) and host.died_at is None:
                chosen.setdefault(host.token, (host.actor, []))[1].append(attempt)
        return list(chosen.values())

    def _ask(
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

    def _refresh(self) -> None:
        """Take up hosts that have started, and give every living node one."""
        self._collect_hellos()
        # A host that has ended by itself must be seen to have, before anything is placed on it.
        answers = self._ask(
            [host for host in self._hosts if host.identity], lambda host: host.actor.keep_alive.remote(), KEEP_ALIVE_S
        )
        for host in list(self._hosts):
            if not answers.get(host.token, True):
                self._ask_outdated_to_leave(host)
        nodes = self._nodes()
        held = {host.name for host in self._hosts}
        for node in nodes:
            if self._name(node) not in held and node["NodeID"] not in self._draining | self._broken_nodes:
                self._hosts.append(start_host(node, self._settings))

    def _collect_hellos(self) -> None:
        for host in list(self._hosts):
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
                words = f"the host on {host.name} does not start: {_last_line(error)}"
                if not self._hosts:
                    raise BackendError(words) from error
                print(words, file=sys.stderr, flush=True)  # the other nodes do
            return
        host.current = {key: host.identity[key] for key in self._identity} == self._identity

    def _wait_for_first_host(self) -> None:
        """Wait for the first host, and for each that was found and is to be judged by its code.

        Raises:
            BackendError: no host starts; says what stands in the way.
        """
        deadline = time.monotonic() + START_S
        for host in list(self._hosts):
            if host.identity is None and not self._embedded:
                self._collect_hello(host, HELLO_S)
        while not any(host.identity for host in self._hosts) and self._hosts:
            if time.monotonic() > deadline:
                waiting = ", ".join(f"{host.name} ({host.cpus} cpus)" for host in self._hosts)
                free = ray.available_resources().get("CPU", 0.0)
                raise BackendError(
                    f"no host has started within {START_S:g} s; asked for are {waiting}, and {free:g} cpus of the "
                    "cluster are free: others hold the rest; wait for them, or see `ray status`"
                )
            self._collect_hello(self._hosts[0], 0.5)
            for host in list(self._hosts[1:]):
                self._collect_hello(host)

    def _ask_outdated_to_leave(self, host: RayHost) -> None:
        """End an idle host of other code or libraries, so that one of ours can start on its node."""
        if not host.current and not host.asked_to_end:
            host.asked_to_end = True
            host.actor.leave.remote()

    def _mark_dead(self, host: RayHost, error: RayActorError) -> None:
        host.died_at = time.monotonic()
        host.current = False
        self._hosts.remove(host)
        node = next((node for node in ray.nodes() if node["NodeID"] == host.node), None)
        if node is not None and not node["Alive"]:
            words = node.get("DeathReasonMessage") or "Ray does not say why"
            host.why = f"the node of {host.name} died: {words}"
        else:
            host.why = f"the host on {host.name} died"
        preempted = node is not None and not node["Alive"] and node.get("DeathReason") == PREEMPTED
        if preempted or error.preempted or host.node in self._draining:
            host.ending = "preempted"
        remove_group(host.group)

    def _report_unanswered(self, attempt: str, host: RayHost | str, answers: Mapping[str, Any]) -> dict[str, Any]:
        """The report of an attempt that no answer mentions."""
        work = self._work_of[attempt]
        if isinstance(host, str):
            why = f"no host {host} lives any more"
            return self._lost.report(attempt, work, ending="node_lost", why=why)
        if host.died_at is not None:
            return self._lost.report(attempt, work, ending=host.ending, why=host.why)
        if host.token not in answers:
            return {"attempt": attempt, "phase": "unknown", "detail": f"the host on {host.name} does not answer"}
        known = ended_report(attempt, work)
        return known or {"attempt": attempt, "phase": "missing", "detail": f"the host on {host.name} does not know it"}

    def _stop_on_draining_nodes(self) -> None:
        """Ask attempts on nodes that are about to be taken away to save and end."""
        if self._embedded or time.monotonic() - self._drain_looked < DRAIN_LOOK_S:
            return
        self._drain_looked = time.monotonic()
        draining = set(ray._private.state.state.get_draining_nodes())
        for host in self._hosts:
            if host.node in draining - self._draining:
                own = [attempt for attempt, of in self._host_of.items() if of is host]
                host.actor.stop.remote(own)
        self._draining |= draining


def _preempted(report: dict[str, Any]) -> dict[str, Any]:
    """An attempt that was stopped because its node is taken away was preempted."""
    if report["ending"] != "interrupted":
        return report
    return {**report, "ending": "preempted", "detail": f"its node is being taken away; {report['detail']}"}


def _last_line(error: Exception) -> str:
    """The last line of an error that comes with a traceback of another process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
