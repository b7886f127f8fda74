"""A store on a bad day: its calls fail, hang until they are released, or succeed and report failure.

When calm it is the store that it wraps, and passes the contract of stores. Which calls go wrong is
drawn from a seed, or scripted call by call; both are counted, so that a test can show that it was
bad weather indeed. Errors are those of disks and network file systems, and the store's own.
"""

import errno
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from orchestrator.errors import StoreError
from orchestrator.store.protocol import Commit, Store

Fate = Literal["ok", "fail", "lie", "hang"]
"""`fail`: nothing is done and an error raised; `lie`: it is done and an error raised; `hang`: until `go_on`."""

CALLS = ("prepare", "commit", "commits", "read", "fetch", "withdraw", "sweep")
ERRNOS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOSPC, errno.EACCES)
HANG_S = 60.0
"""A hang ends by itself after this many seconds, so that a test that forgets to release ends too."""

T = TypeVar("T")


class FaultyStore:
    """`inner` with faults.

    Args:
        inner: what does the work.
        seed: of the draws.
        chances: fate -> probability, for every call that is not scripted.
        calls: which calls the draws spoil; scripted ones are spoiled whatever this says.
        script: call -> fates of its next calls, in order.
    """

    def __init__(
        self,
        inner: Store,
        *,
        seed: int = 0,
        chances: Mapping[Fate, float] | None = None,
        calls: Sequence[str] = CALLS,
        script: Mapping[str, Sequence[Fate]] | None = None,
    ) -> None:
        self._inner = inner
        self._random = random.Random(seed)
        self._chances = dict(chances or {})
        self._calls = frozenset(calls)
        self._script = {call: list(fates) for call, fates in (script or {}).items()}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.fates: Counter[tuple[str, Fate]] = Counter()
        """(call, fate) -> how often; several threads may ask."""

    def calm(self) -> None:
        """No faults from now on, and what hangs goes on."""
        with self._lock:
            self._chances, self._script = {}, {}
        self.go_on()

    def go_on(self) -> None:
        """Let hanging calls go on; later ones do not hang either."""
        self._released.set()

    def prepare(self, stage: str, fingerprint: str, attempt: str) -> Path:
        return self._call("prepare", lambda: self._inner.prepare(stage, fingerprint, attempt))

    def commit(self, commit_without_manifest: Commit, folder: Path) -> bool:
        return self._call("commit", lambda: self._inner.commit(commit_without_manifest, folder))

    def commits(self, within_s: float = 0.0) -> frozenset[str]:
        return self._call("commits", lambda: self._inner.commits(within_s))

    def read(self, fingerprint: str) -> Commit:
        return self._call("read", lambda: self._inner.read(fingerprint))

    def fetch(self, fingerprint: str) -> Path:
        return self._call("fetch", lambda: self._inner.fetch(fingerprint))

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        return self._call("fetch", lambda: self._inner.fetch_files(fingerprint, patterns))

    def locate(self, fingerprint: str) -> str:
        return self._inner.locate(fingerprint)

    def withdraw(self, fingerprint: str) -> None:
        return self._call("withdraw", lambda: self._inner.withdraw(fingerprint))

    def sweep(self, living: Collection[str], dead: Sequence[tuple[str, str, str]] = ()) -> None:
        return self._call("sweep", lambda: self._inner.sweep(living, dead))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _call(self, call: str, act: Callable[[], T]) -> T:
        fate, error = self._draw(call)
        if fate == "hang":
            self._released.wait(HANG_S)
        if fate == "fail":
            raise error
        answer = act()
        if fate == "lie":
            raise error
        return answer

    def _draw(self, call: str) -> tuple[Fate, Exception]:
        with self._lock:
            scripted = self._script.get(call)
            fate: Fate = "ok"
            if scripted:
                fate = scripted.pop(0)
            elif call in self._calls:
                place = self._random.random()
                for name, chance in self._chances.items():
                    if place < chance:
                        fate = name
                        break
                    place -= chance
            number = self._random.choice(ERRNOS)
            own = self._random.random() < 0.3
            self.fates[call, fate] += 1
        if own:
            return fate, StoreError(f"the store does not respond ({os.strerror(number)}), as this test wants it")
        return fate, OSError(number, os.strerror(number), f"store.{call}")
