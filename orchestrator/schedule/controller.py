"""Controller: the loop of one run. Each tick observes the attempts, reconciles, places ready jobs and launches them.

An attempt's row is on disk before the attempt is submitted. A controller may die at any line: commits, attempt folders
and the ledger hold all it did, so that a restart runs the same code as a start.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from orchestrator.backends.protocol import Autoscaling, Backend, Placement, Report, WorkPlanning
from orchestrator.errors import BackendError, BackendSilent, LedgerError, OrchestratorError, StoreError
from orchestrator.schedule.attempt_monitor import AttemptFinding, AttemptMonitor
from orchestrator.schedule.budget import Spending
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.control.commands import CommandHandler
from orchestrator.schedule.expectations import expected_work
from orchestrator.schedule.failures import FailedJob, failed_of
from orchestrator.schedule.host_exclusion import host_endings
from orchestrator.schedule.job_states import IllegalTransition, JobStates
from orchestrator.schedule.launcher import Launch, Launcher
from orchestrator.schedule.placement import targets
from orchestrator.schedule.reconciler import Reconciler
from orchestrator.schedule.recovery import Recovery
from orchestrator.schedule.rooms import Target
from orchestrator.schedule.shutdown import STOP_SLACK_S, Shutdown
from orchestrator.wording import counted
from workloads.contract.request import Stage
from workloads.runtime.fault_points import point

SHORTEST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
WORK_S = 10.0
"""Between two looks at how much work is ready, which cost time in proportion to the jobs."""


class Controller:
    """Runs the jobs of `states`: `start`, then `run` if `has_work`; `committed`: fingerprints of done jobs."""

    def __init__(self, context: RunContext, states: JobStates, committed: set[str]) -> None:
        self._context = context
        self._states = states
        self._store = context.store
        self._events = context.events
        self._clock = context.clock
        self.shutdown = Shutdown(context.settings.grace_s)
        """Where requests to stop go."""
        self._reconciler = Reconciler(context, states, committed)
        self._launcher = Launcher(context)
        self._recovery = Recovery(context, states, self._reconciler)
        self._monitor = AttemptMonitor(context.store, lambda: self.shutdown.requested)
        self._commands = CommandHandler(context, self._reconciler, self.shutdown)
        self._spending = Spending(context.budget, lambda job: context.forecaster.of(job).seconds)
        self._ended_badly: list[tuple[str, str, str]] = []
        self._only_unknown_since: float | None = None
        self._pause_s = SHORTEST_PAUSE_S
        self._work_told_at = float("-inf")
        self._on_accepted: Callable[[], None] | None = None
        self.note = ""
        """Why it ended with work left."""
        self.used_backend = False
        """Whether a backend was made."""

    @property
    def submitted(self) -> int:
        """Attempts that this controller has started."""
        return self._launcher.submitted

    def has_work(self) -> bool:
        """Whether any job could be started now, or an attempt is to be ended."""
        return self._states.any_ready() or self._recovery.any_to_end()

    def failures(self) -> tuple[FailedJob, ...]:
        """Failed jobs, in the plan's order, each with the message of its newest attempt."""
        failed = [job_id for job_id in self._states.open_jobs() if self._states.state(job_id) == "failed"]
        reasons = [(self._states.job(job_id), self._states.standing(job_id).reason) for job_id in failed]
        return failed_of(self._context.home, reasons, self._context.ledger)

    def paused(self) -> Mapping[Stage, str]:
        """Stages that are paused, with the reason."""
        return self._reconciler.paused

    def start(self) -> None:
        """Record pending commands, and open attempts of jobs that are done; no backend is needed."""
        self._commands.start()
        self._reconciler.update_pauses(at_start=True)
        self._recovery.close_committed(lambda: self.shutdown.requested)

    def run(
        self, backend_factory: Callable[[], Backend], on_accepted: Callable[[], None], on_settled: Callable[[], None]
    ) -> None:
        """Run until nothing more can be done, or a request to stop has been carried out; the callbacks: see `run`."""
        self.used_backend = True
        self._on_accepted = on_accepted
        takes_over = bool(self._context.ledger.open_attempts())
        try:
            with self.shutdown.interruptible(not takes_over):
                backend = backend_factory()
        except KeyboardInterrupt:
            return
        try:
            now = self._clock.monotonic()
            endings = host_endings(self._context.ledger.attempts(), self._clock.time(), now)
            self._reconciler.exclusion.load(endings, now)
            self._recovery.run(backend)
            if (takes_over and backend.outlives_driver) or not self._states.any_ready():
                self._accept()  # hosts may not be asked, or be silent for long
            self._reconciler.placer.rebuild_queue()
            while self._tick(backend):
                self._clock.sleep(self._pause_s)
            self._reconciler.flush()
            self._store.sweep(set(self._reconciler.attempts), self._ended_badly)
            if not self.shutdown.requested:
                on_settled()
        except (OSError, LedgerError, StoreError, IllegalTransition):
            if not backend.outlives_driver:
                self._stop_at_checkpoints(backend)
            raise
        finally:
            backend.close()

    def _accept(self) -> None:
        if self._on_accepted is not None:
            self._on_accepted()
            self._on_accepted = None

    def _stop_at_checkpoints(self, backend: Backend) -> None:
        """Let the attempts save a checkpoint before they end with the controller, which cannot continue."""
        live = set(self._reconciler.attempts)
        if not live:
            return
        grace_s = self._context.settings.grace_s
        self._events.say(
            f"the run cannot continue; stopping {counted(len(live), 'attempt')} at a checkpoint (up to {grace_s:g} s)"
        )
        until = self._clock.monotonic() + grace_s + STOP_SLACK_S
        requests = self.shutdown.times
        with contextlib.suppress(BackendError, OSError):  # the caller reports why the run stops
            backend.stop(sorted(live))
            while self._clock.monotonic() < until and self.shutdown.times <= requests:
                reports = backend.poll()
                if not any(one in reports and reports[one].phase not in ("ended", "missing") for one in live):
                    break
                self._clock.sleep(SHORTEST_PAUSE_S)

    # One tick

    def _tick(self, backend: Backend) -> bool:
        """Observe, reconcile, place, launch; False: there is nothing left to wait for."""
        reconciler, shutdown = self._reconciler, self.shutdown
        self._context.ledger.check()
        commanded = self._commands.handle(backend)
        reports = self._poll(backend)
        now = self._clock.monotonic()
        observed = self._monitor.observe(
            reconciler.attempts, reports, reconciler.committed, now, stopping=shutdown.stopping
        )
        for fingerprint in observed.committed - reconciler.committed:
            self._context.finished.add(fingerprint)
        reconciler.committed |= observed.committed
        launches: list[Launch] = []
        ended = observed.any_ended
        with self._context.ledger.transaction() if ended or self._may_place(now) else contextlib.nullcontext():
            for watched, finding in observed.findings:
                if finding.phase == "ended" and finding.ending != "ok":
                    self._ended_badly.append((watched.job.stage, watched.job.fingerprint, watched.attempt))
                reconciler.apply(watched, finding, stopping=shutdown.stopping)
            if ended:
                self._count_spent()
                # What ended sooner than was estimated may leave enough for jobs that did not fit into the budget.
                if held := self._spending.held_back:
                    reconciler.placer.enqueue(job for job in self._states.ready() if job.id in held)
            if self._may_place(now):
                launches = self._prepare(reconciler.place(self._hosts(backend), now))
            elif isinstance(backend, Autoscaling):
                backend.waiting_for_room({})
            if ended or launches:
                reconciler.flush()
        if ended:
            point("ending.recorded")
        if reconciler.orphaned:
            backend.kill(reconciler.orphaned)
            reconciler.orphaned = []
        for result in self._launcher.submit(backend, launches):
            reconciler.record_submission(result)
        self._keep_to_budget()
        if self._events.tick_due(now):
            if isinstance(backend, Autoscaling):
                self._events.backend_requests(backend.pending_hosts())
            reconciler.flush()
            point("ticket.recorded")
            reconciler.exclusion.report(self._events, self._clock.monotonic(), has_choice=reconciler.placer.has_choice)
            failing, forecaster = self._store.unresponsive, self._context.forecaster
            left_s = shutdown.left_s(now)
            self._events.tick(reconciler.attempts.values(), forecaster, now, store_failing=failing, stops_in_s=left_s)
        longest = max(LONGEST_PAUSE_S, len(reconciler.attempts) / 1000.0)
        busy = commanded or ended or bool(launches)
        self._pause_s = SHORTEST_PAUSE_S if busy else min(longest, self._pause_s * 1.5)
        return self._goes_on(now)

    def _prepare(self, placements: Sequence[tuple[str, Placement]]) -> list[Launch]:
        """Prepare and record the launches of what was placed; a job of which no request can be made has failed."""
        launches: list[Launch] = []
        for job_id, placement in placements:
            job = self._states.job(job_id)
            if not self._spending.allows(job, self._clock.time()):
                continue
            try:
                launch = self._launcher.prepare(job, placement)
            except OrchestratorError as error:
                self._reconciler.mark_failed(job, str(error))
                continue
            self._reconciler.record_intent(launch)
            self._spending.begin(launch.watched.attempt, job)
            launches.append(launch)
        if launches:
            point("intent.open")
        return launches

    def _count_spent(self) -> None:
        """Count what the live attempts have spent, and those that have ended."""
        if not self._spending.limited:
            return
        live = self._reconciler.attempts.items()
        started = {one: watched.started_at[0] if watched.started_at else None for one, watched in live}
        self._spending.update(started, self._clock.time())

    def _keep_to_budget(self) -> None:
        """Where the live attempts have spent all there is, ask them to stop at a checkpoint."""
        if not self._spending.limited:
            return
        self._count_spent()
        live, now = self._reconciler.attempts, self._clock.time()
        if live and not self.shutdown.requested and (over := self._spending.over(now)):
            self.note = f"{over}: attempts stop at a checkpoint"
            self._events.say(self.note)
            self.shutdown.request()

    def _hosts(self, backend: Backend) -> Sequence[Target]:
        """The hosts that take attempts now; none while the backend does not respond."""
        self._tell_what_waits(backend)
        try:
            # A backend may only now start what it needs.
            with self.shutdown.interruptible(not self._reconciler.attempts):
                hosts = targets(backend)
        except BackendSilent as error:
            self._events.backend_error = str(error)
            return ()
        except KeyboardInterrupt:  # the next tick ends the run
            return ()
        self._events.backend_error = ""
        self._accept()
        if isinstance(backend, Autoscaling):
            self._events.backend_requests(backend.pending_hosts())
        return hosts

    def _tell_what_waits(self, backend: Backend) -> None:
        if isinstance(backend, Autoscaling):
            held = self._spending.held_back
            ready = (job for job in self._states.ready() if job.id not in held)
            backend.waiting_for_room(self._reconciler.placer.waiting(ready))
        if isinstance(backend, WorkPlanning) and self._clock.monotonic() - self._work_told_at >= WORK_S:
            self._work_told_at = self._clock.monotonic()
            backend.expected_work(expected_work(self._states.ready(), self._context.forecaster))

    def _may_place(self, now: float) -> bool:
        able = not self.shutdown.stopping and not self.shutdown.leaving and not self._store.unresponsive
        return able and self._launcher.may_submit(now) and self._states.any_ready()

    def _goes_on(self, now: float) -> bool:
        attempts = self._reconciler.attempts
        if self.shutdown.leaving:
            return False
        if self.shutdown.stopping:
            return self._waits_for_stop(now)
        if not attempts and not self._states.any_ready():
            return False
        held = self._spending.held_back
        if held and not attempts and all(job.id in held for job in self._states.ready()):
            self.note = self._spending.note()
            return False
        moving = any(not watched.unknown for watched in attempts.values())
        # A job that is ready beside nothing but unknown attempts has found no place, because they hold it.
        placeable = self._states.any_ready() and self._reconciler.placer.has_hosts and not self._store.unresponsive
        if moving or (not attempts and placeable):
            self._only_unknown_since = None
            return True
        if self._only_unknown_since is None:
            self._only_unknown_since = now
        unknown_s = self._context.settings.unknown_s
        if now - self._only_unknown_since < unknown_s:
            return True
        what = self._events.backend_error or self._reconciler.placer.shortage or "the backend has no hosts"
        if self._store.unresponsive:
            what = f"the store does not respond ({self._store.error})"
        elif attempts:
            what = f"nothing is known of {counted(len(attempts), 'attempt')}"
        self.note = (
            f"for {unknown_s:g} s {what} and no other job could be started; see `echo-matrix doctor`, "
            "then `run` again: it takes over the attempts that are left"
        )
        self._events.say(self.note)
        return False

    def _waits_for_stop(self, now: float) -> bool:
        """Whether an attempt has not ended since the request to stop; those that ignored the kill are given up."""
        if self.shutdown.given_up(now):
            if self._store.unresponsive:  # the next run will find out how they ended
                return False
            for watched in list(self._reconciler.attempts.values()):
                lost = AttemptFinding(phase="ended", ending="interrupted", detail="did not respond to the kill")
                self._reconciler.end(watched, lost, stopping=True)
        return bool(self._reconciler.attempts)

    def _poll(self, backend: Backend) -> Mapping[str, Report]:
        attempts = self._reconciler.attempts
        try:
            return backend.poll() if attempts else {}
        except BackendError as error:
            self._events.log("poll failed", error=str(error))
            detail = "the backend does not respond"
            return {attempt: Report(attempt=attempt, phase="unknown", detail=detail) for attempt in attempts}
