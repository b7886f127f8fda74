"""Which hosts are avoided: those that nothing else explains, for a while, and never all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_study import Toy, make_job, make_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import HostShare, Submission
from orchestrator.schedule.host_exclusion import (
    HOST_FAULTS,
    HostEnding,
    HostExclusion,
    describe,
    excluded_hosts,
    host_endings,
)
from orchestrator.schedule.ledger.database import Attempt
from orchestrator.schedule.placement import usable
from orchestrator.schedule.rooms import JobShape
from orchestrator.ui.progress import PlainView

HOUR = 3600.0


def make(host: str, job: str, ending: str = "vanished", at: float = 0.0, signature: str = "") -> HostEnding:
    return HostEnding(host=host, job=job, label=job, ending=ending, signature=signature, detail="why", began=at, at=at)


def hosts(endings: Sequence[HostEnding], now: float = 10.0) -> set[str]:
    return set(excluded_hosts(endings, now, HOUR))


@pytest.mark.parametrize(
    ("endings", "who"),
    [
        ([make("a", "j1")], set()),
        ([make("a", "j1"), make("a", "j2")], {"a"}),
        ([make("a", "j1"), make("b", "j2")], set()),
        ([make("a", "j1"), make("a", "j1")], set()),
        ([make("a", "j1"), make("a", "j1", "timed_out")], {"a"}),
        ([make("a", "j1", "error", signature="s"), make("a", "j2", "error", signature="s")], {"a"}),
        ([make("a", "j1", "error", signature="s"), make("a", "j1", "error", signature="t")], {"a"}),
        # A traceback that was seen elsewhere too is a bug.
        ([make(h, j, "error", signature="s") for h, j in (("a", "j1"), ("a", "j2"), ("b", "j3"))], set()),
        # A job that ended badly elsewhere too is to blame itself.
        ([make(h, j) for h, j in (("a", "j1"), ("b", "j1"), ("a", "j2"), ("b", "j3"))], set()),
        # Decisions of somebody else.
        ([make("a", f"j{n}", ending) for n, ending in enumerate(("preempted", "interrupted", "cancelled"))], set()),
        # A success clears, and what comes after it counts anew.
        ([make("a", "j1"), make("a", "j2"), make("a", "j3", "ok")], set()),
        ([make("a", "j1"), make("a", "j3", "ok"), make("a", "j2")], set()),
        ([make("a", "j1"), make("b", "j3", "ok"), make("a", "j2")], {"a"}),
    ],
)
def test_two_endings_that_only_the_host_explains_avoid_it(endings: list[HostEnding], who: set[str]) -> None:
    assert hosts(endings) == who


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("a", "b")),
            st.sampled_from(("j1", "j2", "j3")),
            st.sampled_from(("ok", "vanished", "error", "preempted")),
            st.floats(0.0, 2000.0),
        ),
        max_size=12,
    )
)
def test_a_run_that_keeps_only_the_endings_that_matter_excludes_the_same_hosts(
    told: list[tuple[str, str, str, float]],
) -> None:
    exclusion, now, every = HostExclusion(HOUR), 0.0, list[HostEnding]()
    for host, job, ending, later in told:
        now += later
        every.append(make(host, job, ending, now, job if ending == "error" else ""))
        exclusion.add(every[-1])
        assert exclusion.hosts(now) == excluded_hosts(every, now, HOUR)


def test_good_endings_on_hosts_without_bad_ones_are_not_looked_at_again() -> None:
    exclusion = HostExclusion(HOUR)
    before = exclusion.hosts(0.0)
    for number in range(1000):
        exclusion.add(make("a", f"j{number}", "ok", float(number)))
    assert exclusion.hosts(1000.0) is before, "or each end would cost as much as all before it"


def test_a_host_is_avoided_for_avoid_s_after_its_last_bad_ending() -> None:
    endings = [make("a", "j1", at=0.0), make("a", "j2", at=100.0)]
    assert excluded_hosts(endings, 100.0, HOUR)["a"].until == 100.0 + HOUR
    assert set(excluded_hosts(endings, HOUR - 1, HOUR)) == {"a"}
    assert excluded_hosts(endings, 100.0 + HOUR, HOUR) == {}
    assert excluded_hosts(endings, 100.0, 0.0) == {}


def test_what_a_host_lost_together_is_one_incident_and_a_second_one_avoids_it() -> None:
    together = [replace(make("a", f"j{n}", "node_lost", at=100.0 + n), began=50.0) for n in range(8)]
    assert excluded_hosts(together, 200.0, HOUR) == {}
    again = replace(make("a", "j9", "node_lost", at=300.0), began=150.0)
    assert set(excluded_hosts([*together, again], 300.0, HOUR)) == {"a"}


def test_a_row_that_fails_everywhere_condemns_no_host_in_turn() -> None:
    """One bug, twelve jobs, six hosts, two attempts each: whatever the order, never more than the first host."""
    endings: list[HostEnding] = []
    for number in range(24):
        endings.append(make(f"h{number % 6}", f"j{number // 2}", "error", at=float(number), signature="bug"))
        assert len(excluded_hosts(endings, float(number), HOUR)) <= 1
    assert hosts(endings, 24.0) == set()


ENDED = st.builds(
    make,
    st.sampled_from("abc"),
    st.sampled_from(["j1", "j2", "j3", "j4"]),
    st.sampled_from(["ok", *sorted(HOST_FAULTS)]),
    st.floats(-1e5, 1e5),
    st.sampled_from(["", "s", "t"]),
)


@given(st.lists(ENDED, max_size=12), st.floats(0.0, 1e5))
def test_nobody_is_avoided_longer_than_avoid_s_however_the_clock_jumped(endings: list[HostEnding], now: float) -> None:
    for one in excluded_hosts(endings, now, HOUR).values():
        assert now < one.until <= now + HOUR
        assert one.since <= now


def attempt(number: int, **fields: Any) -> Attempt:
    plain = {"job": "train/x", "stage": "train", "host": "a", "intended": 0.0, "ended": 100.0, "ending": "vanished"}
    return Attempt(**{"id": f"a{number:03d}", "label": "train/x", "fingerprint": "f", **plain, **fields})


def test_what_got_further_counts_against_nobody() -> None:
    attempts = [
        attempt(1, step=10),
        attempt(2, begun=10, step=20),
        attempt(3, begun=20, step=20),
        attempt(4, begun=20, step=-1),
        attempt(5, ending=None, ended=None),
        attempt(6, host=""),
    ]
    assert len(host_endings(attempts, 100.0, 100.0)) == 2


def test_an_ending_that_lies_in_the_future_counts_as_of_now() -> None:
    (ended,) = host_endings([attempt(1, ended=1e9)], 100.0, 5.0)
    assert ended.at == 5.0


def test_it_is_said_in_one_sentence() -> None:
    one = excluded_hosts([make("gpu-3", "train/a"), make("gpu-3", "train/b")], 60.0, HOUR)["gpu-3"]
    assert describe(one, 60.0) == (
        "host gpu-3 is excluded for 59 min while there are others: attempts of 2 jobs failed "
        "there (train/a, train/b), "
        "last vanished: why"
    )


def share(name: str, devices: int = 0) -> HostShare:
    return HostShare(name=name, cpus=1, devices=devices, memory_gib=8.0)


def test_never_all_hosts_are_avoided_but_the_one_that_was_bad_longest_ago_is_used() -> None:
    three = [share("a"), share("b"), share("c")]
    assert usable(JobShape(1, 0, 1.0, "train"), three, {"a": 5.0}) == {"b", "c"}
    assert usable(JobShape(1, 0, 1.0, "train"), three, {"a": 5.0, "b": 2.0, "c": 9.0}) == {"b"}
    assert usable(JobShape(1, 1, 1.0, "train"), [share("cpu"), share("gpu", 1)], {"gpu": 5.0}) == {"gpu"}
    assert usable(JobShape(9, 0, 1.0, "train"), three, {}) == frozenset()


class BadHost(FakeBackend):
    """What is placed on `bad` vanishes; everything else goes as scripted."""

    def _next_act(self, label: str) -> Act:
        return Act(script="vanished") if label in self.doomed else super()._next_act(label)

    doomed: frozenset[str] = frozenset()

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        tickets: dict[str, str] = {}
        for one in submissions:
            self.doomed = frozenset({one.label} if one.placement.host == "bad" else ())
            tickets |= super().submit([one])
        return tickets


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy(tmp_path / "toy")
    toy.backend_type = BadHost
    return toy


def jobs(number: int) -> Any:
    return make_plan([make_job("train", f"train/{n}") for n in range(number)])


BOTH = (share("bad"), share("good"))


def places(toy: Toy) -> list[str]:
    assert toy.backend is not None
    return [one.placement.host for one in toy.backend.submitted]


def test_a_bad_host_gets_two_jobs_and_no_more_and_everything_is_done_elsewhere(toy: Toy) -> None:
    outcome = toy.run(jobs(12), hosts=BOTH)
    assert outcome.counts == {"done": 12}
    assert places(toy).count("bad") == 2
    with toy.ledger() as ledger:
        assert max(ledger.attempt_counts().values()) == 2, "what ended there was tried elsewhere"


def test_it_is_said_once_and_logged_once(toy: Toy) -> None:
    stream = toy.home.with_suffix(".out")
    with stream.open("w") as out:
        toy.run(jobs(12), hosts=BOTH, view=PlainView(out))
    assert (
        stream.read_text().count("host bad is excluded for 60 min while there are others: attempts of 2 jobs failed")
        == 1
    )
    lines = [json.loads(line) for line in (toy.home / "driver.log").read_text().splitlines()]
    (line,) = [line for line in lines if line["what"] == "host excluded"]
    assert (line["host"], line["why"]) == ("bad", "vanished: as scripted: vanished")


def test_it_outlives_the_driver_and_ends_after_avoid_s(toy: Toy) -> None:
    toy.run(jobs(4), hosts=BOTH)
    assert "bad" in places(toy)
    toy.run(jobs(6), hosts=BOTH)
    assert "bad" not in places(toy)
    toy.clock.sleep(HOUR)
    toy.run(jobs(9), hosts=BOTH)
    assert "bad" in places(toy)


def test_a_host_that_is_alone_is_used_however_bad(toy: Toy) -> None:
    outcome = toy.run(jobs(2), hosts=(share("bad"),))
    assert outcome.counts == {"failed": 2}
    assert set(places(toy)) == {"bad"}
    assert len(places(toy)) == 8, "each job has the whole of its budget"


def test_a_job_that_fails_everywhere_leaves_all_hosts_in_use(toy: Toy) -> None:
    toy.backend_type = FakeBackend
    script = {f"train/{n}": [Act(script="vanished")] for n in range(4)}
    toy.run(jobs(4), script, hosts=(share("x"), share("y")))
    with toy.ledger() as ledger:
        endings = host_endings(ledger.attempts(), toy.clock.time(), toy.clock.time())
    assert len(endings) == 16
    assert excluded_hosts(endings, toy.clock.time(), HOUR) == {}
