"""Entry point of schedule/: brings the selected jobs, and what they need, to done.

Makes the run context and job states, runs the controller, and reports how the run ended.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orchestrator.backends.protocol import Backend
from orchestrator.errors import OrchestratorError
from orchestrator.plan.continued import shorter_jobs, work_left
from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.growth import NONE, FinishedItems
from orchestrator.plan.job import Plan, State
from orchestrator.plan.makespan import Capacity
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.controller import Controller
from orchestrator.schedule.driver_log import DriverLog
from orchestrator.schedule.events import Observer, RunEvents, SilentView, View
from orchestrator.schedule.failures import FailedJob
from orchestrator.schedule.job_states import JobStates, closure
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.notifications import Notifier
from orchestrator.schedule.order import First
from orchestrator.schedule.recognition import recognise
from orchestrator.schedule.resilient_store import ResilientStore
from orchestrator.schedule.shutdown import signals_handled
from orchestrator.spec.cluster import Cluster
from orchestrator.store.protocol import Store
from orchestrator.store.removed import without_videos
from workloads.contract.request import Stage


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended."""

    counts: dict[State, int]
    """States of the selected jobs and what they needed."""
    failures: tuple[FailedJob, ...]
    """Failed jobs, in the plan's order."""
    paused: Mapping[Stage, str] = field(default_factory=dict)
    """Stages that are paused, with the reason."""
    blocked: Mapping[str, int] = field(default_factory=dict)
    """Why jobs are blocked that need no other blocked job: reason -> number, the most frequent first."""
    interrupted: bool
    submitted: int
    """Attempts that this run has started; 0: there was nothing to do, and no backend was made."""
    note: str = ""
    """Why the run ended with work left, where it was not interrupted."""

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
    cluster: Cluster,
    clock: Clock | None = None,
    view: View | None = None,
    observer: Observer | None = None,
    capacity: Capacity | None = None,
    budget: Budget | None = None,
    first: First | None = None,
    on_accepted: Callable[[], None] = lambda: None,
    on_settled: Callable[[], None] = lambda: None,
) -> RunResult:
    """Bring the selected jobs, and what they need, to done.

    Ctrl-C asks the attempts to stop at a checkpoint, a second one kills them; either way they are
    recorded as interrupted and the next run resumes them. SIGTERM does the same where attempts end
    with the controller; where they outlive it they continue, and the next run adopts them.

    Args:
        plan: the whole matrix.
        selected: ids of jobs in it.
        home: `outputs/{study}`; its lease is held by the caller, and fences the ledger.
        store: where artifacts and their commit records are.
        ledger: open for writing.
        backend_factory: called once, and only if there is something to start.
        cluster: budgets and execution settings, as read from cluster/*.yaml.
        clock: the machine's by default.
        view: shows progress; nothing by default.
        observer: called with every event; must be quick.
        capacity: what attempts may use at a time, for the estimated time left; not known by default.
        budget: after how much it starts nothing more, and when it stops; no limits by default.
        first: which parts of the study are to be finished first.
        on_accepted: called once, when the run could start: there is nothing to start, an attempt is taken over, or
            the backend has said where attempts can run. Always before the first attempt is submitted.
        on_settled: called once nothing more is to be done, before the backend ends, which may take seconds; not after
            a request to stop, nor where there was nothing to start.

    Raises:
        LeaseError: another controller took over.
        LedgerError, StoreError: ledger or store cannot be used.
        BackendError: the backend cannot start.
    """
    clock = clock or SystemClock()
    view = view or SilentView()
    log = DriverLog(home / "driver.log", clock.time)
    notifier = Notifier(
        cluster.on_event,
        study=plan.study,
        profile=plan.profile,
        log=home / "driver.log",
        note=log.write,
        clock=clock,
        variables=cluster.environment.on_event,
    )
    resilient = ResilientStore(store, clock, log=log.write, say=view.say, give_up_after_s=cluster.unknown_s)
    committed = resilient.call(store.commits)
    finished = FinishedItems(
        committed,
        resilient.record,
        cache(lambda: without_videos(resilient.call(store.removed), frozenset(committed), resilient.record)),
    )
    open_ = [plan.jobs[job_id] for job_id in closure(plan, selected, committed)]
    recognised = recognise((job for job in open_ if job.fingerprint not in committed), finished, store)
    committed |= recognised
    requested = closure(plan, selected, committed)
    states = JobStates(plan, requested, committed, ledger.history(), keeps_states=cluster.keep_stable)
    # With nothing to start nobody asks how long anything takes, and 10,000 durations are a quarter of such a run.
    growth = {job_id: finished.growth(states.job(job_id)) for job_id in states.open_jobs()}
    shorter = shorter_jobs(map(states.job, growth) if cluster.keep_stable else ())
    left = work_left(lambda job: growth.get(job.id, NONE), shorter)
    forecaster = Forecaster(plan, ledger.durations() if growth else (), cluster.backend, left)
    context = RunContext(
        plan=plan,
        home=home,
        clock=clock,
        store=resilient,
        ledger=ledger,
        events=RunEvents(states, home, clock, view, observer, log, notifier, capacity or Capacity()),
        settings=cluster,
        forecaster=forecaster,
        finished=finished,
        expected={job_id: forecaster.of(states.job(job_id)) for job_id in states.open_jobs()},
        budget=budget or Budget(),
        first=first,
    )
    controller = Controller(context, states, set(committed))
    shutdown = controller.shutdown
    if recognised:
        log.write("recognised", jobs=len(recognised))
    log.write("run", study=plan.study, profile=plan.profile, jobs=len(states), counts=states.counts())
    error_text, code = "", 1
    try:
        with signals_handled(shutdown):
            controller.start()
            if controller.has_work():
                controller.run(backend_factory, on_accepted, on_settled)
            else:
                on_accepted()
    except (OrchestratorError, OSError) as error:
        error_text, code = str(error), getattr(error, "exit_code", code)
        raise
    finally:
        view.close()
        if controller.used_backend or error_text:
            counts = states.counts()
            notifier.notify(
                "finished",
                exit_code=code if error_text else exit_code(counts, interrupted=shutdown.requested),
                interrupted=shutdown.requested,
                reason=error_text or controller.note,
                counts=counts,
            )
        notifier.close()
        log.write("end", counts=states.counts(), interrupted=shutdown.requested, note=controller.note)
        log.close()
    return RunResult(
        counts=states.counts(),
        failures=controller.failures(),
        paused=controller.paused(),
        blocked=_blocked(states),
        interrupted=shutdown.requested,
        submitted=controller.submitted,
        note=controller.note,
    )


def _blocked(states: JobStates) -> dict[str, int]:
    """Reasons of the blocked jobs, the most frequent first; jobs that wait for a blocked one are left out."""
    found = states.standings()
    blocked = {job: one.reason for job, one in found.items() if one.state == "blocked"}
    reasons = Counter(why for job, why in blocked.items() if blocked.keys().isdisjoint(states.job(job).needs))
    return dict(reasons.most_common())
