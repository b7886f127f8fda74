"""Attempts in pilot jobs: SLURM jobs that hold an allocation and run a private Ray, which takes many attempts.

The driver speaks with the agents in the pilot jobs through files alone. It submits another pilot job
while jobs wait for room, and cancels those that nobody needs. The end of a pilot job ends its own
attempts only, and does not count as a retry of theirs.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Adoption, ExpectedWork, HostShare, Report, Submission
from orchestrator.backends.slurm.core.commands import SlurmSilent
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.reports import RECORD_S, ended_of, preempted_if
from orchestrator.backends.slurm.pilot.mailbox import Orders, pilot_of, pilots_folder
from orchestrator.backends.slurm.pilot.pilot import ending_of_run
from orchestrator.backends.slurm.pilot.pool import PilotPool
from orchestrator.backends.slurm.settings import RESERVED_GIB, PilotSettings, SlurmSettings
from orchestrator.errors import BackendError
from orchestrator.spec.cell import Resources
from workloads.contract.metrics import read_beat

PENDING_HOST = "pilot"
"""The host that stands for pilot jobs while there is none: it is as large, and takes nothing."""
NO_PILOTS = PilotSettings(cpus=1, memory_gib=RESERVED_GIB + 1.0, minutes=1.0, stages=())
"""Where pilot jobs are no longer asked for: those of earlier drivers, and their attempts, go on."""


@dataclass
class TrackedAttempt:
    """An attempt that this driver answers for."""

    work: Path
    pilot: str
    restart: int
    """Restarts of the pilot job when the attempt was ordered."""
    end: int
    """Length of the list of orders up to its own; -1: no list has it."""
    end_asked: bool = False
    """This driver has asked it to stop."""
    over_since: float | None = None
    """Monotonic clock, s, since when its pilot job has ended without a record of how the attempt did."""
    report: Report | None = None
    """Once it has ended."""


class PilotBackend:
    """Attempts in pilot jobs."""

    name = "slurm"
    outlives_driver = True

    def __init__(self, context: BackendContext, slurm: SlurmSettings, queue: SlurmQueue | None = None) -> None:
        """Remember the settings; no pilot job is submitted before a job waits for room.

        Args:
            context: its `home` lies on a file system that login node and compute nodes share.
            slurm: the settings.
            queue: shared with another reader; None: one of its own.
        """
        self._home = context.home.resolve()
        self._settings = slurm.pilot or NO_PILOTS
        self._tracked: dict[str, TrackedAttempt] = {}
        self._pool = PilotPool(
            self._home,
            replace(slurm, pilot=self._settings),
            context.host_description(),
            queue or SlurmQueue(slurm.poll_s),
            grace_s=context.grace_s,
            idle_s=context.idle_s,
            orphan_s=context.orphan_s,
        )
        self._ended_reported: list[str] = []
        """Attempts whose end we have passed on; the next poll shows that the driver has recorded it."""
        self._waits = True
        """Whether what waits for room is of a stage that runs in pilot jobs."""
        self._closed = False

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        """A job that becomes a SLURM job of its own is no reason for a pilot job."""
        own = self._settings.stages
        self._waits = own is None or any(stage in own for stage, _ in jobs)

    def expected_work(self, work: Mapping[tuple[str, Resources], ExpectedWork]) -> None:
        """The next pilot jobs ask for as much time as this needs."""
        self._pool.work = work

    def pending_hosts(self) -> str:
        """Which pilot jobs are on their way."""
        return self._pool.pending()

    def hosts(self) -> Sequence[HostShare]:
        """The nodes of the pilot jobs that serve; where none does, one pending host of their size.

        Raises:
            BackendError: SLURM has refused several pilot jobs in a row, or several have ended before they served.
            SlurmSilent: none serves, and SLURM does not answer.
        """
        now = time.monotonic()
        if self._waits:
            self._pool.scaling.hosts_requested(now)
        self._update(now)
        if not self._closed:
            self._pool.grow(now)
        stages = self._settings.stages
        shares = [
            HostShare(**share, stages=stages)
            for pilot in self._pool.pilots.values()
            if pilot.takes and pilot.agent is not None
            for share in pilot.agent.hosts
        ]
        if not shares and self._pool.queue.silent:
            raise SlurmSilent(self._pool.queue.silent)
        return shares or [
            HostShare(
                name=PENDING_HOST,
                cpus=self._settings.cpus,
                devices=self._settings.devices,
                memory_gib=self._settings.memory_gib - RESERVED_GIB,
                stages=stages,
                pending=True,
            )
        ]

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Order attempts from the pilot jobs that they are placed in; idempotent.

        Raises:
            BackendError: a host that is not there (any more), a disk that takes no orders, or this is closed.
        """
        if self._closed:
            raise BackendError("the SLURM backend is closed; make another one")
        by_pilot: dict[str, list[Submission]] = {}
        for one in submissions:
            by_pilot.setdefault(pilot_of(one.placement.host), []).append(one)
        for pilot_id, group in by_pilot.items():
            pilot = self._pool.pilots.get(pilot_id)
            names = [] if pilot is None or pilot.agent is None else [str(share["name"]) for share in pilot.agent.hosts]
            for one in group:
                if one.placement.host not in names:
                    raise BackendError(f"there is no host {one.placement.host!r} any more; nothing was started on it")
        self._pool.scaling.placed()
        for pilot_id, group in by_pilot.items():
            pilot = self._pool.pilots[pilot_id]
            new = [one for one in group if one.attempt not in self._tracked]
            for one in new:
                Path(str(one.request["work"])).mkdir(parents=True, exist_ok=True)
            if not new:
                continue
            end = self._pool.order(pilot, "submit", submissions=[asdict(one) for one in new])
            for one in new:
                work = Path(str(one.request["work"]))
                self._tracked[one.attempt] = TrackedAttempt(work=work, pilot=pilot_id, restart=pilot.restart, end=end)
        return {one.attempt: self._ticket(one.attempt) for one in submissions}

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver: what it has ordered is in the pilot job's list of orders."""
        ordered: dict[str, dict[str, tuple[int, int]]] = {}
        for one in attempts:
            pilot_id = pilot_of(one.placement.host)
            if pilot_id not in ordered:
                ordered[pilot_id] = orders_of(pilots_folder(self._home) / pilot_id)
            restart, end = ordered[pilot_id].get(one.attempt, (0, -1))
            self._tracked[one.attempt] = TrackedAttempt(work=Path(one.work), pilot=pilot_id, restart=restart, end=end)

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts; SLURM is asked at most every `poll_s`."""
        now = time.monotonic()
        self._update(now)
        self._forget()
        answers: dict[str, Report] = {}
        for attempt, tracked in self._tracked.items():
            answers[attempt] = tracked.report or self._report(attempt, tracked, now)
            if answers[attempt].phase == "ended" and tracked.report is None:
                tracked.report = answers[attempt]
                self._ended_reported.append(attempt)
                pilot = self._pool.pilots.get(tracked.pilot)
                asked = tracked.end_asked or answers[attempt].ending != "interrupted"
                if pilot is not None and pilot.short_limit and not asked:
                    self._pool.cut_short.add(pilot.id)
        return answers

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end."""
        self._order("stop", attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._order("kill", attempts)

    def close(self) -> None:
        """Stop driving: what runs goes on, and pilot jobs that have not begun are cancelled."""
        if self._closed:
            return
        self._closed = True
        self._pool.cancel_queued()

    def _update(self, now: float) -> None:
        held = {tracked.pilot for tracked in self._tracked.values() if tracked.report is None}
        self._pool.update(now, held, watching=not self._closed)

    # What the driver says of an attempt

    def _report(self, attempt: str, tracked: TrackedAttempt, now: float) -> Report:
        pilot = self._pool.pilots.get(tracked.pilot)
        recorded = ended_of(attempt, tracked.work)
        if pilot is None or tracked.end < 0:
            return recorded or Report(attempt=attempt, phase="missing", detail="no known pilot job has it")
        job = self._pool.queue.state(pilot.ticket)
        if recorded is not None:
            return preempted_if(recorded, job) if job is not None and pilot.restart == tracked.restart else recorded
        if pilot.restart > tracked.restart:
            ending = ending_of_run(self._pool.queue.runs(pilot.ticket), tracked.restart)
            why = f"SLURM has requeued pilot job {pilot.ticket}"
            return self._ended_with_pilot(
                attempt, tracked, Report(attempt=attempt, phase="ended", ending=ending, detail=why), now
            )
        phase = pilot.state.phase
        raw = None if pilot.agent is None else pilot.agent.reports.get(attempt)
        if raw is not None and raw["phase"] == "ended":  # one that did not begin has no other record
            return Report(**raw)
        if phase == "ended":
            ending = pilot.state.ending
            why = f"pilot job {pilot.ticket} ended: {pilot.state.detail}"
            return self._ended_with_pilot(
                attempt, tracked, Report(attempt=attempt, phase="ended", ending=ending, detail=why), now
            )
        if phase == "missing":
            return Report(attempt=attempt, phase="missing", detail=pilot.state.detail)
        if phase in ("unknown", "queued"):
            return Report(attempt=attempt, phase="unknown", detail=pilot.state.detail)
        if raw is not None:
            return Report(**raw)
        if pilot.agent is None or pilot.agent.taken < tracked.end:
            return Report(attempt=attempt, phase="waiting")
        return Report(
            attempt=attempt, phase="missing", detail=f"the agent of pilot job {pilot.ticket} does not know it"
        )

    def _ended_with_pilot(self, attempt: str, tracked: TrackedAttempt, ended: Report, now: float) -> Report:
        """An attempt whose pilot job has ended, and which has not recorded its end: after a while, it never will."""
        if tracked.over_since is None:
            tracked.over_since = now
        if now - tracked.over_since < RECORD_S:
            return Report(
                attempt=attempt,
                phase="unknown",
                detail=f"{ended.detail}; its own record of the end is not visible yet",
                heartbeat=read_beat(tracked.work),
            )
        return Report(attempt=attempt, phase="ended", ending=ended.ending, detail=ended.detail, ended=time.time())

    # Orders

    def _order(self, op: str, attempts: Sequence[str]) -> None:
        by_pilot: dict[str, list[str]] = {}
        for attempt in attempts:
            tracked = self._tracked.get(attempt)
            if tracked is not None and tracked.report is None and tracked.end >= 0:
                tracked.end_asked = True
                by_pilot.setdefault(tracked.pilot, []).append(attempt)
        for pilot_id, names in by_pilot.items():
            if pilot_id in self._pool.pilots:
                with contextlib.suppress(BackendError):  # the driver asks again, and kills in the end
                    self._pool.order(self._pool.pilots[pilot_id], op, attempts=names)

    def _forget(self) -> None:
        reported, self._ended_reported = self._ended_reported, []
        by_pilot: dict[str, list[str]] = {}
        for attempt in reported:
            tracked = self._tracked[attempt]
            pilot = self._pool.pilots.get(tracked.pilot)
            if pilot is not None and pilot.living and pilot.restart == tracked.restart:
                by_pilot.setdefault(tracked.pilot, []).append(attempt)
        for pilot_id, names in by_pilot.items():
            with contextlib.suppress(BackendError):  # its agent says it once more than it need
                self._pool.order(self._pool.pilots[pilot_id], "forget", attempts=names)

    def _ticket(self, attempt: str) -> str:
        tracked = self._tracked[attempt]
        return f"{self._pool.pilots[tracked.pilot].ticket}.{tracked.restart}/{attempt}"


def orders_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Attempt -> restart of the pilot job it was ordered for, and length of the list up to its order."""
    found: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(OSError):
        for order, end in Orders(folder).with_ends():
            if order.get("op") == "submit":
                found.update({str(one["attempt"]): (int(order["restart"]), end) for one in order["submissions"]})
    return found
