"""`cancel` and `retry` from any terminal: a note for the driver, or booked at once where none runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from orchestrator.plan.job import Job
from orchestrator.schedule import inbox
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease import acquire, driver_lives
from orchestrator.schedule.ledger import NAME, JobNote, Ledger

CANCELLED = "cancelled; `echo-matrix retry` takes it up again"


def ask(
    verb: Literal["cancel", "retry"], jobs: Sequence[Job], *, home: Path, clock: Clock | None = None
) -> Literal["asked", "booked"]:
    """Cancel or retry jobs: `asked` where a driver will book it at its next tick, `booked` where none runs.

    Jobs that are done are left out by the caller.

    Raises:
        LeaseError: a driver started this very moment; say it again.
        LedgerError: the ledger cannot be written.
    """
    clock = clock or SystemClock()
    if driver_lives(home):
        inbox.put(home, verb, [job.fingerprint for job in jobs])
        return "asked"
    with (
        acquire(home, clock) as lease,
        Ledger.open(home / NAME, lease.check) as ledger,
        ledger.transaction(),
    ):
        for job in jobs:
            if verb == "cancel":
                book_cancel(ledger, job, clock.time())
            else:
                ledger.forgive(job.fingerprint)
    return "booked"


def book_cancel(ledger: Ledger, job: Job, at: float) -> None:
    """Book that a job is cancelled; a COMMIT that comes later still wins."""
    ledger.note(
        JobNote(fingerprint=job.fingerprint, state="cancelled", reason=CANCELLED, stage=job.stage, signature="", at=at)
    )
