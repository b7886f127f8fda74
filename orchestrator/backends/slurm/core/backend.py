"""Attempts as SLURM jobs: one attempt one job, in arrays; they go on without a driver and are adopted.

What an attempt has written itself (`ended.json`, its heartbeat) comes first. SLURM is asked by one
`squeue` for all jobs at most every `poll_s`, and by one `sacct` for those that squeue has forgotten.
Nothing follows from a command that fails: what it would have reported stays `unknown`.
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Adoption, JobQueue, Report, Submission
from orchestrator.backends.slurm.core.batches import BatchEntry, read_batches, write_batch
from orchestrator.backends.slurm.core.commands import SlurmMissing, SlurmSilent, ask
from orchestrator.backends.slurm.core.feeder import Feeder
from orchestrator.backends.slurm.core.queue import QueueQuery, SlurmQueue
from orchestrator.backends.slurm.core.reports import Reports, TrackedJob, first_attempt, ticket_of
from orchestrator.backends.slurm.core.submit import SubmitUnanswered, arrays_of, sbatch_job, submit_batch
from orchestrator.backends.slurm.preflight.site import Site, read_site, room
from orchestrator.backends.slurm.settings import SlurmSettings
from orchestrator.errors import BackendError
from orchestrator.host.environment import patterns_of_hosts
from orchestrator.host.job import JOBS, STOP, SUBMISSION
from orchestrator.spec.cell import Resources

QUEUE = "slurm"
"""Recorded as the host of attempts in it."""


class JobBackend:
    """Attempts as SLURM jobs."""

    name = "slurm"
    outlives_driver = True

    def __init__(self, context: BackendContext, slurm: SlurmSettings, queue: SlurmQueue | None = None) -> None:
        """Remember the settings; SLURM is asked by the first call that needs it.

        Args:
            context: its `home` lies on a file system that login node and compute nodes share.
            slurm: the settings.
            queue: shared with another reader; None: one of its own.
        """
        self._home = context.home.resolve()
        self._settings = slurm
        self._stages = context.stages
        self._grace_s = context.grace_s
        self._description: dict[str, Any] = {"version": 1, **context.host_description()}
        self._tracked: dict[str, TrackedJob] = {}
        self._site: Site | None = None
        self._queue = queue or SlurmQueue(slurm.poll_s)
        self._queue.add(self._query)
        self._reports = Reports(self._home, self._queue, float(slurm.poll_s), self._cancel)
        self._feeder = Feeder(self._submit, self._note_held, self._end_unsubmitted)
        self._unconfirmed: dict[str, tuple[Submission, Path]] = {}
        """Attempt -> itself, and the list of its batch: tried again if SLURM turns out to have been too full."""
        self._began = time.time()
        self._closed = False

    def queues(self) -> Sequence[JobQueue]:
        """SLURM's queue, with room for as many attempts as the site, `max_jobs` and `max_waiting` allow.

        Raises:
            BackendError: the client commands are not there.
            SlurmSilent: slurmctld does not answer; where it did not, it is asked again every `poll_s`.
        """
        self._queue.ask()
        if self._queue.silent:
            raise SlurmSilent(self._queue.silent)
        site = self._known_site()
        ours = {tracked.ticket for tracked in self._open().values()}
        free = room(site, self._settings, self._stages, self._queue.states, ours)
        begun = sum(not self._waits(tracked) for tracked in self._open().values())
        return (
            JobQueue(name=QUEUE, slots=int(min(self._settings.max_jobs, free, begun + self._settings.max_waiting))),
        )

    def waiting_for_room(self, jobs: Mapping[tuple[str, Resources], int]) -> None:
        """Nothing follows: SLURM finds the room."""

    def pending_hosts(self) -> str:
        """What sbatch does not take now."""
        return self._feeder.trouble

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Submit attempts, those that ask for the same as one array; asking twice for one changes nothing.

        Raises:
            BackendError: this is closed.
        """
        if self._closed:
            raise BackendError("the SLURM backend is closed; make another one")
        new = [one for one in submissions if one.attempt not in self._tracked]
        self._feeder.feed(self._groups(new), time.monotonic(), silent=self._queue.silent)
        self._feeder.note_in_queue(self._in_queue())
        return {submission.attempt: self._tracked[submission.attempt].ticket for submission in submissions}

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Take up attempts of an earlier driver; `poll` looks for those without a ticket by the name of their job."""
        batches = read_batches(self._home)
        for one in attempts:
            work = Path(one.work)
            first, restarts = first_attempt(one.attempt)
            entry = batches.get(work.with_name(first), BatchEntry())
            self._tracked[one.attempt] = TrackedJob(
                work=work,
                ticket=one.ticket,
                name=entry.name,
                index=entry.index,
                short_limit=entry.short_limit,
                restarts=restarts,
            )

    def poll(self) -> Mapping[str, Report]:
        """What is known of all attempts; SLURM is asked at most every `poll_s`."""
        now = time.monotonic()
        open_now = self._open()
        if open_now:
            self._queue.ask()
            self._submit_held(now)
            self._repeat_requests()
        answers = {attempt: tracked.report for attempt, tracked in self._tracked.items() if tracked.report is not None}
        for attempt, tracked in open_now.items():
            report = self._reports.report(attempt, tracked, now)
            if report.ending == "interrupted" and not tracked.ticket and attempt in self._unconfirmed:
                submission, jobs = self._unconfirmed.pop(attempt)
                jobs.unlink(missing_ok=True)  # nothing of the name is to be looked for
                self._feeder.hold([submission], report.detail)
                report = Report(attempt=attempt, phase="waiting", detail=report.detail)
            if report.phase == "ended":
                tracked.report = report
                if report.successor is not None:
                    self._tracked[report.successor] = TrackedJob(
                        work=tracked.work.with_name(report.successor),
                        ticket=tracked.ticket,
                        name=tracked.name,
                        index=tracked.index,
                        short_limit=tracked.short_limit,
                        restarts=first_attempt(report.successor)[1],
                    )
            answers[attempt] = report
        return answers

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to save and end; those that wait are taken out of the queue."""
        self._ask_to_end(attempts, "stop")
        tickets = self._tickets(attempts)
        self._cancel(tickets, "--state=PENDING")
        self._cancel(tickets, "--state=RUNNING", "--signal=USR2")  # a file is seen late on some file systems

    def kill(self, attempts: Sequence[str]) -> None:
        """End attempts at once."""
        self._ask_to_end(attempts, "kill")  # for one that SLURM has taken without an answer, and begins later
        self._cancel(self._tickets(attempts))

    def _repeat_requests(self) -> None:
        """SLURM may have been away when an end was asked for, or the job not yet known by its number."""
        if self._queue.silent:
            return
        for end_asked, act in (("stop", self.stop), ("kill", self.kill)):
            unlisted = [
                attempt
                for attempt, tracked in self._open().items()
                if tracked.end_asked == end_asked and tracked.end_asked_at < self._queue.asked
                if (state := self._queue.state(tracked.ticket)) is not None and state.state != "COMPLETING"
                if state.phase == "waiting" or (state.phase == "running" and end_asked == "kill")
            ]
            if unlisted:
                act(unlisted)

    def close(self) -> None:
        """Stop driving; the attempts go on."""
        self._closed = True

    def _open(self) -> dict[str, TrackedJob]:
        return {attempt: tracked for attempt, tracked in self._tracked.items() if tracked.report is None}

    def _waits(self, tracked: TrackedJob) -> bool:
        """Whether it waits in the queue, or for it; one that SLURM does not list does not."""
        if not tracked.ticket:
            return True
        state = self._queue.state(tracked.ticket)
        return state is not None and state.phase == "waiting" and not state.waits_for_array

    def _query(self) -> QueueQuery:
        open_now = self._open().values()
        return QueueQuery(
            restarts={one.ticket: one.restarts for one in open_now if one.ticket},
            names={one.name for one in open_now if one.name and not one.ticket},
            since=self._oldest(),
        )

    def _known_site(self) -> Site:
        if self._site is None:
            try:
                self._site = read_site()
            except SlurmMissing as error:
                raise BackendError(str(error)) from error
        return self._site

    def _ask_to_end(self, attempts: Sequence[str], end_asked: Literal["stop", "kill"]) -> None:
        """Ask these to end through a file, and drop those that were never submitted."""
        for attempt in attempts:
            if attempt in self._tracked:
                self._unconfirmed.pop(attempt, None)
                self._tracked[attempt].end_asked, self._tracked[attempt].end_asked_at = end_asked, time.monotonic()
                with contextlib.suppress(OSError):
                    (self._tracked[attempt].work / STOP).touch()
        for submission in self._feeder.withdraw(attempts):
            self._end_unsubmitted(submission, "asked to end before SLURM took it")

    def _end_unsubmitted(self, submission: Submission, detail: str) -> None:
        self._note_held(submission, detail)
        self._tracked[submission.attempt].report = Report(
            attempt=submission.attempt, phase="ended", ending="interrupted", detail=detail, ended=time.time()
        )

    def _groups(self, submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
        """Those that ask for the same as one array."""
        return arrays_of(submissions, self._settings, self._known_site().array_size, self._grace_s)

    def _note_held(self, submission: Submission, why: str) -> None:
        work = Path(str(submission.request["work"]))
        self._tracked[submission.attempt] = TrackedJob(work=work, ticket="", name="", held=why)

    def _submit_held(self, now: float) -> None:
        """Try again what SLURM has refused for now."""
        if self._feeder.held and not self._queue.silent:
            self._feeder.retry(self._groups, now, in_queue=self._in_queue())

    def _in_queue(self) -> int:
        return sum(state.phase != "ended" for state in self._queue.states.values())

    def _submit(self, group: Sequence[Submission]) -> str:
        """Give attempts that share a script to sbatch; returns why nobody knows whether it took them, or nothing."""
        code = Path(self._description["code"])
        batch = sbatch_job(group, home=self._home, slurm=self._settings, code=code, grace_s=self._grace_s)
        write_batch(batch, group, self._description)
        unanswered = job = ""
        try:
            job = submit_batch(batch, sys.executable, patterns_of_hosts(self._description))
        except SubmitUnanswered as error:  # it may have been taken: what became of it is looked for by its name
            unanswered = self._queue.silent = str(error)
            if error.refused_as_full:
                self._unconfirmed.update({one.attempt: (one, batch.folder / JOBS) for one in group})
        except BackendError:
            (batch.folder / JOBS).unlink()  # nothing of the name is to be looked for
            raise
        for position, (submission, work) in enumerate(zip(group, batch.works, strict=True)):
            index = position if len(group) > 1 else None
            ticket = ticket_of(job, index)
            self._tracked[submission.attempt] = TrackedJob(
                work=work,
                ticket=ticket,
                name=batch.name,
                index=index,
                short_limit=batch.short_limit,
                unanswered=unanswered,
            )
            if ticket:
                self._queue.submitted(ticket, batch.name)
        return unanswered

    def _oldest(self) -> float:
        """When the oldest attempt that is tracked was made, seconds since 1970."""
        times = [self._began]
        for tracked in self._open().values():
            with contextlib.suppress(OSError):
                times.append((tracked.work / SUBMISSION).stat().st_mtime)
        return min(times)

    def _tickets(self, attempts: Sequence[str]) -> list[str]:
        found = [self._tracked[attempt] for attempt in attempts if attempt in self._tracked]
        return [tracked.ticket for tracked in found if tracked.report is None and tracked.ticket]

    def _cancel(self, tickets: Sequence[str], *options: str) -> None:
        if not tickets:
            return
        # It fails, too, over a job that has ended meanwhile: whether SLURM answers is for squeue to say.
        with contextlib.suppress(SlurmSilent):  # `poll` asks again
            ask("scancel", "--quiet", *options, *tickets)
