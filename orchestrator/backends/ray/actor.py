"""The host actor: one node's share, held by a placement group, serving many jobs.

It is a `Node` that Ray has started; every method returns at once.

On a standing cluster it lives without a driver: attempts go on, and it remembers how they ended
until a driver has recorded it. It ends by itself when it has had nothing to do for `idle_s` while no
driver waits for room, and when no driver has asked for `orphan_s`: then it asks its attempts to
save, publishes what ends well, and releases its node.
"""

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.ray.gang import ActorExchange
from orchestrator.host.attempt_files import read_pieces
from orchestrator.host.description import node_of
from orchestrator.host.exchange import NodeNews
from orchestrator.host.libraries import library_versions
from orchestrator.host.machine import VISIBLE, visible_devices

LOOK_S = 0.5
PUBLISH_S = 120.0  # beyond the grace of its attempts, for what ended well to be published
RELEASED_S = 10.0  # for Ray to end the actor whose group was removed
OOM_SCORE = Path("/proc/self/oom_score_adj")
"""Who is killed first where the kernel runs out of memory."""


class Host:
    """What runs on each node (`entry.class_of_host`)."""

    def __init__(self, settings: Mapping[str, Any], devices: int) -> None:
        """Start the warm server first: it imports for seconds, meanwhile everything else goes on.

        Args:
            settings: those of `host.description`; of a standing cluster `orphan_s` and `idle_s` too, and `home_here`
                and `scratch_gib` on a node that does not see the study's folder.
            devices: of the share; Ray names them in CUDA_VISIBLE_DEVICES.
        """
        with contextlib.suppress(OSError):  # at Ray's 1000 it and its server would be killed for memory before any rank
            OOM_SCORE.write_text(
                Path(f"/proc/{os.getppid()}/oom_score_adj").read_text(encoding="ascii"), encoding="ascii"
            )
        visible = visible_devices(os.environ.get(VISIBLE, "")) if devices else ()
        self._digest = settings["digest"]
        self._exchanges: dict[str, ActorExchange] = {}
        address = "" if settings["address"] == "local" else _address_of_node()
        self._node = node_of(settings, visible=visible, records_endings=True, address=address)
        self._contacted = self._wanted = time.monotonic()
        self._leaving = threading.Event()
        if settings["address"] != "local":
            with contextlib.suppress(PermissionError):  # at Ray's 15 it gets no processor beside any busy process
                os.setpriority(os.PRIO_PROCESS, 0, 0)
            watching = threading.Thread(
                target=self._watch_need, args=(settings["orphan_s"], settings["idle_s"]), name="orphan", daemon=True
            )
            watching.start()

    def hello(self) -> dict[str, Any]:
        """Its identity: a driver places attempts only on hosts with its own code and libraries."""
        self._contacted = time.monotonic()
        versions = library_versions()
        return {"pid": os.getpid(), "digest": self._digest, "versions": versions, "apart": self._node.apart}

    def keep_alive(self, wanted: bool) -> bool:
        """Take note of a driver whose jobs wait for room. Returns whether any attempt has not ended.

        Args:
            wanted: whether one of these jobs fits here; then an idle host stays.
        """
        self._contacted = time.monotonic()
        if wanted:
            self._wanted = self._contacted
        return self._node.busy

    def server(self) -> tuple[bool, str]:
        """Whether the warm server has imported everything; why it was given up, if it was."""
        return self._node.server_ready, self._node.server_failure

    def start(
        self, submissions: Sequence[Mapping[str, Any]], peers: Mapping[str, Mapping[int, Any]] | None = None
    ) -> None:
        """Take attempts, or this host's shares of them (`gang.shares_of`).

        Args:
            submissions: as JSON.
            peers: attempt -> number -> host actor, of attempts over several hosts.
        """
        self._wanted = time.monotonic()
        for submission in submissions:
            attempt = str(submission["attempt"])
            if attempt in self._exchanges or not (peers and attempt in peers):
                self._node.start(submission)
                continue
            exchange = ActorExchange(attempt, submission["node"]["node"], peers[attempt])
            self._exchanges[attempt] = exchange
            self._node.start(submission, exchange)

    def told(self, attempt: str, _by: int) -> NodeNews | None:
        """What this host tells the others of an attempt; None: it does not know it (yet)."""
        exchange = self._exchanges.get(attempt)
        return None if exchange is None else exchange.told

    def poll(self, forget: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Drop what the driver has recorded, and report the rest.

        Args:
            forget: attempts whose end the driver has recorded.
        """
        self._contacted = time.monotonic()
        self._node.forget(forget)
        for attempt in forget:
            self._exchanges.pop(attempt, None)
        return self._node.poll()

    def files(self, wanted: Mapping[str, Mapping[str, Any]], limit: int) -> dict[str, dict[str, Any]]:
        """What the driver lacks of attempts' files, bounded; for nodes that do not see the study's folder.

        Args:
            wanted: as of `FilesOfAttempts.wanted`.
            limit: bytes, see `read_pieces`.
        """
        places = {attempt: self._node.folder_here(Path(one["work"])) for attempt, one in wanted.items()}
        found = read_pieces({places[attempt]: one["have"] for attempt, one in wanted.items()}, limit)
        return {attempt: found[place] for attempt, place in places.items()}

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        self._node.stop(attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._node.kill(attempts)

    def close(self) -> None:
        """End everything."""
        self._node.close()

    def leave(self) -> None:
        """End a host that runs nothing: a new one takes its place."""
        self._leaving.set()

    def _watch_need(self, orphan_s: float, idle_s: float) -> None:
        """End this host when nobody needs it."""
        busy_at = time.monotonic()
        while not self._leaving.wait(LOOK_S):
            now = time.monotonic()
            if self._node.busy or (self._node.apart and self._node.poll()):  # what has ended is to be fetched
                busy_at = now
            if now - self._contacted > orphan_s:
                self._end_attempts()
                break
            if now - max(busy_at, self._wanted) > idle_s:
                break
        self._node.close()
        release_node()

    def _end_attempts(self) -> None:
        self._digest = ""  # a driver that finds this host now places nothing on it: it would be cut off
        names = list(self._node.poll())
        self._node.stop(names)
        deadline = time.monotonic() + PUBLISH_S + self._node.longest_grace()
        while self._node.busy and time.monotonic() < deadline:
            time.sleep(LOOK_S)


def _address_of_node() -> str:
    """The address at which Ray's own processes reach this node."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def release_node() -> None:
    """Remove this actor's placement group; Ray ends the actor with it."""
    from ray.util import get_current_placement_group
    from ray.util.placement_group import remove_placement_group

    with contextlib.suppress(Exception):  # Ray may be gone: then so is the group
        remove_placement_group(get_current_placement_group())
    time.sleep(RELEASED_S)
    os._exit(0)
