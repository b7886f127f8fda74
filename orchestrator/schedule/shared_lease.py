"""Shared lease: which of several homes runs a study whose artifacts are in one store.

Homes that share only a store (two laptops, one bucket) have a lease each, which knows nothing of the others. The one
in the store lets a single home withdraw and delete:

```
lease/{n}.json   the claim, created once: the process that claims, and its home
lease/{n}.beat   written again and again by that process
lease/{n}.end    that process has released it
```
The claim with the highest number holds. A rival creates the next number once the holder has released its claim, is
known to be dead, or has not written its beat for `STALE_AFTER_S`, measured by the rival's own clock. Only an object
that must not exist is ever created conditionally: of servers that offer S3, many get other conditions wrong.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from orchestrator.errors import ArtifactMissing, LeaseError, StoreError
from orchestrator.schedule.clock import Clock, SystemClock
from orchestrator.schedule.lease import Lease, acquire
from orchestrator.schedule.lease_holder import STALE_AFTER_S, LeaseHolder, parse_holder, process_runs
from orchestrator.schedule.ledger.recorded_runs import text_of
from orchestrator.store.protocol import ObjectEntry, SharedObjects
from workloads.contract.json_files import object_of

PREFIX = "lease/"
BEAT_S = 10.0
WATCH_S = 2.0
CONFIRMED_S = 1.0
"""A listing that is not older is as good as a new one."""
PATIENT_S = 600.0
"""How long a store that does not respond is asked again, before a command gives up."""
CLAIM, BEAT, END = ".json", ".beat", ".end"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SharedHolder:
    """Who holds the lease in the store."""

    number: int
    holder: LeaseHolder
    home: str
    """Its `outputs/{study}`, on its own machine."""

    def is_of(self, home: Path) -> bool:
        """Whether it is a process of this home, on this machine."""
        return (self.holder.host, self.home) == (socket.gethostname(), text_of(home.resolve()))

    def __str__(self) -> str:
        return f"pid {self.holder.pid} on {self.holder.host} ({self.home})"


class SharedLease:
    """The lease in the store, held by this process; a context manager, like `Lease`."""

    def __init__(self, objects: SharedObjects, claim: SharedHolder, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._confirmed = clock.monotonic()
        self._error = ""
        self._successor = ""
        self._counter = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="shared lease", daemon=True)
        self.claim = claim
        """This process's claim."""

    def check(self) -> None:
        """Make sure, without asking the store, that nobody else can hold it.

        Raises:
            LeaseError: another has taken over, or soon may, since the store has not responded for so long.
        """
        if self._successor:
            raise LeaseError(
                f"{PREFIX} in the store: this controller (pid {self.claim.holder.pid}) no longer holds the lease, "
                f"{self._successor} does; it stops here; nothing is lost, and `echo-matrix status` shows who continues"
            )
        silent_s = self._clock.monotonic() - self._confirmed
        if silent_s > STALE_AFTER_S / 2:
            raise LeaseError(
                f"{PREFIX} in the store: this controller (pid {self.claim.holder.pid}) could not renew its lease for "
                f"{silent_s:.0f} s ({self._error or 'no answer'}) and stops before another takes over; "
                "`run` again when the store responds: completed jobs stay completed"
            )

    def confirm(self) -> None:
        """Ask the store who holds it: before something is withdrawn or deleted.

        Raises:
            LeaseError: another does, or the store does not respond.
        """
        if self._clock.monotonic() - self._confirmed > CONFIRMED_S:
            self._look()
            if self._error:
                raise LeaseError(
                    f"{PREFIX} in the store: cannot see who holds the lease: {self._error}; nothing is deleted"
                )
        self.check()

    def beat(self) -> None:
        """Write the beat and see whether another has taken over; a failure is remembered for `check`."""
        self._counter += 1
        try:
            self._objects.put(_key(self.claim.number, BEAT), str(self._counter).encode())
        except (OSError, StoreError) as error:
            self._error = str(error)
        else:
            self._look()

    def release(self) -> None:
        """Release it; idempotent."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._successor:
            with contextlib.suppress(OSError, StoreError):  # then a rival waits until the beat is stale
                self._objects.put(_key(self.claim.number, END), b"")

    def __enter__(self) -> "SharedLease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _look(self) -> None:
        began = self._clock.monotonic()
        try:
            highest = _highest(self._objects.entries(PREFIX))
            if highest > self.claim.number:
                found = _claim(self._objects, highest)
                self._successor = f"process {highest}" if found is None else str(found)
        except (OSError, StoreError) as error:
            self._error = str(error)
        else:
            self._confirmed, self._error = began, ""

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_S):
            self.beat()


class StudyLease:
    """The right to run a study: the lease of its home, and that in its store where several homes may share one."""

    def __init__(self, home: Lease, shared: SharedLease | None) -> None:
        self._home = home
        self._shared = shared

    @property
    def holder(self) -> LeaseHolder:
        """The process that holds it."""
        return self._home.holder

    def check(self) -> None:
        """See `Lease.check`; cheap, for every transaction.

        Raises:
            LeaseError: this process no longer holds it.
        """
        self._home.check()
        if self._shared is not None:
            self._shared.check()

    def confirm(self) -> None:
        """Like `check`, and asks the store: before something in it is withdrawn or deleted.

        Raises:
            LeaseError: this process no longer holds it, or cannot see whether it does.
        """
        self._home.check()
        if self._shared is not None:
            self._shared.confirm()


@contextlib.contextmanager
def acquire_study(
    home: Path,
    objects: SharedObjects | None,
    *,
    clock: Clock | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Iterator[StudyLease]:
    """Hold the lease of the study at `home`, and the one in its store if there is one.

    Raises:
        LeaseError: another process runs the study.
        StoreError: the file system has no hard links, or the store does not respond.
    """
    clock = clock or SystemClock()
    with contextlib.ExitStack() as held:
        own = held.enter_context(acquire(home, clock, say=say))
        shared = None if objects is None else acquire_shared(objects, own.holder, home, clock, say)
        if shared is not None:
            held.enter_context(shared)
        yield StudyLease(own, shared)


def acquire_shared(
    objects: SharedObjects,
    holder: LeaseHolder,
    home: Path,
    clock: Clock,
    say: Callable[[str], None] = lambda _text: None,
) -> SharedLease:
    """Acquire the lease in the store for a process that holds the lease of its home.

    Raises:
        LeaseError: another home runs the study.
        StoreError: the store does not respond.
    """
    entries = _patiently(lambda: objects.entries(PREFIX), clock, say)
    last = _highest(entries)
    if last and not _is_over(objects, last, entries, clock, say):
        found = _patiently(lambda: _claim(objects, last), clock, say)
        raise LeaseError(_refusal("another process" if found is None else str(found)))
    claim = SharedHolder(number=last + 1, holder=holder, home=text_of(home.resolve()))
    content = json.dumps({**asdict(holder), "home": claim.home}).encode()
    first = _patiently(lambda: objects.create(_key(claim.number, CLAIM), content), clock, say)
    entries = _patiently(lambda: objects.entries(PREFIX), clock, say)
    if first != content or _highest(entries) > claim.number:  # a late claim may find its number free again
        raise LeaseError(_refusal("another process, which has just taken over,"))
    earlier = [one.key for one in entries if 0 < _number(one.key) < claim.number]
    _patiently(lambda: objects.delete(earlier), clock, say)
    return SharedLease(objects, claim, clock)


def shared_holder(objects: SharedObjects | None) -> SharedHolder | None:
    """Who holds the lease in the store, if it is not known to be over; a dead holder on another machine looks alive.

    Raises:
        OSError, StoreError: the store does not respond.
    """
    if objects is None:
        return None
    entries = objects.entries(PREFIX)
    last = _highest(entries)
    if not last or _key(last, END) in {one.key for one in entries}:
        return None
    found = _claim(objects, last)
    return None if found is None or process_runs(found.holder) is False else found


def _refusal(who: str) -> str:
    return (
        f"{PREFIX} in the store: {who} is running this study; wait for it, or stop it there with `echo-matrix stop`; "
        "`echo-matrix status` works meanwhile"
    )


def _is_over(
    objects: SharedObjects, number: int, entries: Sequence[ObjectEntry], clock: Clock, say: Callable[[str], None]
) -> bool:
    """Whether the holder of this number has released it, is dead, or is silent for `STALE_AFTER_S`."""
    signs = _signs(entries, number)
    if END in signs:
        return True
    found = _patiently(lambda: _claim(objects, number), clock, say)
    alive = None if found is None else process_runs(found.holder)
    if alive is not None:
        return not alive
    who = "a process that left a damaged claim" if found is None else str(found)
    say(
        f"{who} ran this study last and cannot be seen from here; waiting {STALE_AFTER_S:g} s to see whether it still "
        "does"
    )
    began = clock.monotonic()
    while clock.monotonic() - began < STALE_AFTER_S:
        clock.sleep(WATCH_S)
        now = _patiently(lambda: objects.entries(PREFIX), clock, say)
        if _highest(now) != number:
            return False
        if _signs(now, number) != signs:
            return END in _signs(now, number)
    return True


def _signs(entries: Sequence[ObjectEntry], number: int) -> dict[str, str]:
    """The objects of one number: kind -> tag."""
    own = _key(number, "")
    return {one.key.removeprefix(own): one.tag for one in entries if one.key.startswith(own)}


def _key(number: int, kind: str) -> str:
    return f"{PREFIX}{number:010d}{kind}"


def _number(key: str) -> int:
    digits = key.removeprefix(PREFIX).partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _highest(entries: Sequence[ObjectEntry]) -> int:
    """The highest claimed number; 0: there is no claim."""
    return max((_number(one.key) for one in entries if one.key.endswith(CLAIM)), default=0)


def _claim(objects: SharedObjects, number: int) -> SharedHolder | None:
    """The claim with this number; None: it is gone or damaged."""
    try:
        raw = object_of(objects.get(_key(number, CLAIM)), _key(number, CLAIM))
        home = str(raw.pop("home", ""))
        return SharedHolder(number=number, holder=parse_holder(json.dumps(raw).encode()), home=home)
    except (ArtifactMissing, ValueError):
        return None


def _patiently(call: Callable[[], T], clock: Clock, say: Callable[[str], None]) -> T:
    """The answer of the store, which may be away for minutes.

    Raises:
        StoreError: it refuses, or does not respond for `PATIENT_S`.
    """
    began, said = clock.monotonic(), False
    while True:
        try:
            return call()
        except OSError as error:
            if clock.monotonic() - began > PATIENT_S:
                raise StoreError(f"the store does not respond: {error}; run the command again when it does") from error
            if not said:
                said = True
                say(f"the store does not respond ({error}); retrying for up to {PATIENT_S:g} s")
            clock.sleep(WATCH_S)
