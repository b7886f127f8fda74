"""Attempts over several hosts of a Ray cluster: their exchange by messages between host actors, and one report of them.

The hosts ask one another directly, so that a gang ends as it should while no driver is there.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.backends.ray.environment import EXCHANGE_GROUP
from orchestrator.host.exchange import NodeNews

ASK_S = 0.5
"""Between two questions to a host."""
SILENT_S = 6.0
"""A host that has not answered for so long is lost to the others: its node is cut off or stopped."""
REFUSED_S = 2.0
"""The same where its process cannot be reached at all: it has died, and Ray has not found out yet."""
UNREACHABLE_S = 5.0
"""For the share of a host that the driver cannot reach to have ended, once another one has."""


class ActorExchange:
    """One node's side of the exchange; a thread asks the other hosts for their news.

    Args:
        attempt: its id.
        node: number of this one.
        peers: the host actors of the others, by number.
    """

    def __init__(self, attempt: str, node: int, peers: Mapping[int, Any]) -> None:
        self._attempt = attempt
        self._node = node
        self._told: NodeNews = {}
        self._heard: dict[int, NodeNews] = {}
        self._lost: dict[int, str] = {}
        self._closed = threading.Event()
        for number, peer in peers.items():
            if number != node:
                asking = threading.Thread(target=self._ask, args=(number, peer), name=f"node {number}", daemon=True)
                asking.start()

    @property
    def told(self) -> NodeNews:
        """What this node has told."""
        return self._told

    def tell(self, news: NodeNews) -> None:
        """See `Exchange`."""
        self._told = {**self._told, **news}

    def heard(self) -> Mapping[int, NodeNews]:
        """See `Exchange`."""
        return dict(self._heard)

    def lost(self) -> Mapping[int, str]:
        """See `Exchange`."""
        return dict(self._lost)

    def close(self) -> None:
        """See `Exchange`."""
        self._closed.set()

    def _ask(self, number: int, peer: Any) -> None:
        """Ask one host until the attempt has ended here, or that host is lost."""
        import ray
        from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayError

        answered, why = time.monotonic(), ""
        while not self._closed.wait(ASK_S):
            try:
                news = ray.get(
                    peer.told.options(concurrency_group=EXCHANGE_GROUP).remote(self._attempt, self._node),
                    timeout=SILENT_S,
                )
                answered = time.monotonic()
                if news is not None:
                    self._heard[number] = news
                continue
            except GetTimeoutError:
                why = f"it has not answered for {SILENT_S:g} s"
            except ActorDiedError:
                why = "its host has died"
            except ActorUnavailableError:
                if time.monotonic() - answered > REFUSED_S:
                    why = "its host cannot be reached"
            except RayError as error:
                why = f"its host does not answer: {type(error).__name__}"
            if why:
                self._lost[number] = why
                return


def shares_of(submission: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A submission as each of its hosts gets it, by node; of one host it stays as it is."""
    placement, resources = submission["placement"], submission["resources"]
    parts = [placement, *placement["others"]]
    if len(parts) == 1:
        return [dict(submission)]
    names = tuple(part["host"] for part in parts)
    memory_gib = resources["memory_gib"] / len(parts)
    return [
        {
            **submission,
            "placement": {**part, "others": ()},
            "resources": {**resources, "memory_gib": memory_gib},
            "node": {"node": number, "nodes": len(parts), "names": names},
        }
        for number, part in enumerate(parts)
    ]


def share_name(attempt: str, number: int) -> str:
    """What the driver calls the share of an attempt that is on its host of this number."""
    return f"{attempt}#{number}" if number else attempt


class GangReports:
    """One report of each attempt over several hosts, from those of its hosts."""

    def __init__(self) -> None:
        self._over_since: dict[str, float] = {}

    def forget(self, attempt: str) -> None:
        """An attempt whose end has been reported."""
        self._over_since.pop(attempt, None)

    def report(self, attempt: str, reports: Sequence[Mapping[str, Any]], lost: Mapping[int, str]) -> dict[str, Any]:
        """The fields of its `Report`: it has ended when all its shares have, as far as they can be reached.

        Args:
            attempt: its id.
            reports: of each host, that of rank 0 first.
            lost: number -> name of the hosts of which Ray says that they have died.
        """
        leader = dict(reports[0])
        ended = [one for one in reports if one["phase"] == "ended"]
        if leader["phase"] == "ended" and leader["ending"] == "ok":
            return leader
        if not any(one["ending"] != "ok" for one in ended):
            return leader
        since = self._over_since.setdefault(attempt, time.monotonic())
        silent = all(one["phase"] in ("ended", "unknown", "missing") for one in reports)
        if len(ended) < len(reports) and not (silent and time.monotonic() - since > UNREACHABLE_S):
            return leader if leader["phase"] != "ended" else {"attempt": attempt, "phase": "running"}
        return _end_of(reports, lost)


def _end_of(reports: Sequence[Mapping[str, Any]], lost: Mapping[int, str]) -> dict[str, Any]:
    """The end of an attempt of which a share has ended badly: as the first host that lives tells it.

    Where that blames a node of which Ray says how it was lost, Ray's words are better.
    """
    told = [one for number, one in enumerate(reports) if one["phase"] == "ended" and number not in lost]
    bad = next((one for one in told if one["ending"] != "ok"), None)
    if lost and (bad is None or bad["ending"] in ("node_lost", "interrupted", "error")):
        number, name = min(lost.items())
        found = reports[number]  # unknown as long as its ranks may live: those of the others have ended
        if found["phase"] != "ended":
            found = {**found, "phase": "ended", "ending": "node_lost", "ended": time.time()}
        return {**found, "failed_on": name if len(lost) < len(reports) else ""}  # all of them: the cluster's end
    assert bad is not None
    return dict(bad)
