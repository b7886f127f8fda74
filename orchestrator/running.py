"""One `run`: take the lease, bring the selected jobs to done, show it in MLflow, write the report.

With nothing to do it starts no backend, no tracker and no statistics.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.plugin import BackendContext, PlannedRun
from orchestrator.backends.protocol import Backend
from orchestrator.backends.registry import backend_plugin
from orchestrator.errors import ArtifactMissing, LeaseError, StoreError, disk_errors
from orchestrator.plan.job import Plan
from orchestrator.results import report_if_needed
from orchestrator.schedule import loop
from orchestrator.schedule.clock import SystemClock
from orchestrator.schedule.events import Event
from orchestrator.schedule.job_states import closure
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.resilient_store import ANSWER_S, Patience, Question, Silent
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store
from orchestrator.study import Study, checkout
from orchestrator.tracking.projection import SHOWN_STAGES
from orchestrator.tracking.protocol import Tracker
from orchestrator.tracking.registry import make_tracker
from orchestrator.ui.progress import View

TRACKING_END_S = 120.0
"""How long a finished run waits for MLflow; what is not sent by then is left to `sync`."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a run came to."""

    outcome: loop.Outcome
    report: Path | None
    """The report's page, where there is one."""
    written: bool
    """Whether the report was written by this run."""


def run_study(
    study: Study,
    selected: Collection[str],
    view: View,
    selection: Mapping[str, Any],
    on_lease: Callable[[], object] | None = None,
) -> Ran:
    """Bring `selected` and what it needs to done, then write the report of the whole matrix.

    Args:
        study: opened; its plan is remembered as the last one.
        selected: ids of jobs.
        view: shows progress.
        selection: how the jobs were chosen, for the ledger.
        on_lease: called once this process is the study's driver.

    Raises:
        LeaseError: another driver runs the study.
        SiteError: the site cannot run what is to be done; nothing was booked for it.
        BackendError, StoreError, LedgerError: what a run needs cannot be used.
    """
    with disk_errors(study.home), contextlib.ExitStack() as held:
        lease = held.enter_context(acquire(study.home, say=view.say))
        if on_lease is not None:
            on_lease()
        ledger = held.enter_context(
            Ledger.open(study.home / NAME, lease.check, rebuild=rebuilder(study.home, study.store))
        )
        patience = Patience(study.store, SystemClock(), log=_unsaid, say=view.say, patience_s=study.cluster.unknown_s)
        patience.insist(lambda: make_store(study.cluster.store.kind, study.home / "store", check=True))
        tracker = make_tracker(study.cluster.tracking.kind, study.home, study.plan, study.cluster.tracking.uri)
        tracker.start(patience.insist(study.look))
        projection = Projection(tracker, study.store, study.plan)
        ledger.remember_plan(study.plan, selection)  # at once: other terminals ask for jobs of this very plan
        try:
            outcome = loop.run(
                study.plan,
                selected,
                home=study.home,
                store=study.store,
                ledger=ledger,
                backend_factory=_backend_of(study, selected, ledger, patience, view.say),
                cluster=study.cluster,
                view=view,
                observer=projection,
            )
            written = _report(study)
            if written and outcome.submitted:
                tracker.report(study.report_folder)
        except LeaseError:
            tracker.leave()
            raise
        finally:
            projection.finish()
            tracker.close(TRACKING_END_S)
    page = study.report_folder / "index.html"
    return Ran(outcome=outcome, report=page if page.is_file() else None, written=written)


def _unsaid(_what: str, **_fields: object) -> None:
    """For what happens before driver.log is open."""


def _report(study: Study) -> bool:
    if not backend_plugin(study.cluster.backend).publishes_results:
        return False
    return report_if_needed(study.report_folder, study.plan, study.look(), study.store, study.home, study.cluster)


def _backend_of(
    study: Study, selected: Collection[str], ledger: Ledger, patience: Patience, say: Callable[[str], None]
) -> Callable[[], Backend]:
    def make() -> Backend:
        # What runs already was admitted by an earlier driver; its job is not asked about again.
        settled = patience.insist(study.store.commits) | {attempt.fingerprint for attempt in ledger.open_attempts()}
        ids = closure(study.plan, selected, settled)
        jobs = [job for job in map(study.plan.jobs.__getitem__, ids) if job.fingerprint not in settled]
        cluster, plugin = study.cluster, backend_plugin(study.cluster.backend)
        planned = PlannedRun(
            home=study.home, cluster=cluster, cluster_file=study.cluster_file, matrix=study.matrix, jobs=jobs
        )
        plugin.preflight(planned, say)
        context = BackendContext(
            home=study.home,
            store_kind=cluster.store.kind,
            store_root=study.home / "store",
            stages=tuple(dict.fromkeys(job.stage for job in study.plan.jobs.values())),
            grace_s=cluster.grace_s,
            idle_s=cluster.idle_s,
            orphan_s=cluster.orphan_s,
            git=checkout(),
        )
        return plugin.build(context, cluster)

    return make


class Projection:
    """Passes the loop's events on to the tracker.

    A store that does not answer keeps nobody waiting: what is done is told once it has said where the artifact lies.
    """

    def __init__(self, tracker: Tracker, store: Store, plan: Plan) -> None:
        self._tracker = tracker
        self._store = store
        self._plan = plan
        self._due: dict[str, tuple[Event, Question[tuple[Path, str]]]] = {}

    def __call__(self, event: Event) -> None:
        """Tell the tracker what changed; `tick` lets it follow what grows."""
        if event.kind == "tick":
            self._tell_done()
            self._tracker.tick()
        elif event.standing is not None:
            stage = self._plan.jobs[event.job].stage
            if event.standing.state == "done" and stage in SHOWN_STAGES:
                self._due[event.job] = event, self._where(event)
            else:
                self._tell(event)

    def finish(self) -> None:
        """Tell the rest; without its artifact, which `sync` shows, where the store still does not answer."""
        until = time.monotonic() + ANSWER_S
        while self._due and time.monotonic() < until:
            self._tell_done()
            time.sleep(0.02)
        for event, _ in self._due.values():
            self._tell(event)
        self._due = {}

    def _where(self, event: Event) -> Question[tuple[Path, str]]:
        fingerprint = self._plan.jobs[event.job].fingerprint
        return Question(lambda: (self._store.fetch(fingerprint), self._store.read(fingerprint).git))

    def _tell_done(self) -> None:
        for job, (event, question) in list(self._due.items()):
            try:
                found: tuple[Path | None, str] = question.answer(0.0)
            except Silent:
                continue
            except ArtifactMissing:
                found = None, ""
            except (OSError, StoreError):
                self._due[job] = event, self._where(event)
                continue
            del self._due[job]
            self._tell(event, *found)

    def _tell(self, event: Event, artifact: Path | None = None, git: str = "") -> None:
        assert event.standing is not None
        attempt, work = event.attempt or None, event.paths.get("attempt")
        self._tracker.job_changed(event.job, event.standing, attempt, work, artifact, git)
