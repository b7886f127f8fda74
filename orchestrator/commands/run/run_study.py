"""One run: takes the lease, runs the controller, sends results to the tracker, writes the report.

With nothing to do, it starts neither backend nor tracker and computes no statistics.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.backends.plugin import BackendContext, PlannedRun
from orchestrator.backends.protocol import Backend
from orchestrator.backends.registry import backend_plugin
from orchestrator.commands.libraries import require_libraries_of
from orchestrator.commands.run.early_report import EarlyReport
from orchestrator.commands.run.opening import opening_text
from orchestrator.commands.run.report import report_of
from orchestrator.commands.unrunnable import unrunnable
from orchestrator.errors import ArtifactMissing, LeaseError, SiteError, StoreError, disk_errors
from orchestrator.host.code import copy_code
from orchestrator.host.warm_server import server_command
from orchestrator.last_run import cluster_json
from orchestrator.opening import where_it_ran
from orchestrator.plan.job import Job, Plan
from orchestrator.provenance import commits_of, version
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.clock import SystemClock
from orchestrator.schedule.events import Event, View
from orchestrator.schedule.job_states import closure
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.order import First
from orchestrator.schedule.resilient_store import CALL_TIMEOUT_S, ResilientStore, StoreTimeout, TimedCall
from orchestrator.schedule.run import RunResult, run
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.schedule.shared_runs import record_shared_run
from orchestrator.spec.workload import package_of
from orchestrator.store.protocol import RECENT_S, Store
from orchestrator.study import Study
from orchestrator.tracking.protocol import JobChange, Tracker
from orchestrator.tracking.registry import make_tracker
from orchestrator.tracking.replay import completed_change
from orchestrator.ui.terminal import told_if_slow
from reports.input import PAGE

TRACKING_END_S = 120.0
"""How long a finished run waits for the tracker; the next run or `sync` sends the rest."""
TRACKING_STOP_S = 5.0
"""The same for a run that was stopped; the next run sends the rest."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """The outcome of a run and its report."""

    outcome: RunResult
    report: Path | None
    """The report's page, if there is one."""
    written: bool
    """Whether the report was written by this run."""
    summary: str
    """What `summarise` made of the results; empty where nothing was computed, or the results have no meaning."""


def run_study(
    study: Study,
    selected: Collection[str],
    view: View,
    selection: Mapping[str, Any],
    on_lease: Callable[[], object] | None = None,
    *,
    budget: Budget | None = None,
    first: First | None = None,
    summarise: Callable[[], str] = str,
) -> FinishedRun:
    """Run what is missing of `selected` and its dependencies, then write the report of the whole plan.

    A run that was stopped writes no report, so that it ends soon: the next one does.

    Args:
        study: its plan is recorded as the last one, once the run could start.
        selected: ids of jobs.
        view: shows progress.
        selection: how the jobs were chosen, for the ledger.
        on_lease: called once this process holds the lease.
        budget: after how much it starts nothing more, and when it stops.
        first: which parts of the study are to be finished first.
        summarise: called once the report is written, in another thread, while the tracker ends.

    Raises:
        PlanError: the registration of the plan was edited.
        LeaseError: another run is in progress.
        SiteError: the site cannot run these jobs; nothing was started.
        RequirementError: a library is not installed; nothing was started.
        BackendError, StoreError, LedgerError: the backend, store or ledger cannot be used.
    """
    _ = study.registered  # an edited one is refused before anything runs, not when the report is written
    with disk_errors(study.home), contextlib.ExitStack() as held:
        lease = held.enter_context(acquire_study(study.home, study.store.objects, say=view.say))
        if on_lease is not None:
            on_lease()
        ledger = held.enter_context(
            Ledger.open(study.home / NAME, lease.check, rebuild=rebuilder(study.home, study.store))
        )
        resilient = ResilientStore(
            study.store, SystemClock(), log=_no_log, say=view.say, give_up_after_s=study.cluster.unknown_s
        )
        resilient.call(study.store.check)
        tracking, variables = study.cluster.tracking, study.cluster.environment.tracking
        tracker = make_tracker(tracking.kind, study.home, study.plan, tracking.uri, variables)
        standings = resilient.call(study.standings)
        began = time.time()
        if opening := opening_text(study, selected, standings, began):
            view.say(opening)
        tracker.start(standings)
        observer, report = TrackerObserver(tracker, study.store, study.plan), EarlyReport(study)

        def observe(event: Event) -> None:
            observer(event)
            if event.kind == "tick":
                report.expect_end(event.left_s)

        def record() -> None:
            # Before the first attempt, since other commands look jobs up in the last plan; of a run that is refused,
            # they would show what never began. The store first: `gc` of another home must not remove what it asks for.
            objects = study.store.objects
            if objects is not None:
                resilient.call(lambda: record_shared_run(objects, study.plan, study.matrix, study.home, lease.holder))
            ledger.record_plan(
                study.plan,
                {**selection, **where_it_ran(study)},
                matrix=study.matrix,
                at=began,
                settings=cluster_json(study.cluster, study.cluster_file),
            )

        stopped, summary = False, None
        try:
            outcome = run(
                study.plan,
                selected,
                home=study.home,
                store=study.store,
                ledger=ledger,
                backend_factory=_backend_of(study, selected, ledger, resilient, view.say),
                cluster=study.cluster,
                view=view,
                observer=observe,
                capacity=study.capacity,
                budget=budget,
                first=first,
                on_accepted=record,
                on_settled=report.begin,
            )
            stopped = outcome.interrupted
            observer.finish(everything=not stopped)
            with told_if_slow(view.say, "writing the report"):
                settled = all(now.state == "done" for now in standings.values())
                if report.begun:
                    written = report.written()
                else:
                    written = not stopped and report_of(
                        study, 0.0 if outcome.submitted else RECENT_S, standings if settled else None
                    )
            if written and outcome.submitted:
                tracker.report(study.report_folder)
            if outcome.submitted and not stopped and report.is_there:
                summary = report.then(summarise)
        except LeaseError:
            tracker.leave()
            raise
        finally:
            with told_if_slow(view.say, "sending the rest to the tracker"):
                observer.finish(everything=not stopped)
                tracker.close(TRACKING_STOP_S if stopped else TRACKING_END_S)
    return FinishedRun(
        outcome=outcome,
        report=study.report_folder / PAGE if report.is_there else None,
        written=written,
        summary="" if summary is None else summary.result(),
    )


def _no_log(_what: str, **_fields: object) -> None:
    """Replaces driver.log before it is open."""


def _backend_of(
    study: Study, selected: Collection[str], ledger: Ledger, resilient: ResilientStore, say: Callable[[str], None]
) -> Callable[[], Backend]:
    def make() -> Backend:
        say(f"starting backend {study.cluster.backend}")  # some take ten seconds and more
        # Open attempts passed preflight when they were submitted.
        open_attempts = ledger.open_attempts()
        settled = resilient.call(study.store.commits) | {attempt.fingerprint for attempt in open_attempts}
        ids = closure(study.plan, selected, settled)
        jobs = [job for job in map(study.plan.jobs.__getitem__, ids) if job.fingerprint not in settled]
        cluster, plugin = study.cluster, backend_plugin(study.cluster.backend)
        planned = PlannedRun(
            home=study.home,
            cluster=cluster,
            cluster_file=study.cluster_file,
            matrix=study.matrix,
            jobs=jobs,
            takes_over=bool(open_attempts),
        )
        require_libraries_of(study, {job.stage: job.spec for job in jobs}.values())
        capacity = plugin.preflight(planned, say)
        if why := unrunnable(jobs, capacity):
            if not planned.takes_over:
                raise SiteError(why)
            say(why)  # the attempts that are left may run on
        digest, _ = copy_code(study.home, extra=package_of(study.plan.workload_name))
        return plugin.build(context_of(study, digest, jobs, say), cluster)

    return make


def context_of(
    study: Study, code_digest: str, jobs: Iterable[Job], say: Callable[[str], object] = lambda _text: None
) -> BackendContext:
    """What the backend of a study is given.

    Args:
        study: the study.
        code_digest: of the code that its jobs run.
        jobs: those that would run.
        say: is told what of the code's commit is not known.
    """
    cluster = study.cluster
    return BackendContext(
        home=study.home,
        store=study.store_location,
        stages=tuple(study.plan.workload.by_name),
        resources={job.stage: job.resources for job in study.plan.jobs.values()},
        grace_s=cluster.grace_s,
        idle_s=cluster.idle_s,
        orphan_s=cluster.orphan_s,
        code_digest=code_digest,
        git=commits_of(package_of(study.plan.workload_name), study.home, say),
        version=version(),
        needs_devices=any(job.resources.devices for job in jobs),
        server=server_command(study.plan.workload_name),
        variables=study.job_variables,
    )


class TrackerObserver:
    """Passes the controller's events on to the tracker.

    It never waits for the store: a completed job is passed on once the store has returned its artifact.
    """

    def __init__(self, tracker: Tracker, store: Store, plan: Plan) -> None:
        self._tracker = tracker
        self._store = store
        self._plan = plan
        self._pending: dict[str, tuple[Event, TimedCall[JobChange]]] = {}
        self._passed: set[str] = set()
        """Completed jobs that were passed on with their artifact."""
        self._started: dict[str, float] = {}
        """When the live attempt of a job started."""

    def __call__(self, event: Event) -> None:
        """Pass on a change; at a `tick` the tracker reads growing files."""
        if event.kind == "tick":
            self._send_completed()
            self._tracker.tick()
        elif event.standing is not None:
            if event.kind == "started":
                self._started[event.job] = event.at
            if event.standing.state == "done" and self._plan.jobs[event.job].spec.tracked:
                self._pending[event.job] = event, self._question(event)
            else:
                self._send(event)

    def finish(self, *, everything: bool = True) -> None:
        """Pass on the rest; if the store does not respond, without the artifact, which `sync` sends later.

        With `everything`, what was completed by earlier runs too, if the tracker wants it. Again: nothing to do.
        """
        until = time.monotonic() + CALL_TIMEOUT_S
        while self._pending and time.monotonic() < until:
            self._send_completed()
            time.sleep(0.02)
        for event, _ in self._pending.values():
            self._send(event)
        if everything and not self._pending and self._tracker.wants_all():
            with contextlib.suppress(StoreTimeout, StoreError, OSError):  # `sync` sends it later
                TimedCall(self._pass_all).result(CALL_TIMEOUT_S)
        self._pending = {}

    def _pass_all(self) -> None:
        done = self._store.commits()
        for job in self._plan.jobs.values():
            if job.spec.tracked and job.fingerprint in done and job.id not in self._passed:
                self._tracker.job_changed(completed_change(job, self._store))
                self._passed.add(job.id)

    def _question(self, event: Event) -> TimedCall[JobChange]:
        job = self._plan.jobs[event.job]
        return TimedCall(lambda: completed_change(job, self._store, event.paths.get("attempt")))

    def _send_completed(self) -> None:
        for job, (event, question) in list(self._pending.items()):
            try:
                found: JobChange | None = question.result(0.0)
            except StoreTimeout:
                continue
            except ArtifactMissing:
                found = None
            except (OSError, StoreError):
                self._pending[job] = event, self._question(event)
                continue
            del self._pending[job]
            if found is None:
                self._send(event)
            else:
                self._passed.add(job)
                self._tracker.job_changed(replace(found, standing=event.standing or found.standing))

    def _send(self, event: Event) -> None:
        assert event.standing is not None
        self._tracker.job_changed(
            JobChange(
                event.job,
                event.standing,
                event.attempt or None,
                event.paths.get("attempt"),
                started=self._started.get(event.job),
                ended=event.at if event.kind in ("ended", "done") else None,
            )
        )
