"""Attempts packed into allocations of SLURM: each allocation is a small Ray of its own that takes many of them.

The driver speaks with the agents in the allocations through files alone. It asks for another
allocation while jobs wait for room, and lets go what nobody needs; an allocation that ends touches
its own attempts only, and costs them nothing.
"""

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.backends.protocol import Adoption, Backend, HostShare, Report, Submission
from orchestrator.backends.slurm.core.commands import SlurmSilent
from orchestrator.backends.slurm.core.queue import Queue
from orchestrator.backends.slurm.core.reports import LAST_WORDS_S, ended_of, preempted_if
from orchestrator.backends.slurm.pilot.allocations import Allocations
from orchestrator.backends.slurm.pilot.mailbox import Orders, packs_of
from orchestrator.backends.slurm.pilot.node_resources import pack_of
from orchestrator.backends.slurm.pilot.pilot_state import ending_of_run
from orchestrator.errors import BackendError
from orchestrator.host.description import describe
from orchestrator.host.warm_server import COMMAND
from orchestrator.spec.slurm import KEPT_GIB, Packed
from workloads.contract.metrics import read_beat

PROMISE = "packed"
"""The host that stands for allocations while there is none: it is as large, and takes nothing."""
NOTHING = Packed(cpus=1, memory_gib=KEPT_GIB + 1.0, minutes=1.0, stages=())
"""Where nothing is packed any more: for the allocations of earlier drivers, whose attempts go on."""


@dataclass
class Tracked:
    """An attempt that this driver answers for."""

    work: Path
    pack: str
    restart: int
    """Of the allocation, when the attempt was ordered."""
    end: int
    """Length of the list of orders up to its own; -1: no list has it."""
    over_since: float | None = None
    """Monotonic clock, s, since when its allocation has ended and it has not said how it ended."""
    report: Report | None = None
    """Once it has ended."""


class PackedBackend:
    """Attempts in allocations of SLURM."""

    name = "slurm"
    outlives_driver = True

    def __init__(
        self,
        home: Path,
        store_kind: str,
        store_root: Path,
        cluster: Any,
        code_digest: str = "",
        git: str = "",
        *,
        server: Sequence[str] = COMMAND,
        queue: Queue | None = None,
    ) -> None:
        """Remember the settings; nothing is asked for before the loop looks for room.

        Args:
            home, store_kind, store_root, code_digest, git, server: as in `host.description.describe`; `home` lies on a
                file system that login node and compute nodes share.
            cluster: has `slurm` (`spec.slurm.Slurm`), `grace_s`, `idle_s` and `orphan_s`.
            queue: read by others as well; None: one of its own.
        """
        self._home = home.resolve()
        self._packed = cluster.slurm.packed or NOTHING
        self._description = describe(home, store_kind, store_root, code_digest=code_digest, git=git, server=server)
        self._tracked: dict[str, Tracked] = {}
        self._allocations = Allocations(
            self._home,
            replace(cluster.slurm, packed=self._packed),
            self._description,
            queue or Queue(cluster.slurm.poll_s),
            grace_s=cluster.grace_s,
            idle_s=cluster.idle_s,
            orphan_s=cluster.orphan_s,
        )
        self._told: list[str] = []
        """Attempts whose end we have passed on; the next poll shows that it is booked."""
        self._waits = True
        """Whether what waits for room is of a stage that is packed."""
        self._closed = False

    def waiting_for_room(self, stages: Collection[str]) -> None:
        """What waits: a job that becomes a job of SLURM is no reason for an allocation."""
        self._waits = self._packed.stages is None or not set(stages).isdisjoint(self._packed.stages)

    def asking(self) -> str:
        """Which allocations are on their way."""
        return self._allocations.words()

    def hosts(self) -> Sequence[HostShare]:
        """The nodes of the allocations that serve; where there is none, one that is as large and takes nothing yet.

        Raises:
            BackendError: SLURM has refused an allocation time and again, or none has come so far as to serve.
            SlurmSilent: none serves, and SLURM does not answer.
        """
        now = time.monotonic()
        if self._waits:
            self._allocations.demand.looked(now)
        self._look(now)
        if not self._closed:
            self._allocations.grow(now)
        stages = self._packed.stages
        shares = [
            HostShare(**share, stages=stages)
            for pack in self._allocations.packs.values()
            if pack.takes and pack.said is not None
            for share in pack.said.hosts
        ]
        if not shares and self._allocations.queue.silent:
            raise SlurmSilent(self._allocations.queue.silent)
        return shares or [
            HostShare(
                name=PROMISE,
                cpus=self._packed.cpus,
                devices=self._packed.devices,
                memory_gib=self._packed.memory_gib - KEPT_GIB,
                jobs=0,
                stages=stages,
            )
        ]

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Order attempts of the allocations they are placed in; asking twice for one changes nothing.

        Raises:
            BackendError: a host that is not there (any more), a disk that takes no orders, or this is closed.
        """
        if self._closed:
            raise BackendError("the SLURM backend is closed; make another one")
        by_pack: dict[str, list[Submission]] = {}
        for one in submissions:
            by_pack.setdefault(pack_of(one.placement.host), []).append(one)
        for pack_id, group in by_pack.items():
            pack = self._allocations.packs.get(pack_id)
            names = [] if pack is None or pack.said is None else [str(share["name"]) for share in pack.said.hosts]
            for one in group:
                if one.placement.host not in names:
                    raise BackendError(f"there is no host {one.placement.host!r} any more; nothing was started on it")
        self._allocations.demand.placed()
        for pack_id, group in by_pack.items():
            pack = self._allocations.packs[pack_id]
            new = [one for one in group if one.attempt not in self._tracked]
            for one in new:
                Path(str(one.request["work"])).mkdir(parents=True, exist_ok=True)
            if not new:
                continue
            end = self._allocations.order(pack, "submit", submissions=[asdict(one) for one in new])
            for one in new:
                work = Path(str(one.request["work"]))
                self._tracked[one.attempt] = Tracked(work=work, pack=pack_id, restart=pack.restart, end=end)
        return {one.attempt: self._ticket(one.attempt) for one in submissions}

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver: what it has ordered is in the allocation's list of orders."""
        ordered: dict[str, dict[str, tuple[int, int]]] = {}
        for one in attempts:
            pack_id = pack_of(one.placement.host)
            if pack_id not in ordered:
                ordered[pack_id] = orders_of(packs_of(self._home) / pack_id)
            restart, end = ordered[pack_id].get(one.attempt, (0, -1))
            self._tracked[one.attempt] = Tracked(work=Path(one.work), pack=pack_id, restart=restart, end=end)

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts; SLURM is asked at most every `poll_s`."""
        now = time.monotonic()
        self._look(now)
        self._forget()
        answers: dict[str, Report] = {}
        for attempt, tracked in self._tracked.items():
            answers[attempt] = tracked.report or self._report(attempt, tracked, now)
            if answers[attempt].phase == "ended" and tracked.report is None:
                tracked.report = answers[attempt]
                self._told.append(attempt)
        return answers

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        self._tell("stop", attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._tell("kill", attempts)

    def close(self) -> None:
        """Let go; what runs goes on, and allocations that have not begun are taken out of the queue."""
        if self._closed:
            return
        self._closed = True
        self._allocations.let_go()

    def _look(self, now: float) -> None:
        held = {tracked.pack for tracked in self._tracked.values() if tracked.report is None}
        self._allocations.look(now, held, watching=not self._closed)

    # What the driver says of an attempt

    def _report(self, attempt: str, tracked: Tracked, now: float) -> Report:
        pack = self._allocations.packs.get(tracked.pack)
        said = ended_of(attempt, tracked.work)
        if pack is None or tracked.end < 0:
            return said or Report(attempt=attempt, phase="missing", detail="no allocation that is known has it")
        job = self._allocations.queue.state(pack.ticket)
        if said is not None:
            return preempted_if(said, job) if job is not None and pack.restart == tracked.restart else said
        if pack.restart > tracked.restart:
            ending = ending_of_run(self._allocations.queue.runs(pack.ticket), tracked.restart)
            why = f"SLURM has put allocation {pack.ticket} back into the queue"
            return self._lost(attempt, tracked, Report(attempt=attempt, phase="ended", ending=ending, detail=why), now)
        phase = pack.standing.phase
        raw = None if pack.said is None else pack.said.reports.get(attempt)
        if raw is not None and raw["phase"] == "ended":  # one that did not begin has no other last word
            return Report(**raw)
        if phase == "ended":
            ending = pack.standing.ending
            why = f"allocation {pack.ticket} ended: {pack.standing.words}"
            return self._lost(attempt, tracked, Report(attempt=attempt, phase="ended", ending=ending, detail=why), now)
        if phase == "missing":
            return Report(attempt=attempt, phase="missing", detail=pack.standing.words)
        if phase in ("unknown", "queued"):
            return Report(attempt=attempt, phase="unknown", detail=pack.standing.words)
        if raw is not None:
            return Report(**raw)
        if pack.said is None or pack.said.taken < tracked.end:
            return Report(attempt=attempt, phase="waiting")
        return Report(
            attempt=attempt, phase="missing", detail=f"the agent of allocation {pack.ticket} does not know it"
        )

    def _lost(self, attempt: str, tracked: Tracked, ended: Report, now: float) -> Report:
        """An attempt whose allocation has ended, and which has left no word: after a while, there will be none."""
        if tracked.over_since is None:
            tracked.over_since = now
        if now - tracked.over_since < LAST_WORDS_S:
            return Report(
                attempt=attempt,
                phase="unknown",
                detail=f"{ended.detail}; its own word is not to be seen yet",
                heartbeat=read_beat(tracked.work),
            )
        return Report(attempt=attempt, phase="ended", ending=ended.ending, detail=ended.detail, ended=time.time())

    # Orders

    def _tell(self, op: str, attempts: Sequence[str]) -> None:
        by_pack: dict[str, list[str]] = {}
        for attempt in attempts:
            tracked = self._tracked.get(attempt)
            if tracked is not None and tracked.report is None and tracked.end >= 0:
                by_pack.setdefault(tracked.pack, []).append(attempt)
        for pack_id, names in by_pack.items():
            if pack_id in self._allocations.packs:
                with contextlib.suppress(BackendError):  # the driver asks again, and kills in the end
                    self._allocations.order(self._allocations.packs[pack_id], op, attempts=names)

    def _forget(self) -> None:
        told, self._told = self._told, []
        by_pack: dict[str, list[str]] = {}
        for attempt in told:
            tracked = self._tracked[attempt]
            pack = self._allocations.packs.get(tracked.pack)
            if pack is not None and pack.living and pack.restart == tracked.restart:
                by_pack.setdefault(tracked.pack, []).append(attempt)
        for pack_id, names in by_pack.items():
            with contextlib.suppress(BackendError):  # its agent says it once more than it need
                self._allocations.order(self._allocations.packs[pack_id], "forget", attempts=names)

    def _ticket(self, attempt: str) -> str:
        tracked = self._tracked[attempt]
        return f"{self._allocations.packs[tracked.pack].ticket}.{tracked.restart}/{attempt}"


def orders_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Attempt -> restart of the allocation it was ordered for, and length of the list up to its order."""
    found: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(OSError):
        for order, end in Orders(folder).with_ends():
            if order.get("op") == "submit":
                found.update({str(one["attempt"]): (int(order["restart"]), end) for one in order["submissions"]})
    return found


if TYPE_CHECKING:
    _: Backend = PackedBackend(Path(), "files", Path(), None)
