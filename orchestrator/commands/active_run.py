"""A run in progress: refuse to start beside it, ask it to stop, wait for its end."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import LeaseError
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease_holder import NAME as LEASE
from orchestrator.schedule.lease_holder import LeaseHolder, LeaseWatcher, living_holder, process_runs
from orchestrator.schedule.ledger.database import NAME, Ledger

POLL_S = 0.5


def refuse_second_run(home: Path) -> None:
    """Fail early with what a second run would fail with later.

    Raises:
        LeaseError: a process that can be seen from here runs the study.
    """
    holder = living_holder(home)
    if holder is not None and process_runs(holder):
        raise LeaseError(
            f"{home / LEASE}: pid {holder.pid} on {holder.host} is running this study; "
            "`echo-matrix status --watch` shows its progress, `echo-matrix stop` stops it"
        )


def request_stop(home: Path, holder: LeaseHolder, *, now: bool) -> None:
    """Ask this very process to stop; a later one ignores the request.

    Args:
        home: `outputs/{study}`.
        holder: who is asked.
        now: end attempts at once, not at their next checkpoint.
    """
    channel.send(home, "interrupt", [holder.nonce], now=now)


def wait_for_end(home: Path, holder: LeaseHolder, say: Callable[[str], None], clock: Clock | None = None) -> bool:
    """Wait until this process has ended, and print how many attempts still run when that changes.

    False: it cannot be seen from here and has shown no sign of life for `STALE_AFTER_S`; its machine may be gone.
    """
    clock = clock or SystemClock()
    watcher, before = LeaseWatcher(home, clock), -1
    while (current := watcher.holder()) is not None and current.nonce == holder.nonce:
        with Ledger.read(home / NAME) as ledger:
            left = len(ledger.open_attempts())
        if left != before:
            say(f"{left} attempt{'' if left == 1 else 's'} still running" if left else "no attempt is running")
            before = left
        clock.sleep(POLL_S)
    after = living_holder(home)
    return after is None or after.nonce != holder.nonce
