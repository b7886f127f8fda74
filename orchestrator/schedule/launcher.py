"""Starting attempts: what fits is placed and its intent booked, and only then does the backend hear of it."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.backends.protocol import Backend, Placement, Submission
from orchestrator.errors import BackendError, OrchestratorError
from orchestrator.host.checkpoints import attempt_folder, newest_checkpoint
from orchestrator.plan.job import Plan
from orchestrator.schedule.attempt_monitor import Finding, Watch
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.intents import write_intent
from orchestrator.schedule.job_states import Board
from orchestrator.schedule.ledger.database import Attempt, Ledger
from orchestrator.schedule.reconciler import Books
from orchestrator.schedule.requests import ExecutionSettings, build_submission, new_attempt_id
from orchestrator.schedule.teller import Teller
from workloads.runtime.fault_points import point

REFUSED_REST_S = 5.0
"""Rest after the backend refused to start anything."""


class Starter:
    """Books intents and submits them."""

    def __init__(
        self,
        *,
        plan: Plan,
        board: Board,
        books: Books,
        ledger: Ledger,
        home: Path,
        settings: ExecutionSettings,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self._plan = plan
        self._board = board
        self._books = books
        self._ledger = ledger
        self._home = home
        self._settings = settings
        self._clock = clock
        self._teller = teller
        self._attempted = ledger.attempt_counts()
        self._refused_until = float("-inf")
        self.submitted = 0
        """Attempts this driver has started."""

    def may_start(self, now: float) -> bool:
        """Whether the backend would listen now."""
        return now >= self._refused_until

    def intend(self, placed: Sequence[tuple[str, Placement]]) -> list[Submission]:
        """Book attempts that are about to be submitted."""
        submissions: list[Submission] = []
        for job_id, placement in placed:
            job = self._board.job(job_id)
            number = self._attempted.get(job.fingerprint, 0) + 1
            attempt = new_attempt_id(number)
            resume = newest_checkpoint(self._home, job.fingerprint) if number > 1 else None
            try:
                submission = build_submission(
                    job,
                    self._plan,
                    placement,
                    attempt=attempt,
                    home=self._home,
                    settings=self._settings,
                    accumulate=self._ledger.charges(job.fingerprint).accumulate,
                    resume=resume,
                )
            except OrchestratorError as error:
                self._books.hold_against(job, "failed", str(error))
                continue
            begun = -1 if resume is None else resume.step
            folder = attempt_folder(self._home, job.fingerprint, attempt)
            folder.mkdir(parents=True)
            self._attempted[job.fingerprint] = number
            intent = Attempt(
                id=attempt,
                fingerprint=job.fingerprint,
                job=job.id,
                label=job.label,
                stage=job.stage,
                backend=placement.host,
                intended=self._clock.time(),
                begun=begun,
                cpus=placement.cpus,
                devices=placement.devices,
            )
            write_intent(folder, intent)
            self._ledger.intend(intent)
            watch = Watch(attempt=attempt, job=job, folder=folder, begun=begun, since=self._clock.monotonic())
            self._books.open(watch, placement, f"on {placement.host}")
            submissions.append(submission)
        if submissions:
            point("intent.open")
        return submissions

    def submit(self, backend: Backend, submissions: Sequence[Submission]) -> None:
        """Give the backend what was booked; what it refuses is booked as never begun, and free."""
        if not submissions:
            return
        point("intent.booked")
        self._ledger.check()  # a driver that slept since then may have a successor
        try:
            tickets = dict(backend.submit(submissions))
        except BackendError as error:
            if len(submissions) > 1:  # one of them may be what is refused
                for submission in submissions:
                    self.submit(backend, [submission])
                return
            self._refused_until = self._clock.monotonic() + REFUSED_REST_S
            watch = self._books.watches[submissions[0].attempt]
            refused = Finding(what="ended", ending="interrupted", detail=f"the backend refused it: {error}")
            self._books.end(watch, refused, stopping=False, began=False)
            return
        point("submit.answered")
        self._books.later(lambda: self._ledger.ticketed(tickets))
        self.submitted += len(tickets)
        for submission in submissions:
            job, place = self._board.job(submission.job), submission.placement
            self._books.watches[submission.attempt].ticketed = bool(tickets[submission.attempt])
            self._teller.log(
                "submitted", attempt=submission.attempt, label=job.label, host=place.host, devices=place.devices
            )
            self._teller.event("submitted", job, submission.attempt)
