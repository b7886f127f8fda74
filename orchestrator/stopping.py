"""`stop`: what Ctrl-C asks of the driver where it runs, asked from anywhere that sees the study's folder."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import LeaseError
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease import NAME as DRIVER
from orchestrator.schedule.lease import LeaseHolder, LeaseWatcher, living_holder, process_runs
from orchestrator.schedule.ledger.database import NAME, Ledger

LOOK_S = 0.5


def refuse_a_second_driver(home: Path) -> None:
    """Say at once what a second driver would be told.

    Raises:
        LeaseError: a process that can be looked at drives the study.
    """
    holder = living_holder(home)
    if holder is not None and process_runs(holder):
        raise LeaseError(
            f"{home / DRIVER}: pid {holder.pid} on {holder.host} drives this study; "
            "`echo-matrix status --watch` shows it, `echo-matrix stop` ends it"
        )


def ask_to_stop(home: Path, driver: LeaseHolder, *, now: bool) -> None:
    """Leave a note for this very driver; a later one ignores it.

    Args:
        home: `outputs/{study}`.
        driver: who is asked.
        now: end attempts at once, not at their next checkpoint.
    """
    channel.send(home, "interrupt", [driver.nonce], now=now)


def wait_for_end(home: Path, driver: LeaseHolder, say: Callable[[str], None], clock: Clock | None = None) -> bool:
    """Wait until this driver has ended, and say how many attempts it still waits for, when that changes.

    False: nobody can look at it from here, and it has not moved for `STALE_AFTER_S`; its machine may be gone.
    """
    clock = clock or SystemClock()
    onlooker, before = LeaseWatcher(home, clock), -1
    while (holder := onlooker.holder()) is not None and holder.nonce == driver.nonce:
        with Ledger.read(home / NAME) as ledger:
            left = len(ledger.open_attempts())
        if left != before:
            say(f"{left} attempts still run" if left else "no attempt runs; the driver ends")
            before = left
        clock.sleep(LOOK_S)
    there = living_holder(home)
    return there is None or there.nonce != driver.nonce
