"""Recovery: attempts that an earlier controller left open are adopted where the backend outlives it, else ended."""

from collections.abc import Callable, Sequence

from orchestrator.backends.protocol import Adoption, Backend
from orchestrator.host.checkpoints import JobCheckpoints, attempt_folder
from orchestrator.host.processes import end_leftovers
from orchestrator.schedule.attempt_monitor import AttemptFinding, WatchedAttempt
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.job_states import STUCK, JobStates
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.schedule.reconciler import Reconciler

COMPLETED_ELSEWHERE = "another attempt has completed the job"


class Recovery:
    """The attempts that were open in the ledger when this controller began."""

    def __init__(self, context: RunContext, states: JobStates, reconciler: Reconciler) -> None:
        self._context = context
        self._states = states
        self._reconciler = reconciler
        self._open = context.ledger.open_attempts()

    def close_committed(self, stop_requested: Callable[[], bool]) -> None:
        """End the attempts that made the commit of their job; no backend is needed."""
        done = [attempt for attempt in self._open if attempt.fingerprint in self._reconciler.committed]
        store = self._context.store
        winners = [attempt for attempt in done if store.winner(attempt.fingerprint, stop_requested) == attempt.id]
        for attempt in done:
            JobCheckpoints(self._context.home, attempt.fingerprint).drop()
        for attempt in winners:
            self._reconciler.close_unwatched(attempt, "ok")
            self._open.remove(attempt)
        self._sweep(winners)

    def any_to_end(self) -> bool:
        """Whether the job of one has been cancelled, or completed by another attempt: it runs until it is ended."""
        return any(
            attempt.fingerprint in self._reconciler.committed or self._cancelled(attempt) for attempt in self._open
        )

    def run(self, backend: Backend) -> None:
        """Adopt the others where the backend outlives the controller; else they died with theirs, and are ended."""
        if backend.outlives_driver:
            self._adopt(backend)
        else:
            self._end()

    def _cancelled(self, attempt: Attempt) -> bool:
        job = self._context.jobs.get(attempt.fingerprint)
        return job is not None and job.id in self._states and self._states.state(job.id) in STUCK

    def _adopt(self, backend: Backend) -> None:
        if self._open:
            backend.adopt([self._adoption(attempt) for attempt in self._open])
        for attempt in self._open:
            adopted = self._watch(attempt) is not None
            if not adopted:  # this run does not need it, and it holds a place
                backend.stop([attempt.id])
                committed = attempt.fingerprint in self._reconciler.committed
                why = COMPLETED_ELSEWHERE if committed else "this run does not need it"
                self._reconciler.close_unwatched(attempt, "interrupted", why)
            self._context.events.log("adopted" if adopted else "stopped", attempt=attempt.id, label=attempt.label)
        self._open = []

    def _end(self) -> None:
        for attempt in self._open:
            committed = attempt.fingerprint in self._reconciler.committed
            why = COMPLETED_ELSEWHERE if committed else "its controller has died"
            watched = self._watch(attempt)
            gone = end_leftovers(attempt_folder(self._context.home, attempt.fingerprint, attempt.id))
            self._context.events.log("ended leftover", attempt=attempt.id, label=attempt.label, gone=gone)
            if watched is not None:
                finding = AttemptFinding(phase="ended", ending="interrupted", detail=why)
                self._reconciler.end(watched, finding, stopping=False)
            else:
                self._reconciler.close_unwatched(attempt, "interrupted", why)
        ended, self._open = self._open, []
        self._sweep(ended)

    def _sweep(self, dead: Sequence[Attempt]) -> None:
        """Remove what dead writers have left in the store; those that are still open may be alive."""
        folders = [(attempt.stage, attempt.fingerprint, attempt.id) for attempt in dead]
        self._context.store.sweep({attempt.id for attempt in self._open}, folders)

    def _watch(self, attempt: Attempt) -> WatchedAttempt | None:
        """Watch an attempt; None where this run does not need its job, or the job is done."""
        job = self._context.jobs.get(attempt.fingerprint)
        if job is None or job.id not in self._states or self._states.state(job.id) in {*STUCK, "done"}:
            return None
        watched = WatchedAttempt(
            attempt=attempt.id,
            job=job,
            folder=attempt_folder(self._context.home, attempt.fingerprint, attempt.id),
            begun=attempt.begun,
            submitted_at=self._context.clock.monotonic(),
            running=attempt.started is not None,
            has_ticket=bool(attempt.ticket),
        )
        self._reconciler.adopt(watched, attempt.placement)
        return watched

    def _adoption(self, attempt: Attempt) -> Adoption:
        return Adoption(
            attempt=attempt.id,
            ticket=attempt.ticket,
            job=attempt.job,
            label=attempt.label,
            work=str(attempt_folder(self._context.home, attempt.fingerprint, attempt.id)),
            placement=attempt.placement,
        )
