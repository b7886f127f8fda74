"""Tells view, observer, driver.log and the user's command what the driver does; none of them can stop it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.job import Job
from orchestrator.schedule.attempt_monitor import Watch
from orchestrator.schedule.clock import Clock
from orchestrator.schedule.events import DriverLog, Event, Kind, Observer
from orchestrator.schedule.job_states import STUCK, Board
from orchestrator.schedule.notifications import Hook, What
from orchestrator.schedule.retry_policy import first_line
from orchestrator.ui.progress import Line, Picture, View

TICK_S = 1.0
"""Between pictures, and between `tick` events."""
SAY_AFTER_S = 10.0
"""Without a word of the backend, before the user is told; shorter silences are not worth a sentence."""
SILENCE_S = 60.0
"""Without a word of any attempt, before the user's command is told `unknown`."""


class Teller:
    """Where the driver's news go."""

    def __init__(
        self,
        board: Board,
        home: Path,
        clock: Clock,
        view: View,
        observer: Observer | None,
        log: DriverLog,
        hook: Hook,
    ) -> None:
        self._board = board
        self._home = home
        self._clock = clock
        self._view = view
        self._observer = observer
        self._log = log
        self._hook = hook
        self._silent_since: float | None = None
        self._silence_said = self._silence_told = False
        self.silent = ""
        """Why the backend takes nothing now: it does not answer; empty: it does."""
        self._asking = ""
        self._began = clock.monotonic()
        self._pictured = float("-inf")

    def log(self, what: str, **fields: object) -> None:
        """A line of driver.log."""
        self._log.write(what, **fields)

    def say(self, text: str) -> None:
        """A sentence for the user; nothing where there is nothing to say."""
        if text:
            self._view.say(text)

    def asking(self, words: str) -> None:
        """Say what the backend has asked for and does not have yet, when that changes."""
        if words != self._asking:
            self._asking = words
            self.log("asking", words=words)
            self.say(words)

    def tell(self, what: What, **fields: object) -> None:
        """Tell the user's command."""
        self._hook.tell(what, counts=self._board.counts(), **fields)

    def event(self, kind: Kind, job: Job, attempt: str, *, ending: str = "", detail: str = "", alike: str = "") -> None:
        """Something happened to an attempt; the board already knows. `alike`: see `Event`."""
        event = Event(
            kind=kind,
            at=self._clock.time(),
            job=job.id,
            label=job.label,
            attempt=attempt,
            ending=ending,
            detail=detail,
            alike=alike,
            standing=self._board.standing(job.id),
            paths={"attempt": attempt_folder(self._home, job.fingerprint, attempt)},
        )
        if kind in ("started", "ended"):
            self._view.event(event, self._board.counts(), self._clock.monotonic() - self._began)
        self._observe(event)

    def tick_due(self, now: float) -> bool:
        """Whether a second has passed since the last tick."""
        return now - self._pictured >= TICK_S

    def tick(
        self, watches: Iterable[Watch], means: Mapping[str, float], now: float, *, store_silent: bool = False
    ) -> None:
        """Draw the live attempts and pass on their folders; of a silent store the user has been told."""
        self._pictured = now
        live = sorted(watches, key=lambda watch: watch.since)
        picture = Picture(
            counts=self._board.counts(),
            lines=[line_of(watch, now) for watch in live],
            elapsed_s=now - self._began,
            eta_s=remaining_s(self._board, live, means, now),
        )
        self._view.tick(picture)
        paths = {watch.job.id: watch.folder for watch in live}
        self._observe(Event(kind="tick", at=self._clock.time(), paths=paths))
        if not store_silent:
            self._note_silence(live, now)
        self._hook.tick()

    def _note_silence(self, live: list[Watch], now: float) -> None:
        """Tell the user once when nothing has been known of any attempt for a while, and later the user's command."""
        reason = self.silent
        if live and all(watch.unknown for watch in live):
            reason = self._board.standing(live[0].job.id).reason
        elif live:
            reason = ""
        if not reason:
            if self._silence_said:
                self.say("the backend answers again")
            self._silent_since, self._silence_said, self._silence_told = None, False, False
            return
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since >= SAY_AFTER_S and not self._silence_said:
            self._silence_said = True
            what = f"nothing is known of {len(live)} attempts" if live else "nothing can be started"
            self.say(f"{what} ({first_line(reason)}); the backend is asked again, and nothing is submitted twice")
        if live and now - self._silent_since >= SILENCE_S and not self._silence_told:
            self._silence_told = True
            self.tell("unknown", reason=reason, attempts=len(live))

    def _observe(self, event: Event) -> None:
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception as error:
            # Tracking is no reason to stop a study, whatever it raises: `sync` makes it good.
            self._log.write("observer failed", event=event.kind, error=repr(error))


def line_of(watch: Watch, now: float) -> Line:
    """A live attempt as the view shows it."""
    phase = watch.phase or ("running" if watch.running else watch.waits.partition(":")[0] or "waiting")
    return Line(
        label=watch.job.label,
        step=watch.step,
        of=watch.of,
        phase="unknown" if watch.unknown else phase,
        elapsed_s=now - watch.since,
    )


def remaining_s(board: Board, live: list[Watch], means: Mapping[str, float], now: float) -> float | None:
    """Work left over attempts at a time, in seconds; None before anything was measured.

    Args:
        board: the jobs.
        live: attempts that run now.
        means: stage -> mean duration in seconds, of the stages that were measured; the others are
            guessed in proportion.
        now: monotonic clock.
    """
    if not means or not live:
        return None
    open_jobs = [board.job(job_id) for job_id in board.open_jobs() if board.state(job_id) not in STUCK]
    guesses = {job.stage: job.spec.seconds_guess for job in (*open_jobs, *(watch.job for watch in live))}
    measured = [means[stage] / guess for stage, guess in guesses.items() if stage in means]
    if not measured:
        return None
    scale = sum(measured) / len(measured)
    seconds = {stage: means.get(stage, guess * scale) for stage, guess in guesses.items()}
    work = sum(seconds[job.stage] for job in open_jobs)
    spent = sum(min(now - watch.since, seconds[watch.job.stage]) for watch in live)
    return max(0.0, work - spent) / len(live)
