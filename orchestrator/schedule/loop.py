"""The loop: until all that was selected is done or cannot be, poll, book, place, submit.

Crash only: what a driver did before it died is in COMMITs, attempt folders and the ledger, and
starting again is the same code as starting. A COMMIT outranks the ledger in both directions. What
decides is elsewhere and pure (`state`, `policy`, `failures`, `watch`); here it meets files, the
backend and the user.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from orchestrator.backends.protocol import Backend
from orchestrator.errors import OrchestratorError
from orchestrator.plan.job import Plan, State
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.controller import ClusterSettings, Driver
from orchestrator.schedule.events import DriverLog, Observer, SilentView, View
from orchestrator.schedule.failed import FailedJob
from orchestrator.schedule.job_states import Board, Booked, closure
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.notifications import Hook
from orchestrator.schedule.resilient_store import Patience
from orchestrator.schedule.teller import Teller
from orchestrator.store.protocol import Store
from workloads.contract.request import Stage


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    counts: dict[State, int]
    """States of the selected jobs and what they needed."""
    failures: tuple[FailedJob, ...]
    """Jobs that stand as failed, in the plan's order."""
    paused: Mapping[Stage, str] = field(default_factory=dict)
    """Stages that are paused, with the reason."""
    interrupted: bool
    submitted: int
    """Attempts that this run has started; 0: there was nothing to do, and no backend was made."""
    note: str = ""
    """Why the run ended with work left, where nobody interrupted it."""

    @property
    def exit_code(self) -> int:
        """0: all done; 130: interrupted; 1: something is not done."""
        return exit_code(self.counts, interrupted=self.interrupted)


def exit_code(counts: Mapping[State, int], *, interrupted: bool) -> int:
    """Of a run that left its jobs like this."""
    if sum(counts.values()) == counts.get("done", 0):
        return 0
    return 130 if interrupted else 1


def run(
    plan: Plan,
    selected: Collection[str],
    *,
    home: Path,
    store: Store,
    ledger: Ledger,
    backend_factory: Callable[[], Backend],
    cluster: ClusterSettings,
    clock: Clock | None = None,
    view: View | None = None,
    observer: Observer | None = None,
) -> Outcome:
    """Bring the selected jobs, and what they need, to done.

    Ctrl-C asks the attempts to stop at a checkpoint, a second one kills them; either way they are
    booked as interrupted and the next run goes on from there. SIGTERM does the same where attempts end
    with their driver; where they outlive it they go on, and the next run takes them up.

    Args:
        plan: the whole matrix.
        selected: ids of jobs in it.
        home: `outputs/{study}`; its lease is held by the caller, and is the ledger's fence.
        store: where COMMITs are.
        ledger: open for writing.
        backend_factory: called once, and only if there is something to start.
        cluster: budgets and execution settings, as read from cluster/*.yaml.
        clock: the machine's by default.
        view: shows progress; nothing by default.
        observer: is told every event; must be quick.

    Raises:
        LeaseError: another driver took over.
        LedgerError, StoreError: what a run is written to cannot be used.
        BackendError: the backend cannot start.
    """
    clock = clock or SystemClock()
    view = view or SilentView()
    log = DriverLog(home / "driver.log", clock.time)
    hook = Hook(
        cluster.on_event,
        study=plan.study,
        profile=plan.profile,
        log=home / "driver.log",
        note=log.write,
        clock=clock,
    )
    patience = Patience(store, clock, log=log.write, say=view.say, patience_s=cluster.unknown_s)
    committed = patience.insist(store.commits)
    history, notes = ledger.history(), ledger.notes()
    booked = {
        fingerprint: Booked(
            state=notes[fingerprint].state if fingerprint in notes else None,
            reason=past.reason,
            attempts=past.attempts,
        )
        for fingerprint, past in history.items()
        if fingerprint not in committed
    }
    board = Board(plan, closure(plan, selected, committed), committed, booked)
    driver = Driver(
        plan=plan,
        board=board,
        committed=set(committed),
        home=home,
        store=patience,
        ledger=ledger,
        cluster=cluster,
        clock=clock,
        teller=Teller(board, home, clock, view, observer, log, hook),
    )
    log.write("run", study=plan.study, profile=plan.profile, jobs=len(board), counts=board.counts())
    stopped_by, code = "", 1
    try:
        with _interrupts(driver):
            driver.begin()
            if driver.has_work():
                driver.drive(backend_factory)
    except (OrchestratorError, OSError) as error:
        stopped_by, code = str(error), getattr(error, "exit_code", code)
        raise
    finally:
        view.close()
        if driver.drove or stopped_by:
            counts = board.counts()
            hook.tell(
                "finished",
                exit_code=code if stopped_by else exit_code(counts, interrupted=driver.interrupted),
                interrupted=driver.interrupted,
                reason=stopped_by or driver.note,
                counts=counts,
            )
        hook.close()
        log.write("end", counts=board.counts(), interrupted=driver.interrupted, note=driver.note)
        log.close()
    return Outcome(
        counts=board.counts(),
        failures=driver.failures(),
        paused=driver.paused(),
        interrupted=driver.interrupted,
        submitted=driver.submitted,
        note=driver.note,
    )


@contextlib.contextmanager
def _interrupts(driver: Driver) -> Iterator[None]:
    """Ctrl-C interrupts the run, SIGTERM and the terminal's end the driver; handlers exist in the main thread only.

    SIGHUP asks for the end once: it never is the second Ctrl-C, because it comes along with one where
    a pipe's reader ends too. An ignored one stays ignored: somebody said `nohup`, or the driver is detached.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            driver.interrupt()
        elif number != signal.SIGHUP or not driver.interrupted:
            driver.leave()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
