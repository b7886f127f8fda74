"""The store as a driver asks it: with patience, and never so that a hanging call holds the loop.

Disks on a network and object stores have bad minutes. What fails then is asked again; what is due to
be booked waits, and nothing new is started. A call that hangs has a thread of its own, which is left
to its fate. Only what stays wrong for `unknown_s` ends a run, with a sentence.
"""

import errno
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.schedule.clock import Clock
from orchestrator.store.protocol import Store

ANSWER_S = 10.0
"""A call that has not answered by then counts as silent; in real seconds, whatever the driver's clock."""
LONGEST_REST_S = 5.0
SAY_AFTER_S = 10.0
"""Silence that lasts is told to the user; shorter ones go to driver.log only."""
SHORT_S = 5.0
"""Patience at the start of a run with what does not mend itself: permissions, a store that refuses."""

PASSING = frozenset(
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
"""What a disk on a network, or a crowded machine, says in a bad minute."""

T = TypeVar("T")


class Silent(Exception):
    """The store has not answered in time."""


class Question(Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answered = threading.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="store", daemon=True).start()

    def answer(self, within_s: float) -> T:
        """What it returned; or raises what it raised, or Silent when it takes longer."""
        if not self._answered.wait(within_s):
            raise Silent(f"no answer within {within_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value[0]

    def _run(self) -> None:
        try:
            self._value.append(self._ask())
        except BaseException as error:  # handed over to whoever asks for the answer
            self._error = error
        self._answered.set()


class Patience:
    """Asks `store` for a driver.

    Args (keyword only):
        log: a line of driver.log: what, and fields.
        say: a sentence for the user.
        patience_s: how long the store may be silent before a run does not start.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        log: Callable[..., None],
        say: Callable[[str], None],
        patience_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._say = say
        self._patience_s = patience_s
        self._pending: Question[frozenset[str]] | None = None
        self._silent_since: float | None = None
        self._asked_again = 0.0
        self._rest_s = 0.0
        self._said = False
        self.why = ""
        """What it said when it was last asked; empty when it answered."""

    @property
    def silent(self) -> bool:
        """Whether the store has not answered when it was last asked."""
        return self._silent_since is not None

    def commits(self) -> frozenset[str] | None:
        """Fingerprints of done jobs; None: the store does not answer now. Never waits longer than `ANSWER_S`."""
        now = self._clock.monotonic()
        if self.silent and now < self._asked_again:
            return None
        waited, self._pending = self._pending, None
        question = waited or Question(self._store.commits)
        try:
            found = question.answer(0.0 if waited else ANSWER_S)
        except (OSError, StoreError, Silent) as error:
            if isinstance(error, Silent):
                self._pending = question
            self._note_silence(now, error)
            return None
        if self.silent:
            self._log("store answers")
            if self._said:
                self._say("the store answers again")
        self._silent_since, self._said, self._rest_s, self.why = None, False, 0.0, ""
        return found

    def insist(
        self, ask: Callable[[], T], interrupted: Callable[[], bool] = lambda: False, patience_s: float | None = None
    ) -> T:
        """The answer, however often it has to be asked for within `patience_s`.

        Raises:
            ArtifactMissing: the store says so.
            StoreError: it does not answer for so long, or not at once and somebody wants the end.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        began, rest_s = self._clock.monotonic(), 0.1
        said = False
        while True:
            try:
                return Question(ask).answer(ANSWER_S)
            except ArtifactMissing:
                raise
            except (OSError, StoreError, Silent) as error:
                waited = self._clock.monotonic() - began
                passing = isinstance(error, Silent) or (isinstance(error, OSError) and error.errno in PASSING)
                if waited >= (patience_s if passing else min(patience_s, SHORT_S)) or interrupted():
                    if isinstance(error, StoreError):
                        raise
                    raise StoreError(
                        f"the store does not answer, for {waited:.0f} s now: {error}; see that its disk is there, "
                        "has room and lets this user write, then `run` again: what is done is done"
                    ) from error
                self._log("store silent", error=str(error))
                if waited >= SAY_AFTER_S and not said:
                    said = True
                    self._say(f"the store does not answer ({error}); asking again for up to {patience_s:g} s")
            self._clock.sleep(rest_s)
            rest_s = min(LONGEST_REST_S, rest_s * 2)

    def winner(self, fingerprint: str, interrupted: Callable[[], bool], patience_s: float | None = None) -> str:
        """The attempt that the COMMIT of a done job names; empty where it cannot be read, however often one asks.

        Raises:
            StoreError: the store does not answer for `patience_s`.
        """
        try:
            return self.insist(lambda: self._store.read(fingerprint), interrupted, patience_s).attempt
        except StoreError as error:
            if isinstance(error.__cause__, OSError | Silent):
                raise
            self._log("COMMIT unreadable", error=str(error))  # whoever needs the artifact is told what to do
            return ""

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        """Let the store remove what is half made; another time where it does not want to."""
        try:
            Question(lambda: self._store.sweep(living, dead)).answer(ANSWER_S)
        except (OSError, StoreError, Silent) as error:
            self._log("store not swept", error=str(error))

    def _note_silence(self, now: float, error: Exception) -> None:
        self.why = str(error)
        if self._silent_since is None:
            self._silent_since = now
            self._log("store silent", error=self.why)
        elif now - self._silent_since >= SAY_AFTER_S and not self._said:
            self._said = True
            self._log("store silent", error=self.why, seconds=round(now - self._silent_since))
            self._say(
                f"the store does not answer ({self.why}); what has ended waits to be booked, and nothing is started "
                "until it does; nothing is lost"
            )
        self._rest_s = min(LONGEST_REST_S, max(0.1, self._rest_s * 2))
        self._asked_again = now + self._rest_s
