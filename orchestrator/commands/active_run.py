"""The run in progress: refuse a second run, ask it to stop, wait for its end."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import LeaseError
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.control import channel
from orchestrator.schedule.lease_holder import NAME as LEASE
from orchestrator.schedule.lease_holder import LeaseHolder, LeaseWatcher, living_holder, process_runs
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.wording import counted

POLL_S = 0.5


def refuse_second_run(home: Path) -> None:
    """Refuse to continue while a run is in progress on this machine.

    Raises:
        LeaseError: with the process that runs the study.
    """
    holder = living_holder(home)
    if holder is not None and process_runs(holder):
        raise LeaseError(
            f"{home / LEASE}: pid {holder.pid} on {holder.host} is running this study; "
            "`echo-matrix status --watch` shows its progress, `echo-matrix stop` stops it"
        )


def request_stop(home: Path, holder: LeaseHolder, *, now: bool) -> None:
    """Ask this process to stop; another one ignores the request.

    Args:
        home: `outputs/{study}`.
        holder: the process.
        now: end attempts at once, not at their next checkpoint.
    """
    channel.send(home, "interrupt", [holder.nonce], now=now)


def wait_for_end(home: Path, holder: LeaseHolder, say: Callable[[str], None], clock: Clock | None = None) -> bool:
    """Wait until this process has ended; `say` receives the number of running attempts when it changes.

    Returns False if it runs on another machine and has not renewed its lease for `STALE_AFTER_S`.
    """
    clock = clock or SystemClock()
    watcher, before = LeaseWatcher(home, clock), -1
    while (current := watcher.holder()) is not None and current.nonce == holder.nonce:
        with Ledger.read(home / NAME) as ledger:
            left = len(ledger.open_attempts())
        if left != before:
            say(f"{counted(left, 'attempt')} still running" if left else "no attempt is running")
            before = left
        clock.sleep(POLL_S)
    after = living_holder(home)
    return after is None or after.nonce != holder.nonce
