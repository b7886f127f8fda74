"""The Ray cluster: a host actor per node, messages to them, and detection of those that died.

Only the child process imports this file, and with it ray. `lost` decides when an attempt whose host does
not respond has ended.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.free_share import FreeShare
from orchestrator.backends.ray.environment import SETTINGS

os.environ.update(SETTINGS)  # before ray is imported; an embedded one inherits them

import ray

from orchestrator.backends.ray.apart import NodesApart
from orchestrator.backends.ray.connect import connect
from orchestrator.backends.ray.demand import Demand
from orchestrator.backends.ray.gang import GangReports, share_name, shares_of
from orchestrator.backends.ray.growth import Need, nodes_to_add, space_of
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
        self._hosts_of: dict[str, tuple[RayHost | str, ...]] = {}
        """Attempt -> hosts, that of rank 0 first; the name alone where none of that name lived when it was adopted."""
        self._work_of: dict[str, Path] = {}
        self._of_another_head: set[str] = set()
        """Attempts that an earlier cluster at the same address ran."""
        self._lost = Lost(apart=not self._embedded and settings["store"]["kind"] != "files")
        self._gangs = GangReports()
        self._apart = NodesApart()
        self._drain_looked = time.monotonic()
        self.session = connect(settings, folder)
        self._hosts = Membership(settings)
        self._types = settings["node_types"]
        self._demand = Demand(self._types) if self._types else None
        self._needs: dict[str, Need] = {}
        """What live attempts hold of each of their hosts."""

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

    def _free(self) -> list[FreeShare]:
        """What attempts leave of each host that lives or is starting."""
        stay = [host for host in self._hosts.living if host.node not in self._hosts.draining]
        free = {host.token: space_of(host.share()) for host in stay}
        for attempt, need in self._needs.items():
            for host in self._hosts_of.get(attempt, ()):
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
        hosts_of: dict[str, list[str]] = {}
        needs: dict[str, Need] = {}
        for submission in submissions:
            for share in shares_of(submission):
                name = share["placement"]["host"]
                by_host.setdefault(name, []).append(share)
                needs[share["attempt"]] = need_on_a_host(share)
                hosts_of.setdefault(submission["attempt"], []).append(name)
        for name in by_host:
            if name not in current:
                raise BackendError(f"there is no host {name!r}; there are {', '.join(map(repr, current)) or 'none'}")
        peers = {
            attempt: {number: current[name].actor for number, name in enumerate(names)}
            for attempt, names in hosts_of.items()
            if len(names) > 1
        }
        for name, group in by_host.items():
            own = {share["attempt"]: peers[share["attempt"]] for share in group if share["attempt"] in peers}
            current[name].actor.start.remote(group, own)
        tickets = {}
        for submission in submissions:
            attempt = submission["attempt"]
            hosts = tuple(current[name] for name in hosts_of[attempt])
            self._hosts_of[attempt] = hosts
            self._work_of[attempt] = Path(submission["request"]["work"])
            self._needs[attempt] = needs[attempt]
            tokens = "+".join(host.token for host in hosts)
            tickets[attempt] = f"{self.session}/{hosts[0].name}/{tokens}/{attempt}"
        return tickets

    def adopt(self, attempts: Sequence[Mapping[str, Any]]) -> None:
        """Answer for attempts of an earlier driver (`Adoption` as JSON)."""
        for one in attempts:
            ticket, placement = one["ticket"].split("/"), one["placement"]
            names = [part["host"] for part in (placement, *placement["others"])]
            tokens = ticket[2].split("+") if len(ticket) == 4 else [""] * len(names)
            if "@" in ticket[0] and ticket[0] != self.session:
                self._of_another_head.add(one["attempt"])
            self._hosts_of[one["attempt"]] = tuple(map(self._living_host, names, tokens))
            self._work_of[one["attempt"]] = Path(one["work"])
            self._needs[one["attempt"]] = Need(placement["cpus"], len(placement["devices"]), 0.0)

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of all attempts that were not forgotten."""
        for attempt in forget:
            for number in range(len(self._hosts_of.pop(attempt, ()))):
                self._apart.forget(share_name(attempt, number))
            self._work_of.pop(attempt, None)
            self._of_another_head.discard(attempt)
            self._lost.forget(attempt)
            self._gangs.forget(attempt)
        self._hosts.collect_hellos()  # while nothing waits for room nobody asks for `hosts`
        started = [host for host in self._hosts.living if host.identity is not None]
        answers = self._hosts.ask(started, lambda host: host.actor.poll.remote(list(forget)))
        shares = [(attempt, number, host) for attempt, of in self._hosts_of.items() for number, host in enumerate(of)]
        host_of = {share_name(attempt, number): host for attempt, number, host in shares}
        works = {share_name(attempt, number): self._work_of[attempt] for attempt, number, _ in shares}
        self._apart.fetch(self._hosts, answers, host_of, works)
        self._stop_on_draining_nodes()
        for host in started:
            answer = answers.get(host.token)
            if answer is not None and all(one["phase"] == "ended" for one in answer.values()):
                self._hosts.end_if_outdated(host)
        return {attempt: self._report(attempt, hosts, answers) for attempt, hosts in self._hosts_of.items()}

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
            for host in self._hosts_of.get(attempt, ()):
                if isinstance(host, RayHost) and host.died_at is None:
                    chosen.setdefault(host.token, (host.actor, []))[1].append(attempt)
        return list(chosen.values())

    def _living_host(self, name: str, token: str) -> RayHost | str:
        """The host of this name, and of this token where there is one; the name where none lives."""
        found = [host for host in self._hosts.living if host.name == name and token in ("", host.token)]
        return found[0] if found else name

    def _report(
        self, attempt: str, hosts: Sequence[RayHost | str], answers: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The report of an attempt from what its hosts have answered; token -> answer."""
        alone = len(hosts) == 1
        shares = [self._report_of(attempt, number, host, answers, alone) for number, host in enumerate(hosts)]
        lost = {number: _name(host) for number, host in enumerate(hosts) if _is_lost(host)}
        report = shares[0] if alone else self._gangs.report(attempt, shares, lost)
        if report["phase"] == "ended" and any(
            isinstance(host, RayHost) and host.apart and share["phase"] == "running"
            for host, share in zip(hosts, shares, strict=True)
        ):  # its log is still to be fetched
            report = {**report, "phase": "running", "ending": None, "detail": "", "ended": None}
        if report["phase"] == "ended":
            self._needs.pop(attempt, None)
        living = [host for host in hosts if isinstance(host, RayHost)]
        for host in living:
            if report.get("ending") == "node_lost" and host.name == report.get("failed_on"):
                host.suspected = True  # Ray takes a while to find out that a node is gone
        drained = any(host.node in self._hosts.draining for host in living)
        return _preempted(report) if drained and report["phase"] == "ended" else report

    def _report_of(
        self, attempt: str, number: int, host: RayHost | str, answers: Mapping[str, Mapping[str, Any]], alone: bool
    ) -> dict[str, Any]:
        """The report of an attempt's share, the one of this number, as its host answered or as is known without.

        `alone`: it has no other.
        """
        work = self._work_of[attempt]
        if isinstance(host, str):
            ended = ", with the head of its cluster, which was started again" * (attempt in self._of_another_head)
            why = f"the host {host} has ended{ended}"
            return self._lost.report(attempt, work, number, ending="node_lost", why=why)
        if host.died_at is not None:
            return self._lost.report(attempt, work, number, ending=host.ending, why=host.why)
        if host.token not in answers:
            return {"attempt": attempt, "phase": "unknown", "detail": f"the host on {host.name} does not answer"}
        answered = answers[host.token].get(attempt)
        if answered is not None:
            if not host.apart:
                return dict(answered)
            return self._apart.report(answered, host, share_name(attempt, number), alone=alone)
        known = ended_report(attempt, work, number)
        return known or {"attempt": attempt, "phase": "missing", "detail": f"the host on {host.name} does not know it"}

    def _stop_on_draining_nodes(self) -> None:
        """Ask attempts on nodes that are about to be taken away to save and end."""
        if self._embedded or time.monotonic() - self._drain_looked < DRAIN_LOOK_S:
            return
        self._drain_looked = time.monotonic()
        draining = set(ray._private.state.state.get_draining_nodes())
        for host in self._hosts.living:
            if host.node in draining - self._hosts.draining:
                self.stop([attempt for attempt, hosts in self._hosts_of.items() if host in hosts])
        self._hosts.draining |= draining


def _name(host: RayHost | str) -> str:
    return host if isinstance(host, str) else host.name


def _is_lost(host: RayHost | str) -> bool:
    return isinstance(host, str) or host.died_at is not None


def need_on_a_host(share: Mapping[str, Any]) -> Need:
    """What an attempt, or its share, holds of its host."""
    placement = share["placement"]
    return Need(placement["cpus"], len(placement["devices"]), share["resources"]["memory_gib"])


def _preempted(report: dict[str, Any]) -> dict[str, Any]:
    """An attempt that was stopped because its node is taken away was preempted."""
    if report["ending"] != "interrupted":
        return report
    return {**report, "ending": "preempted", "detail": f"its node is being taken away; {report['detail']}"}
