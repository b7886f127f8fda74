"""Resilient store: store calls with retry and time-out, so that a call that hangs never blocks the controller.

Network disks and object stores fail for minutes at a time. Meanwhile calls are repeated, endings are not recorded yet,
and nothing new is started. Each call runs in a thread of its own; one that hangs is abandoned. Only a store that does
not respond for `unknown_s` ends a run, with a message.
"""

import errno
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from orchestrator.errors import ArtifactMissing, StoreError, StoreUnreachable
from orchestrator.schedule.clock import Clock
from orchestrator.store.protocol import Commit, Store, StoredCheckpoint

CALL_TIMEOUT_S = 10.0
"""A call that takes longer counts as failed; in real seconds, whatever the controller's clock."""
LONGEST_PAUSE_S = 5.0
SAY_AFTER_S = 10.0
"""A failure that lasts is reported to the user; shorter ones go to driver.log only."""
SHORT_RETRY_S = 5.0
"""How long an error that is not transient is retried: permissions, a store that refuses."""

TRANSIENT_ERRNOS = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EINTR,
        errno.ENOTCONN,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EBUSY,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    }
)
"""Errors of a network disk or an overloaded machine that pass by themselves."""

T = TypeVar("T")


class StoreTimeout(Exception):
    """The store has not responded in time."""


class TimedCall(Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._returned = threading.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="store", daemon=True).start()

    def result(self, within_s: float) -> T:
        """What it returned; or raises what it raised, or StoreTimeout when it takes longer."""
        if not self._returned.wait(within_s):
            raise StoreTimeout(f"no response within {within_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value[0]

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:  # raised by `result`
            self._error = error
        self._returned.set()


class ResilientStore:
    """Calls `store` for the controller; `give_up_after_s`: how long it may fail before a run does not start."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        log: Callable[..., None],
        say: Callable[[str], None],
        give_up_after_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._say = say
        self._give_up_after_s = give_up_after_s
        self._pending: TimedCall[frozenset[str]] | None = None
        self._failing_since: float | None = None
        self._next_call = 0.0
        self._pause_s = 0.0
        self._announced = False
        self._kinds_hang = False
        self.error = ""
        """The error of the last call; empty where it succeeded."""

    @property
    def unresponsive(self) -> bool:
        """Whether the last call failed."""
        return self._failing_since is not None

    def commits(self) -> frozenset[str] | None:
        """Fingerprints of done jobs; None: the store does not respond now. Never waits longer than `CALL_TIMEOUT_S`."""
        now = self._clock.monotonic()
        if self.unresponsive and now < self._next_call:
            return None
        hanging, self._pending = self._pending, None
        running = hanging or TimedCall(self._store.commits)
        try:
            found = running.result(0.0 if hanging else CALL_TIMEOUT_S)
        except (OSError, StoreError, StoreTimeout) as error:
            if isinstance(error, StoreTimeout):
                self._pending = running
            self._note_failure(now, error)
            return None
        if self.unresponsive:
            self._log("store responds")
            if self._announced:
                self._say("the store responds again")
        self._failing_since, self._announced, self._pause_s, self.error = None, False, 0.0, ""
        return found

    def call(
        self,
        call: Callable[[], T],
        interrupted: Callable[[], bool] = lambda: False,
        give_up_after_s: float | None = None,
    ) -> T:
        """The result of `call`, which is repeated for up to `give_up_after_s`.

        Raises:
            ArtifactMissing: there is no such artifact.
            StoreError: it does not respond for so long, or not at once and the run is to stop.
        """
        give_up_after_s = self._give_up_after_s if give_up_after_s is None else give_up_after_s
        began, pause_s = self._clock.monotonic(), 0.1
        said = False
        while True:
            try:
                return TimedCall(call).result(CALL_TIMEOUT_S)
            except ArtifactMissing:
                raise
            except (OSError, StoreError, StoreTimeout) as error:
                waited = self._clock.monotonic() - began
                passing = isinstance(error, StoreTimeout) or (
                    isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS
                )
                if waited >= (give_up_after_s if passing else min(give_up_after_s, SHORT_RETRY_S)) or interrupted():
                    if isinstance(error, StoreError):
                        raise
                    raise StoreError(
                        f"the store does not respond ({waited:.0f} s so far): {error}{_remedy(error)}, then `run` "
                        "again: completed jobs stay completed"
                    ) from error
                self._log("store unresponsive", error=str(error))
                if waited >= SAY_AFTER_S and not said:
                    said = True
                    self._say(f"the store does not respond ({error}); retrying for up to {give_up_after_s:g} s")
            self._clock.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def winner(self, fingerprint: str, interrupted: Callable[[], bool], give_up_after_s: float | None = None) -> str:
        """The attempt that the commit record of a done job names; empty where it cannot be read.

        Raises:
            StoreError: the store does not respond for `give_up_after_s`.
        """
        try:
            return self.call(lambda: self._store.read(fingerprint), interrupted, give_up_after_s).attempt
        except StoreError as error:
            if isinstance(error.__cause__, OSError | StoreTimeout):
                raise
            self._log("commit record unreadable", error=str(error))  # a job that needs the artifact says what to do
            return ""

    def record(self, fingerprint: str) -> Commit | None:
        """The commit record of a done job, for what can be taken over from it; None: it cannot be read.

        Raises:
            StoreError: the store does not respond.
        """
        try:
            return self.call(lambda: self._store.read(fingerprint))
        except StoreError as error:
            if isinstance(error.__cause__, OSError | StoreTimeout):
                raise
            self._log("commit record unreadable", error=str(error))
            return None

    def kind_of(self, fingerprint: str) -> str:
        """The kind of device that the commit record of a done job names; empty where it cannot be read at once.

        Only estimates read it: after one call that hangs, the run asks no more.
        """
        if self.unresponsive or self._kinds_hang:
            return ""
        try:
            return TimedCall(lambda: self._store.read(fingerprint)).result(CALL_TIMEOUT_S).host_kind
        except (OSError, StoreError, StoreTimeout) as error:
            self._kinds_hang = isinstance(error, StoreTimeout)
            self._log("commit record unreadable", error=str(error))
            return ""

    def checkpointed(self) -> frozenset[str]:
        """Fingerprints of jobs with checkpoints in the store; empty where it keeps none, or does not respond."""
        stored = self._store.checkpoints
        return frozenset() if stored is None else self._at_once(lambda: frozenset(stored.sizes()), frozenset())

    def stored_step(self, fingerprint: str, attempt: str = "") -> int:
        """Highest step of a job's checkpoints in the store, of one attempt or of any; -1: none is known."""
        stored = self._store.checkpoints
        if stored is None:
            return -1
        nothing: Sequence[StoredCheckpoint] = ()
        found = self._at_once(lambda: stored.complete(fingerprint), nothing)
        return max((one.step for one in found if attempt in ("", one.attempt)), default=-1)

    def _at_once(self, call: Callable[[], T], otherwise: T) -> T:
        """The answer of a call that only bookkeeping needs; `otherwise` where the store does not respond."""
        if self.unresponsive:
            return otherwise
        try:
            return TimedCall(call).result(CALL_TIMEOUT_S)
        except (OSError, StoreError, StoreTimeout) as error:
            self._log("store unresponsive", error=str(error))
            return otherwise

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Let the store remove half-made artifacts; a failure is logged, and a later run tries again."""
        try:
            TimedCall(lambda: self._store.sweep(living, dead)).result(CALL_TIMEOUT_S)
        except (OSError, StoreError, StoreTimeout) as error:
            self._log("store sweep failed", error=str(error))

    def _note_failure(self, now: float, error: Exception) -> None:
        self.error = str(error)
        if self._failing_since is None:
            self._failing_since = now
            self._log("store unresponsive", error=self.error)
        elif now - self._failing_since >= SAY_AFTER_S and not self._announced:
            self._announced = True
            self._log("store unresponsive", error=self.error, seconds=round(now - self._failing_since))
            self._say(
                f"the store does not respond ({self.error}); until it does, endings are not recorded and nothing is "
                "started; nothing is lost"
            )
        self._pause_s = min(LONGEST_PAUSE_S, max(0.1, self._pause_s * 2))
        self._next_call = now + self._pause_s


def _remedy(error: Exception) -> str:
    """What to do about a store that does not respond, where the error itself does not say it."""
    if isinstance(error, StoreUnreachable):
        return "; wait until it responds"
    return "; check that its disk is mounted, has room and lets this user write"
