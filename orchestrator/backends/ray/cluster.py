"""The Ray cluster: a host actor per node, messages to them, and detection of those that died.

Only the child process imports this file, and with it ray. `lost` decides when an attempt whose host does
not respond has ended.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.environment import SETTINGS

os.environ.update(SETTINGS)  # before ray is imported; an embedded one inherits them

import ray

from orchestrator.backends.ray.apart import NodesApart
from orchestrator.backends.ray.connect import connect
from orchestrator.backends.ray.demand import Demand
from orchestrator.backends.ray.growth import Need, Space, nodes_to_add, space_of
from orchestrator.backends.ray.hosts import RayHost, remove_group
from orchestrator.backends.ray.lost import Lost, ended_report
from orchestrator.backends.ray.membership import KEEP_ALIVE_S, Membership
from orchestrator.errors import BackendError

CLOSE_S = 3.0
DRAIN_LOOK_S = 5.0


class RayCluster:
    """Ray with one host per node.

    Args:
        settings: `address` (`local`: started here), `cpus`, `devices`, `memory_gib` of an embedded
            session, `study` of a standing cluster, and what a `Host` needs.
        folder: for Ray, of an embedded session.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path | None) -> None:
        self._embedded = settings["address"] == "local"
        self._host_of: dict[str, RayHost | str] = {}
        """Attempt -> host; the name alone where no host of that name lived when it was adopted."""
        self._work_of: dict[str, Path] = {}
        self._lost = Lost()
        self._apart = NodesApart()
        self._drain_looked = time.monotonic()
        self.session = connect(settings, folder)
        self._hosts = Membership(settings)
        self._types = settings["node_types"]
        self._demand = Demand(self._types) if self._types else None
        self._needs: dict[str, Need] = {}
        """What live attempts hold of their hosts."""

    def hosts(self, waiting: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The shares of the hosts that take attempts, as JSON, and what the autoscaler was asked for, for people.

        A new node gets a host first. Where there is an autoscaler, shares that are to come are among them.

        Args:
            waiting: what ready jobs need, and how many of them: `need` as the fields of `Need`, and `number`.
        """
        needs = [(Need(*one["need"]), one["number"]) for one in waiting]
        self._hosts.refresh([need for need, _ in needs])
        shares = [host.share() for host in self._hosts.taking]
        if self._demand is None:
            return {"hosts": shares, "requested": ""}
        if needs or self._demand.asks:
            self._demand.ask(nodes_to_add(needs, self._free(), self._types))
        return {"hosts": shares + self._hosts.to_come(), "requested": self._demand.text()}

    def withdraw(self) -> None:
        """Nothing waits: ask the autoscaler for nothing."""
        if self._demand is not None:
            self._demand.ask({})

    def _free(self) -> list[Space]:
        """What attempts leave of each host that lives or is starting."""
        stay = [host for host in self._hosts.living if host.node not in self._hosts.draining]
        free = {host.token: space_of(host.share()) for host in stay}
        for attempt, need in self._needs.items():
            host = self._host_of.get(attempt)
            if isinstance(host, RayHost) and host.token in free:
                free[host.token].take(need)
        return list(free.values())

    def ready_hosts(self) -> tuple[list[dict[str, Any]], str]:
        """As `hosts`, once their servers have imported everything; and why none will, where all were given up."""
        self._hosts.refresh()
        hosts = self._hosts.taking
        answers = self._hosts.ask(hosts, lambda host: host.actor.server.remote(), KEEP_ALIVE_S)
        for host in hosts:
            ready, host.failed = answers.get(host.token, (host.ready, host.failed))
            host.ready = host.ready or ready
        failed = hosts[0].failed if hosts and all(host.failed for host in hosts) else ""
        return [host.share() for host in hosts if host.ready and not host.failed], failed

    @property
    def starts(self) -> bool:
        """Whether a host, or its server, is still starting, as `ready_hosts` found them."""
        return any(not host.ready and not host.failed for host in self._hosts.living)

    def submit(self, submissions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Send attempts to their hosts; attempt -> ticket.

        Raises:
            BackendError: a placement on a host that there is not; nothing was started.
        """
        current = {host.name: host for host in self._hosts.living if host.current}
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
                self._needs[attempt] = need_on_a_host(submission)
                tickets[attempt] = f"{self.session}/{name}/{current[name].token}/{attempt}"
        return tickets

    def adopt(self, attempts: Sequence[Mapping[str, Any]]) -> None:
        """Answer for attempts of an earlier driver (`Adoption` as JSON)."""
        for one in attempts:
            parts = one["ticket"].split("/")
            name, token = (parts[1], parts[2]) if len(parts) == 4 else (one["placement"]["host"], "")
            found = [host for host in self._hosts.living if host.name == name and token in ("", host.token)]
            self._host_of[one["attempt"]] = found[0] if found else name
            self._work_of[one["attempt"]] = Path(one["work"])
            held = one["placement"]
            self._needs[one["attempt"]] = Need(held["cpus"], len(held["devices"]), 0.0)

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of all attempts that were not forgotten."""
        for attempt in forget:
            self._host_of.pop(attempt, None)
            self._work_of.pop(attempt, None)
            self._lost.forget(attempt)
            self._apart.forget(attempt)
        self._hosts.collect_hellos()  # while nothing waits for room nobody asks for `hosts`
        started = [host for host in self._hosts.living if host.identity is not None]
        answers = self._hosts.ask(started, lambda host: host.actor.poll.remote(list(forget)))
        self._apart.fetch(self._hosts, answers, self._host_of, self._work_of)
        self._stop_on_draining_nodes()
        known: dict[str, dict[str, Any]] = {}
        for host in started:
            answer = answers.get(host.token)
            if answer is not None:
                known.update(answer)
                if all(one["phase"] == "ended" for one in answer.values()):
                    self._hosts.end_if_outdated(host)
        reports = {}
        for attempt, of in self._host_of.items():
            answered = known.get(attempt)
            if answered is None:
                reports[attempt] = self._report_unanswered(attempt, of, answers)
            elif isinstance(of, RayHost) and of.apart:
                reports[attempt] = self._apart.report(answered, of)
            else:
                reports[attempt] = answered
            if reports[attempt]["phase"] == "ended":
                self._needs.pop(attempt, None)
            drained = isinstance(of, RayHost) and of.node in self._hosts.draining
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
            closing = [host.actor.close.remote() for host in self._hosts.living]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
            for host in self._hosts.living:
                remove_group(host.group)
        ray.shutdown()

    def _by_actor(self, attempts: Sequence[str]) -> list[tuple[Any, list[str]]]:
        chosen: dict[str, tuple[Any, list[str]]] = {}
        for attempt in attempts:
            host = self._host_of.get(attempt)
            if isinstance(host, RayHost) and host.died_at is None:
                chosen.setdefault(host.token, (host.actor, []))[1].append(attempt)
        return list(chosen.values())

    def _report_unanswered(self, attempt: str, host: RayHost | str, answers: Mapping[str, Any]) -> dict[str, Any]:
        """The report of an attempt that no answer mentions."""
        work = self._work_of[attempt]
        if isinstance(host, str):
            why = f"the host {host} has ended"
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
        for host in self._hosts.living:
            if host.node in draining - self._hosts.draining:
                own = [attempt for attempt, of in self._host_of.items() if of is host]
                host.actor.stop.remote(own)
        self._hosts.draining |= draining


def need_on_a_host(submission: Mapping[str, Any]) -> Need:
    """What an attempt holds of its host."""
    return Need(*(submission["resources"][key] for key in ("cpus", "devices", "memory_gib")))


def _preempted(report: dict[str, Any]) -> dict[str, Any]:
    """An attempt that was stopped because its node is taken away was preempted."""
    if report["ending"] != "interrupted":
        return report
    return {**report, "ending": "preempted", "detail": f"its node is being taken away; {report['detail']}"}
