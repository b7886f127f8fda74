"""Events of a run: sent to the view, the observer (tracking), driver.log and the user's notification command.

None of the receivers can stop the run or returns anything to it.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.forecast import Forecaster
from orchestrator.plan.job import Job, Standing, State
from orchestrator.plan.makespan import Capacity
from orchestrator.schedule.attempt_monitor import WatchedAttempt
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.driver_log import DriverLog
from orchestrator.schedule.job_states import JobStates
from orchestrator.schedule.notifications import Notifier, Occasion
from orchestrator.schedule.progress import RunProgress, progress_of, remaining_s, shown_metric
from orchestrator.schedule.retry_policy import first_line
from orchestrator.wording import counted
from workloads.runtime.masking import mask, secrets_of

Kind = Literal["submitted", "started", "ended", "done", "tick"]

TICK_S = 1.0
"""Between refreshes of the view, and between `tick` events."""
JOBS_PER_S = 2000.0
"""Of how many jobs the rest is estimated in a second: 60,000 take a third of a second, every half minute."""
SAY_AFTER_S = 10.0
"""How long the backend may not respond before the user is told; shorter outages are not reported."""
NOTIFY_AFTER_S = 60.0
"""How long nothing may be known of any attempt before the notification `unknown` is sent."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a job, or (`tick`, about once a second) time went on."""

    kind: Kind
    at: float
    """Seconds since 1970, by the controller's clock."""
    job: str = ""
    """Job id; empty for `tick`."""
    label: str = ""
    attempt: str = ""
    ending: str = ""
    """`ended` only."""
    detail: str = ""
    alike: str = ""
    """`ended` only: label of an earlier job of this run that failed with the same traceback."""
    standing: Standing | None = None
    """Of the job, after the event."""
    took_s: float | None = None
    """`ended` only: how long the attempt ran, s; None: it did not start, or an earlier controller saw it start."""
    metric: tuple[str, float] | None = None
    """`ended` only: the last value of the metric that is shown (`shown_metric`)."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    """`attempt`: its folder. For `tick`: job id -> folder of its live attempt."""
    left_s: float | None = None
    """`tick` only: seconds until the run ends, as estimated; None: not known, or it is being stopped."""


Observer = Callable[[Event], None]
"""Called by the controller; must be quick. What it raises is logged, and the run continues."""


class View(Protocol):
    """Shows a run to the user; `ui.progress` has the implementations."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """A job was started or ended."""

    def tick(self, progress: RunProgress) -> None:
        """Called about once a second."""

    def say(self, text: str) -> None:
        """Show a sentence."""

    def close(self) -> None:
        """The run has ended."""


class SilentView:
    """Shows nothing: for `--json` and tests."""

    def event(self, event: Event, counts: Mapping[State, int], elapsed_s: float) -> None:
        """Nothing."""

    def tick(self, progress: RunProgress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class RunEvents:
    """Sends what happens in a run to all its receivers; `states` is only read."""

    def __init__(
        self,
        states: JobStates,
        home: Path,
        clock: Clock,
        view: View,
        observer: Observer | None,
        log: DriverLog,
        notifier: Notifier,
        capacity: Capacity,
    ) -> None:
        self._states = states
        self._home = home
        self._clock = clock
        self._view = view
        self._observer = observer
        self._log = log
        self._notifier = notifier
        self._capacity = capacity
        self._unknown_since: float | None = None
        self._announced = self._notified = False
        self._requested = ""
        self.backend_error = ""
        """Why the backend does not respond; empty: it does."""
        self._began = clock.monotonic()
        self._ticked = float("-inf")
        self._remaining: tuple[float, float | None] = (0.0, None)
        """When the rest was last estimated, and its seconds."""

    def log(self, what: str, **fields: object) -> None:
        """Write a line of driver.log."""
        self._log.write(what, **fields)

    def say(self, text: str) -> None:
        """Show a sentence to the user, without secrets; an empty one is not shown."""
        if text:
            self._view.say(mask(text, secrets_of(os.environ)))

    def backend_requests(self, text: str) -> None:
        """Report what the backend has requested and does not have yet, when that changes."""
        if text != self._requested:
            self._requested = text
            self.log("backend requests", text=text)
            self.say(text)

    def notify(self, occasion: Occasion, **fields: object) -> None:
        """Send a notification."""
        self._notifier.notify(occasion, counts=self._states.counts(), **fields)

    def emit(
        self,
        kind: Kind,
        job: Job,
        attempt: str,
        *,
        ending: str = "",
        detail: str = "",
        alike: str = "",
        watched: WatchedAttempt | None = None,
    ) -> None:
        """Something happened to an attempt; the job's state is up to date. `alike`: see `Event`.

        `watched`: for `ended`, what was known of the attempt.
        """
        started = None if watched is None else watched.started_at
        event = Event(
            kind=kind,
            at=self._clock.time(),
            job=job.id,
            label=job.label,
            attempt=attempt,
            ending=ending,
            detail=detail,
            alike=alike,
            standing=self._states.standing(job.id),
            took_s=None if started is None else self._clock.monotonic() - started[1],
            metric=None if watched is None else shown_metric(job, watched.values),
            paths={"attempt": attempt_folder(self._home, job.fingerprint, attempt)},
        )
        if kind in ("started", "ended"):
            self._view.event(event, self._states.counts(), self._clock.monotonic() - self._began)
        self._observe(event)

    def tick_due(self, now: float) -> bool:
        """Whether `TICK_S` have passed since the last tick."""
        return now - self._ticked >= TICK_S

    def tick(
        self,
        attempts: Iterable[WatchedAttempt],
        forecaster: Forecaster,
        now: float,
        *,
        store_failing: bool = False,
        stops_in_s: float | None = None,
    ) -> None:
        """Refresh the view, and tell the observer where the live attempts write."""
        self._ticked = now
        live = sorted(attempts, key=lambda one: one.submitted_at)
        progress = RunProgress(
            counts=self._states.counts(),
            attempts=[progress_of(watched, forecaster, now) for watched in live],
            elapsed_s=now - self._began,
            eta_s=self._remaining_s(live, forecaster, now) if stops_in_s is None else None,
            stops_in_s=stops_in_s,
        )
        self._view.tick(progress)
        paths = {watched.job.id: watched.folder for watched in live}
        self._observe(Event(kind="tick", at=self._clock.time(), paths=paths, left_s=progress.eta_s))
        if not store_failing:  # the user has been told already
            self._note_unknown(live, now)
        self._notifier.tick()

    def _remaining_s(self, live: Sequence[WatchedAttempt], forecaster: Forecaster, now: float) -> float | None:
        """Like `remaining_s`, which costs time in proportion to the jobs, and is called the less often for it."""
        at, known = self._remaining
        if known is None or now - at >= len(self._states) / JOBS_PER_S:
            at, known = self._remaining = now, remaining_s(self._states, live, forecaster, now, self._capacity)
        return None if known is None else max(0.0, known - (now - at))

    def _note_unknown(self, live: list[WatchedAttempt], now: float) -> None:
        """Tell the user once when nothing has been known of any attempt for a while; later send a notification."""
        reason = self.backend_error
        if live and all(watched.unknown for watched in live):
            reason = self._states.standing(live[0].job.id).reason
        elif live:
            reason = ""
        if not reason:
            if self._announced:
                self.say("the backend responds again")
            self._unknown_since, self._announced, self._notified = None, False, False
            return
        if self._unknown_since is None:
            self._unknown_since = now
        if now - self._unknown_since >= SAY_AFTER_S and not self._announced:
            self._announced = True
            what = f"nothing is known of {counted(len(live), 'attempt')}" if live else "nothing can be started"
            self.say(f"{what} ({first_line(reason)}); the backend is polled again, and nothing is submitted twice")
        if live and now - self._unknown_since >= NOTIFY_AFTER_S and not self._notified:
            self._notified = True
            self.notify("unknown", reason=reason, attempts=len(live))

    def _observe(self, event: Event) -> None:
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception as error:
            # Whatever tracking raises, the study continues: `sync` sends later what is missing.
            self._log.write("observer failed", event=event.kind, error=repr(error))
