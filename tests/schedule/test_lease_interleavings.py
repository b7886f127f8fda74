"""The lease in the store, with the requests of several homes in every order, and with a death after any of them."""

import dataclasses
import itertools
import random
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pytest

from orchestrator.errors import ArtifactMissing, LeaseError
from orchestrator.schedule.clock import SimulatedClock
from orchestrator.schedule.lease_holder import this_process
from orchestrator.schedule.shared_lease import PREFIX, SharedLease, acquire_shared, shared_holder
from orchestrator.store.protocol import ObjectEntry

DEAD = dataclasses.replace(this_process(), start_time=1)
"""A process of this machine that does not live any more."""


class Died(BaseException):
    """The process has ended after its request."""


class MemoryObjects:
    """Objects in memory; each request is one step of whoever asks."""

    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        self.content = {} if content is None else content

    def step(self) -> None:
        """Called before each request."""

    def create(self, key: str, content: bytes) -> bytes:
        self.step()
        return self.content.setdefault(key, content)

    def put(self, key: str, content: bytes) -> None:
        self.step()
        self.content[key] = content

    def get(self, key: str) -> bytes:
        self.step()
        if key not in self.content:
            raise ArtifactMissing(key)
        return self.content[key]

    def entries(self, prefix: str) -> list[ObjectEntry]:
        self.step()
        keys = sorted(key for key in self.content if key.startswith(prefix))
        return [ObjectEntry(key=key, size=0, tag=repr(self.content[key]), modified=0.0) for key in keys]

    def delete(self, keys: Collection[str]) -> None:
        self.step()
        for key in keys:
            self.content.pop(key, None)


class Home(MemoryObjects):
    """A home that wants the lease, holds it and releases it; it goes on by one request when it is told to."""

    def __init__(
        self, name: str, content: dict[str, bytes], holders: list[str], overlaps: list[str], times: int
    ) -> None:
        super().__init__(content)
        self._times = times
        self.name, self._holders, self._overlaps = name, holders, overlaps
        self.ended = False
        self.held = 0
        self._told, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._waits.acquire()

    def go_on(self) -> None:
        """Let it make its next request, and come to the one after it."""
        self._told.release()
        self._waits.acquire()

    def step(self) -> None:
        self._waits.release()
        self._told.acquire()

    def _live(self) -> None:
        for _ in range(self._times):
            self._try()
        self.ended = True
        self._waits.release()

    def _try(self) -> None:
        try:
            lease = acquire_shared(self, this_process(), Path(f"/home/{self.name}"), SimulatedClock())
            self._holders.append(self.name)
            if len(self._holders) > 1:
                self._overlaps.append(" and ".join(self._holders))
            self.held += 1
            lease.beat()
            lease.check()
            self._holders.remove(self.name)
            lease.release()
        except LeaseError:
            return


def play(order: Iterable[int], names: Sequence[str], before: dict[str, bytes], times: int = 1) -> tuple[int, list[str]]:
    """How often the lease was held, and who held it at the same time, where homes go on in this order.

    Each tries to take it so many times.
    """
    content, holders, overlaps = dict(before), list[str](), list[str]()
    homes = [Home(name, content, holders, overlaps, times) for name in names]
    for place in itertools.chain(order, itertools.cycle(range(len(names)))):
        if not homes[place].ended:
            homes[place].go_on()
        if all(home.ended for home in homes):
            return sum(home.held for home in homes), overlaps
    raise AssertionError


def nobody() -> dict[str, bytes]:
    return {}


def released() -> dict[str, bytes]:
    objects = MemoryObjects()
    acquire_shared(objects, this_process(), Path("/home/earlier"), SimulatedClock()).release()
    return objects.content


def dead() -> dict[str, bytes]:
    objects = MemoryObjects()
    acquire_shared(objects, DEAD, Path("/home/earlier"), SimulatedClock()).beat()
    return objects.content


@pytest.mark.parametrize("before", [nobody, released, dead])
def test_of_two_homes_one_holds_the_lease_whatever_the_order_of_their_requests(before: object) -> None:
    assert callable(before)
    found = before()
    for chosen in itertools.combinations(range(8), 4):
        order = [int(place in chosen) for place in range(8)]
        held, overlaps = play(order, "ab", found)
        assert overlaps == [], order
        assert held >= 1, order


def test_of_four_homes_one_holds_the_lease_in_drawn_orders() -> None:
    chance = random.Random(1)
    for _ in range(100):
        order = [home for _ in range(12) for home in [chance.randrange(4)] * chance.choice((1, 1, 2, 9, 18))]
        held, overlaps = play(order, "abcd", released(), times=2)
        assert overlaps == [], order
        assert held >= 1, order


def test_a_home_that_dies_after_any_request_is_followed_at_once_and_nothing_of_it_stays() -> None:
    for last in range(12):
        objects = MemoryObjects(released())
        steps = itertools.count()

        def die(steps: "itertools.count[int]" = steps, last: int = last) -> None:
            if next(steps) == last:
                raise Died

        objects.step = die  # type: ignore[method-assign]
        try:
            lease: SharedLease | None = acquire_shared(objects, DEAD, Path("/home/dead"), SimulatedClock())
            assert lease is not None
            lease.beat()
            lease.release()
        except Died:
            lease = None
        del objects.step
        clock = SimulatedClock()
        began = clock.monotonic()
        acquire_shared(objects, this_process(), Path("/home/next"), clock).check()
        assert clock.monotonic() == began, f"it waited after request {last}"
        found = shared_holder(objects)
        assert found is not None
        assert found.home == "/home/next"
        assert len({key.partition(".")[0] for key in objects.content if key.startswith(PREFIX)}) == 1
