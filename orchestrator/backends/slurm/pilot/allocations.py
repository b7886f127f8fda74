"""The allocations of one study: watched, asked for while jobs wait for room, and let go when nobody needs them."""

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.backends.slurm.core.commands import SlurmSilent, ask
from orchestrator.backends.slurm.core.queue import Queue, Wanted
from orchestrator.backends.slurm.core.submit import NoAnswer, SiteFull, last_lines, submit_batch
from orchestrator.backends.slurm.pilot.allocate import make_pack
from orchestrator.backends.slurm.pilot.mailbox import append_order
from orchestrator.backends.slurm.pilot.pilot import Pack, find_packs, new_pack
from orchestrator.backends.slurm.pilot.scaling import Demand
from orchestrator.errors import BackendError
from orchestrator.spec.slurm import Slurm

READ_S = 0.2
HERE_S = 2.0
TRIES = 3
"""Allocations in a row that may be refused, or end before they serve."""
REFUSED_S = 10.0
"""Rest after one of them, and after one that a limit on jobs in the queue has refused: others may leave it."""


class Allocations:
    """What a driver knows of the allocations, and does about them."""

    def __init__(
        self,
        home: Path,
        slurm: Slurm,
        description: Mapping[str, Any],
        queue: Queue,
        *,
        grace_s: float,
        idle_s: float,
        orphan_s: float,
    ) -> None:
        """Find those that earlier drivers have left.

        Args:
            home, description, grace_s, idle_s, orphan_s: as for `allocate.make_pack`.
            slurm: with `packed`.
            queue: read by others as well.
        """
        assert slurm.packed is not None
        self._home = home
        self._slurm = slurm
        self._packed = slurm.packed
        self._description = description
        self._lasting = {"grace_s": grace_s, "idle_s": idle_s, "orphan_s": orphan_s}
        self.packs = find_packs(home, str(description["digest"]))
        """Those that may live, or hold attempts whose end is not told, by name."""
        self.queue = queue
        queue.add(self._wanted)
        self.demand = Demand()
        self._nonce = secrets.token_hex(4)
        self._read = self._told = self._rest_until = float("-inf")
        self._began = time.monotonic()
        self._failed = 0
        self._why_failed = ""
        self._full = ""
        """Why SLURM took no allocation when it was last asked for one; empty: it did."""

    def look(self, now: float, held: Collection[str], *, watching: bool = True) -> None:
        """Bring them up to date: their files, SLURM's word, and a sign of life to their agents.

        Args:
            now: monotonic clock.
            held: those with attempts whose end is not told yet.
            watching: False: this driver has let go, and only looks.
        """
        if now - self._read < READ_S:
            return
        self._read = now
        for pack in self.packs.values():
            pack.read(now)
        if self.packs:
            self.queue.ask()
        for pack in self.packs.values():
            pack.judge(self.queue, now)
            if pack.takes:
                self._failed = 0
        if watching:
            self._tend(now)
        self._bury(held)

    def words(self) -> str:
        """Which allocations are on their way, for people; empty: none, or SLURM has not said why they wait."""
        coming = [self._full] if self._full else []
        for pack in self.packs.values():
            if pack.standing.phase == "starting":
                coming.append(f"an allocation starts (SLURM job {pack.ticket})")
            elif pack.standing.phase == "queued" and pack.waits and not pack.unwanted:
                coming.append(f"an allocation waits in SLURM's queue: {pack.waits}")
        return "; ".join(coming)

    def order(self, pack: Pack, op: str, **fields: Any) -> int:
        """Give an order to the agent of an allocation; it counts for the start of it that is known now.

        Raises:
            BackendError: the disk does not take it.
        """
        try:
            return append_order(pack.folder, {"restart": pack.restart, "op": op, **fields})
        except OSError as error:
            raise BackendError(f"{pack.folder}: an order cannot be written: {error}") from error

    def cancel(self, packs: Sequence[Pack]) -> None:
        """Take allocations out of SLURM's queue."""
        tickets = [pack.ticket for pack in packs if pack.ticket]
        for pack in packs:
            pack.unwanted = True
        if tickets:
            with contextlib.suppress(SlurmSilent):  # it begins, finds nothing to do, and ends by itself
                ask("scancel", "--quiet", *tickets)

    def let_go(self) -> None:
        """The driver leaves: what runs goes on, and what has not begun is not needed."""
        self.cancel([pack for pack in self.packs.values() if pack.standing.phase == "queued" and not pack.unwanted])

    def grow(self, now: float) -> None:
        """Ask for another allocation, if one is wanted.

        Raises:
            BackendError: SLURM has refused time and again, or none has come so far as to serve.
        """
        living = [pack for pack in self.packs.values() if pack.living and not pack.unwanted]
        if self._failed >= TRIES and not living:
            raise BackendError(
                f"{self._failed} allocations in a row have come to nothing; the last one: {self._why_failed}; "
                "correct slurm.packed or slurm.setup of the cluster file, then `run` again"
            )
        if now < self._rest_until or not self.demand.wants(
            now,
            living=len(living),
            coming=sum(pack.standing.phase in ("queued", "unknown") for pack in living),
            starting=sum(pack.standing.phase == "starting" for pack in living),
            most=self._packed.allocations,
        ):
            return
        batch = make_pack(
            self._home, self._packed, setup=self._slurm.setup, description=self._description, **self._lasting
        )
        pack = new_pack(batch.folder, batch.name)
        try:
            ticket = submit_batch(batch, sys.executable)
        except NoAnswer:
            self._rest_until = now + REFUSED_S  # SLURM may have it: it is looked for by its name
        except SiteFull as error:
            shutil.rmtree(batch.folder, ignore_errors=True)
            self._full = f"SLURM takes no allocation now: {str(error).partition(f'{batch.name}: ')[2]}"
            self._rest_until = time.monotonic() + REFUSED_S
            return
        except BackendError as error:
            pack.close()
            self._note_failure(str(error))
            return
        else:
            pack.booked(ticket)
            self.queue.submitted(ticket, batch.name)
        self._full = ""
        self.packs[pack.id] = pack
        self.demand.asked(now)
        pack.judge(self.queue, now)

    def _wanted(self) -> Wanted:
        packs = self.packs.values()
        return Wanted(
            restarts={pack.ticket: pack.restart for pack in packs if pack.ticket},
            names={pack.name for pack in packs if not pack.ticket},
            since=min((pack.made for pack in packs), default=time.time()),
        )

    def _note_failure(self, why: str) -> None:
        self._failed += 1
        self._why_failed = why
        self._rest_until = time.monotonic() + REFUSED_S

    def _tend(self, now: float) -> None:
        """Show the agents that somebody is here, and let go what is of no use."""
        living = [pack for pack in self.packs.values() if pack.living]
        if now - self._told >= HERE_S:
            self._told = now
            for pack in living:
                pack.here(f"{self._nonce}-{now:.0f}", f"{self._nonce}-{self.demand.looks}")
        for pack in living:
            if not pack.current and not pack.unwanted and pack.standing.phase == "serving":
                pack.unwanted = True
                with contextlib.suppress(BackendError):
                    self.order(pack, "leave", why="the study's code has changed since it began")
        if now - max(self.demand.looked_at, self._began) > self._lasting["idle_s"]:
            self.cancel([pack for pack in living if pack.standing.phase == "queued" and not pack.unwanted])

    def _bury(self, held: Collection[str]) -> None:
        """Drop allocations that have ended, once their attempts have; count those that came to nothing."""
        for pack in [pack for pack in self.packs.values() if not pack.living and pack.id not in held]:
            del self.packs[pack.id]
            with contextlib.suppress(OSError):  # the next driver asks SLURM once more
                pack.close()
            if pack.ticket and not pack.served and not pack.unwanted:  # without one, SLURM was silent and has none
                why = f"allocation {pack.ticket} ended before it served: {pack.standing.words}{last_lines(pack.folder)}"
                self._note_failure(f"{why}; its logs are in {pack.folder}")
