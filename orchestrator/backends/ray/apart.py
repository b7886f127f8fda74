"""Nodes that do not see the study's folder: logs, metrics and endings are fetched from their hosts at each poll.

An attempt has ended for the driver once everything of it is here, or when `GIVE_UP_S` have passed: then its report says
what is missing. A host that has taken another's place on its node hands out what that one has left there. Each share of
an attempt over several hosts (`gang.share_name`) is fetched by itself; no file has the same name in two of them.
"""

import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.hosts import RayHost
from orchestrator.backends.ray.membership import Membership
from orchestrator.host.attempt_files import PIECES, SMALL, FilesOfAttempts

AT_ONCE = 64 << 20
"""Bytes that all hosts send for one poll."""
ANSWER_S = 3.0  # beside the time of the poll itself, for which the driver waits ten seconds
GIVE_UP_S = 120.0
"""After an attempt's end, until it is reported without what has not arrived."""


class NodesApart:
    """What has been fetched of the attempts on such nodes."""

    def __init__(self) -> None:
        self._files = FilesOfAttempts()
        self._ended: dict[str, float] = {}
        """Share -> monotonic clock at which its end was first reported, s."""
        self._limits: dict[str, int] = {}
        """Token of a host -> bytes that it is asked for: fewer where an answer did not come in time."""

    def fetch(
        self,
        hosts: Membership,
        answered: Container[str],
        host_of: Mapping[str, RayHost | str],
        work_of: Mapping[str, Path],
    ) -> None:
        """Ask the hosts for what is missing, and write it into the attempts' folders.

        Args:
            hosts: of the cluster.
            answered: tokens of the hosts that have just answered: no other is waited for.
            host_of: share of an attempt -> its host, or the host's name.
            work_of: the same -> the attempt's folder on this machine.
        """
        apart = {host.name: host for host in hosts.living if host.apart and host.token in answered}
        if not apart:
            return
        works: dict[str, dict[str, Path]] = {}
        for share, of in host_of.items():
            works.setdefault(of.name if isinstance(of, RayHost) else of, {})[share] = work_of[share]
        asked = [host for name, host in apart.items() if name in works]
        most = min(PIECES, AT_ONCE // max(len(asked), 1))
        limits = {host.token: min(self._limits.get(host.token, most), most) for host in asked}

        def files(host: RayHost) -> Any:
            return host.actor.files.remote(self._files.wanted(works[host.name]), limits[host.token])

        answers = hosts.ask(asked, files, ANSWER_S)
        for token, limit in limits.items():
            self._limits[token] = limit * 2 if token in answers else max(limit // 2, SMALL)
        for answer in answers.values():
            self._files.take(answer)

    def report(self, answered: Mapping[str, Any], host: RayHost, share: str, *, alone: bool) -> dict[str, Any]:
        """A host's report of an attempt: it runs on until everything of it is here.

        Then the host may forget it: from now on `ended.json` here tells how it ended, also to another driver. Of
        several hosts none forgets yet, for the others may still ask it.

        Args:
            answered: what the host has said, before `fetch`.
            host: of the attempt.
            share: of the attempt, on this host.
            alone: the attempt has no other.
        """
        attempt = answered["attempt"]
        if answered["phase"] != "ended":
            return dict(answered)
        waited = time.monotonic() - self._ended.setdefault(share, time.monotonic())
        if not self._files.complete(share) and waited < GIVE_UP_S:
            beat = answered["heartbeat"] or {"step": 0, "of": 0}
            beat = {**beat, "phase": "fetching its log", "counter": f"fetching {waited:.0f} s"}
            return {**answered, "phase": "running", "ending": None, "detail": "", "ended": None, "heartbeat": beat}
        if alone:
            host.actor.poll.remote([attempt])
        missing = self._files.missing(share)
        if not missing and not self._files.complete(share):
            missing = "the host does not answer"
        if not missing:
            return dict(answered)
        detail = f"{answered['detail']}; not everything of it was fetched from its node: {missing}"
        return {**answered, "detail": detail.removeprefix("; ")}

    def forget(self, share: str) -> None:
        """A share of an attempt whose end the driver has recorded."""
        self._files.forget(share)
        self._ended.pop(share, None)
