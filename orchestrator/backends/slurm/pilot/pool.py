"""The pilot jobs of one study: submitted while jobs wait for room, followed, and cancelled when nobody needs them."""

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import ExpectedWork
from orchestrator.backends.slurm.core.brake import Brake
from orchestrator.backends.slurm.core.commands import SlurmSilent, ask
from orchestrator.backends.slurm.core.job_request import request_of_pilot
from orchestrator.backends.slurm.core.queue import QueueQuery, SlurmQueue
from orchestrator.backends.slurm.core.submit import (
    SbatchJob,
    SiteFull,
    SubmitUnanswered,
    last_lines,
    parameters_of,
    submit_batch,
)
from orchestrator.backends.slurm.core.time_limit import pilot_minutes
from orchestrator.backends.slurm.pilot.mailbox import DESCRIPTION, append_order, make_folder
from orchestrator.backends.slurm.pilot.pilot import PilotJob, find_pilots, new_pilot
from orchestrator.backends.slurm.pilot.scaling import Scaling
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings
from orchestrator.errors import BackendError
from orchestrator.host.environment import patterns_of_hosts
from orchestrator.spec.cell import Resources
from workloads.contract.json_files import write_object

READ_S = 0.2
DRIVER_BEAT_S = 2.0
MAX_FAILURES = 3
"""Pilot jobs in a row that may be refused, or end before they serve."""
RETRY_S = 10.0
"""Rest after one of them, and the first after one that a limit on jobs in the queue has refused."""


class PilotPool:
    """The pilot jobs that a driver knows."""

    def __init__(
        self,
        home: Path,
        slurm: SlurmSettings,
        description: Mapping[str, Any],
        queue: SlurmQueue,
        *,
        grace_s: float,
        idle_s: float,
        orphan_s: float,
    ) -> None:
        """Find those of earlier drivers.

        Args:
            home, description, grace_s, idle_s, orphan_s: as for `sbatch_pilot`.
            slurm: with `pilot`.
            queue: read by others as well.
        """
        assert slurm.pilot is not None
        self._home = home
        self._slurm = slurm
        self._pilot = slurm.pilot
        self._description = description
        self._times = {"grace_s": grace_s, "idle_s": idle_s, "orphan_s": orphan_s}
        self.pilots = find_pilots(home, str(description["digest"]))
        """Those that may live, or hold attempts whose end is not reported, by name."""
        self.queue = queue
        queue.add(self._query)
        self.scaling = Scaling()
        self.work: Mapping[tuple[str, Resources], ExpectedWork] = {}
        """Stage and size of jobs -> how much work is ready."""
        self.cut_short: set[str] = set()
        """Pilot jobs with an estimated time limit at which attempts were still running."""
        self._nonce = secrets.token_hex(4)
        self._read = self._beat_at = self._retry_after = float("-inf")
        self._began = time.monotonic()
        self._failed = 0
        self._why_failed = ""
        self._brake = Brake(first_s=RETRY_S)
        self._refused = ""
        """Why SLURM took no pilot job when one was last submitted; empty: it did."""

    def update(self, now: float, held: Collection[str], *, watching: bool = True) -> None:
        """Bring them up to date from their files and SLURM, and show their agents that a driver lives.

        Args:
            now: monotonic clock.
            held: those with attempts whose end is not reported yet.
            watching: False: this driver has let go, and only looks.
        """
        if now - self._read < READ_S:
            return
        self._read = now
        for pilot in self.pilots.values():
            pilot.read_agent(now)
        if self.pilots:
            self.queue.ask()
        for pilot in self.pilots.values():
            pilot.update_state(self.queue, now)
            if pilot.takes:
                self._failed = 0
        if watching:
            self._show_driver(now)
        self._drop_ended(held)

    def pending(self) -> str:
        """Which pilot jobs wait or start, for people; empty: none, or SLURM has not said why they wait."""
        coming = [self._refused] if self._refused else []
        for pilot in self.pilots.values():
            if pilot.state.phase == "starting":
                coming.append(f"a pilot job starts (SLURM job {pilot.ticket})")
            elif pilot.state.phase == "queued" and pilot.waits and not pilot.unwanted:
                coming.append(f"a pilot job waits in SLURM's queue: {pilot.waits}")
        return "; ".join(coming)

    def order(self, pilot: PilotJob, op: str, **fields: Any) -> int:
        """Give an order to the agent of a pilot job; it holds for the start that is known now.

        Raises:
            BackendError: the disk does not take it.
        """
        try:
            return append_order(pilot.folder, {"restart": pilot.restart, "op": op, **fields})
        except OSError as error:
            raise BackendError(f"{pilot.folder}: an order cannot be written: {error}") from error

    def cancel(self, pilots: Sequence[PilotJob]) -> None:
        """Cancel pilot jobs."""
        tickets = [pilot.ticket for pilot in pilots if pilot.ticket]
        for pilot in pilots:
            pilot.unwanted = True
        if tickets:
            with contextlib.suppress(SlurmSilent):  # it begins, finds nothing to do, and ends by itself
                ask("scancel", "--quiet", *tickets)

    def cancel_queued(self) -> None:
        """Cancel pilot jobs that have not begun, since the driver ends; those that run go on."""
        self.cancel([pilot for pilot in self.pilots.values() if pilot.state.phase == "queued" and not pilot.unwanted])

    def grow(self, now: float) -> None:
        """Submit another pilot job, if one is needed.

        Raises:
            BackendError: SLURM has refused time and again, or none has come so far as to serve.
        """
        living = [pilot for pilot in self.pilots.values() if pilot.living and not pilot.unwanted]
        if self._failed >= MAX_FAILURES and not living:
            raise BackendError(
                f"{self._failed} pilot jobs in a row have ended before they took an attempt; the last one: "
                f"{self._why_failed}; correct slurm.pilot or slurm.setup of the cluster file, then `run` again"
            )
        if (
            now < self._retry_after
            or self._brake.holds(now)
            or not self.scaling.needs_another(
                now,
                living=len(living),
                coming=sum(pilot.state.phase in ("queued", "unknown") for pilot in living),
                starting=sum(pilot.state.phase == "starting" for pilot in living),
                most=self._pilot.allocations,
            )
        ):
            return
        minutes = pilot_minutes(self.work, self._pilot, grace_s=self._times["grace_s"], cut_short=len(self.cut_short))
        sized = replace(self._pilot, minutes=minutes)
        batch = sbatch_pilot(self._home, sized, setup=self._slurm.setup, description=self._description, **self._times)
        pilot = new_pilot(batch.folder, batch.name, short_limit=minutes < self._pilot.minutes)
        try:
            ticket = submit_batch(batch, sys.executable, patterns_of_hosts(self._description))
        except SubmitUnanswered as error:
            self._brake.failed(now, str(error), refused=False)  # SLURM may have it: it is looked for by its name
        except SiteFull as error:
            shutil.rmtree(batch.folder, ignore_errors=True)
            self._refused = f"SLURM takes no pilot job now: {str(error).partition(f'{batch.name}: ')[2]}"
            self._brake.failed(time.monotonic(), self._refused, refused=False)
            return
        except BackendError as error:
            pilot.close()
            self._note_failure(str(error))
            return
        else:
            self._brake.taken()
            pilot.submitted(ticket)
            self.queue.submitted(ticket, batch.name)
        self._refused = ""
        self.pilots[pilot.id] = pilot
        self.scaling.asked(now)
        pilot.update_state(self.queue, now)

    def _query(self) -> QueueQuery:
        pilots = self.pilots.values()
        return QueueQuery(
            restarts={pilot.ticket: pilot.restart for pilot in pilots if pilot.ticket},
            names={pilot.name for pilot in pilots if not pilot.ticket},
            since=min((pilot.made for pilot in pilots), default=time.time()),
        )

    def _note_failure(self, why: str) -> None:
        self._failed += 1
        self._why_failed = why
        self._retry_after = time.monotonic() + RETRY_S

    def _show_driver(self, now: float) -> None:
        """Show the agents that a driver lives, and end pilot jobs that are of no use."""
        living = [pilot for pilot in self.pilots.values() if pilot.living]
        if now - self._beat_at >= DRIVER_BEAT_S:
            self._beat_at = now
            for pilot in living:
                pilot.show_driver(f"{self._nonce}-{now:.0f}", f"{self._nonce}-{self.scaling.requests}")
        for pilot in living:
            if not pilot.current and not pilot.unwanted and pilot.state.phase == "serving":
                pilot.unwanted = True
                with contextlib.suppress(BackendError):
                    self.order(pilot, "leave", why="the study's code has changed since it began")
        if now - max(self.scaling.requested_at, self._began) > self._times["idle_s"]:
            self.cancel([pilot for pilot in living if pilot.state.phase == "queued" and not pilot.unwanted])

    def _drop_ended(self, held: Collection[str]) -> None:
        """Drop pilot jobs that have ended, once their attempts have; count those that never served."""
        for pilot in [pilot for pilot in self.pilots.values() if not pilot.living and pilot.id not in held]:
            del self.pilots[pilot.id]
            with contextlib.suppress(OSError):  # the next driver asks SLURM once more
                pilot.close()
            if pilot.ticket and not pilot.served and not pilot.unwanted:  # without one, SLURM was silent and has none
                why = f"pilot job {pilot.ticket} ended before it served: {pilot.state.detail}{last_lines(pilot.folder)}"
                self._note_failure(f"{why}; its logs are in {pilot.folder}")


MODULE = "orchestrator.backends.slurm.pilot"


def sbatch_pilot(
    home: Path,
    pilot: PilotSettings,
    *,
    setup: Sequence[str],
    description: Mapping[str, Any],
    grace_s: float,
    idle_s: float,
    orphan_s: float,
) -> SbatchJob:
    """Describe one more pilot job, on disk and for sbatch.

    Args:
        home: `outputs/{study}`.
        pilot: its size, partition and the like.
        setup: shell lines before the agent.
        description: of its hosts (`host.description`).
        grace_s: that attempts have to save when they are asked to end.
        idle_s: without anything to do until it is let go.
        orphan_s: without a driver until it stops its attempts and is let go.
    """
    folder = make_folder(home)
    batch = pilot_job(folder, pilot, home=home, setup=setup, code=Path(description["code"]), grace_s=grace_s)
    content = {
        "version": 1,
        "name": batch.name,
        "host": dict(description),
        "devices": pilot.devices,
        "memory_gib": pilot.memory_gib,
        "minutes": pilot.minutes,
        "nodes": pilot.nodes,
        "grace_s": grace_s,
        "idle_s": idle_s,
        "orphan_s": orphan_s,
    }
    write_object(folder / DESCRIPTION, content)
    return batch


def pilot_job(
    folder: Path, pilot: PilotSettings, *, home: Path, setup: Sequence[str], code: Path, grace_s: float
) -> SbatchJob:
    """Describe a pilot job for sbatch; `folder` is its mailbox, the others are as for `sbatch_pilot`."""
    name = f"em:{home.name}:pilot:{folder.name}"
    request = request_of_pilot(pilot)
    parameters = parameters_of(pilot, request, name=name, setup=setup, code=code, grace_s=grace_s)
    return SbatchJob(name=name, folder=folder, works=[folder], parameters=parameters, module=MODULE)
