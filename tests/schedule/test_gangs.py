"""Jobs that several hosts share: all hosts at once or none, never more than there is, no wait beyond a reservation."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_study import Toy, make_job, make_plan

from orchestrator.backends.fake.backend import Act, FakeBackend
from orchestrator.backends.protocol import HostShare, JobQueue, Placement
from orchestrator.plan.estimates import JobEstimate
from orchestrator.schedule.host_exclusion import blamed
from orchestrator.schedule.job_states import JobStates
from orchestrator.schedule.launcher import read_intent, write_intent
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.schema import Attempt, attempt_json
from orchestrator.schedule.misfits import Misfits
from orchestrator.schedule.placement import Placer, usable
from orchestrator.schedule.ready_queue import ReadyQueue
from orchestrator.schedule.rooms import JobShape, Reservations, Spread, fit, promise_for
from orchestrator.schedule.simulation import SimulatedJob, simulate
from orchestrator.spec.cell import Resources


def host(name: str, devices: int = 4, group: str | None = "lan", cpus: int = 64) -> HostShare:
    return HostShare(name=name, cpus=cpus, devices=devices, memory_gib=256.0, group=group)


def needs(devices: int, nodes: int | None = None, cpus: int = 1) -> Resources:
    ranks = None if devices else nodes
    return Resources(cpus=cpus, devices=devices, memory_gib=1.0, minutes=1.0, ranks=ranks, nodes=nodes)


def lasts(seconds: float) -> JobEstimate:
    return JobEstimate(seconds=seconds, basis="measured")


def job(name: str, resources: Resources, seconds: float = 10.0) -> SimulatedJob:
    return SimulatedJob(id=name, stage="train", resources=resources, seconds=seconds, estimate=lasts(seconds))


@pytest.mark.parametrize(
    ("resources", "sizes", "shape"),
    [
        (needs(4, cpus=8), (4, 4), (8, 4, 1)),
        (needs(4, 2, cpus=8), (4, 4), (4, 2, 2)),
        (needs(0, 2, cpus=2), (0, 0), (1, 0, 2)),
        (needs(8, cpus=16), (4, 4), (8, 4, 2)),
        (needs(8, cpus=16), (4, 2, 2, 2), (4, 2, 4)),  # two of 4 devices are not there: the fewest that are
        (needs(8, cpus=16), (4,), (8, 4, 2)),  # another host may come
        (needs(6, cpus=6), (4, 4), (3, 3, 2)),
    ],
)
def test_a_job_goes_over_as_many_hosts_as_it_says_or_over_the_fewest_with_enough_devices(
    resources: Resources, sizes: Sequence[int], shape: tuple[int, int, int]
) -> None:
    found = Spread([host(f"h{n}", size) for n, size in enumerate(sizes)]).shape(resources, "train")
    assert (found.cpus, found.devices, found.nodes) == shape
    assert found.memory_gib == 1.0 / found.nodes


def test_a_queue_spreads_by_itself() -> None:
    queue = JobQueue(name="slurm", slots=1)
    assert Spread([queue]).shape(needs(64), "train").nodes == 1
    rooms = Reservations().rooms([queue])
    assert fit(JobShape(4, 4, 1.0, "train", 2), rooms) == Placement(host="slurm", cpus=8, devices=tuple(range(8)))
    assert fit(JobShape(4, 4, 1.0, "train", 2), rooms) is None, "its slot is taken"


def test_all_hosts_or_none_the_fullest_that_suffice_and_of_one_group() -> None:
    hosts = [host("a"), host("b"), host("c"), host("alone", group=None), host("far", group="wan")]
    reservations = Reservations()
    reservations.reserve("single", Placement(host="b", cpus=1, devices=(0,)), 1.0)
    shape = JobShape(1, 3, 1.0, "train", 2)
    rooms = reservations.rooms(hosts)
    found = fit(shape, rooms)
    assert found is not None
    assert [(part.host, part.devices) for part in found.parts] == [("b", (1, 2, 3)), ("a", (0, 1, 2))]
    before = [(room.name, room.cpus, tuple(room.devices)) for room in rooms]
    assert fit(shape, rooms) is None, "c is free, and far and alone are in no group with it"
    assert [(room.name, room.cpus, tuple(room.devices)) for room in rooms] == before, "nothing was taken of them"
    reservations.reserve("gang", found, 1.0)
    assert {room.name: len(room.devices) for room in reservations.rooms(hosts)}["a"] == 1
    reservations.release("gang")
    assert {room.name: len(room.devices) for room in reservations.rooms(hosts)}["a"] == 4


def test_a_host_without_devices_takes_no_share_of_a_job_with_devices() -> None:
    hosts = [host("a", 2), host("cpus", 0), host("b", 2)]
    rooms = Reservations().rooms(hosts)
    found = fit(Spread(hosts).shape(needs(4, 2), "train"), rooms)
    assert found is not None and found.hosts == ("a", "b")
    assert fit(JobShape(1, 0, 1.0, "train", 2), rooms) is not None, "but of one without"


def test_its_reservation_is_of_as_many_hosts_from_when_the_last_of_them_is_free() -> None:
    reservations = Reservations()
    for name, until in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        reservations.reserve(name, Placement(host=name, cpus=1, devices=(0, 1, 2)), 1.0, 0.0, lasts(until))
    rooms = reservations.rooms([host("a"), host("b"), host("c")])
    promise = promise_for(JobShape(1, 4, 1.0, "train", 2), rooms, 0.0)
    assert promise is not None and promise.begin == 20.0
    assert [room.name for room in rooms if room.promised is not None] == ["b", "c"]
    one = JobShape(1, 1, 1.0, "train")
    late, early = fit(one, rooms, 25.0), fit(one, rooms, 15.0)
    assert late is not None and late.host == "a", "what ends after 20 s goes where nothing is promised"
    assert early is not None and early.host in ("b", "c"), "what ends by then may use what the gang waits for"


def test_too_few_hosts_are_waited_for_and_a_share_that_none_has_is_not() -> None:
    two = needs(8, 2)
    assert Misfits([host("a"), host("b")]).why_short(two, "train") is None
    assert (
        Misfits([host("a")]).why_short(two, "train")
        == "needs 2 hosts with 1 cpu, 4 devices and 0.5 GiB each; there is 1"
    )
    assert Misfits([host("a")]).why_unplaceable(two, "train") is None
    alone = str(Misfits([host("a", group=None), host("b", group=None)]).why_unplaceable(two, "train"))
    assert alone == (
        "needs 1 cpu, 4 devices and 0.5 GiB on each of 2 hosts; no host of this --cluster shares a job with others; "
        "lower resources.train.nodes or choose another --cluster"
    )
    assert "on each of 2 hosts; the largest has 64 cpus, 2 devices" in str(
        Misfits([host("a", 2)]).why_unplaceable(two, "train")
    )
    many = str(Misfits([host("a"), host("b")]).why_unplaceable(needs(8, cpus=999), "train"))
    assert many.startswith("needs 999 cpus, 8 devices and 1 GiB on one host, or an equal share on each of several; the")
    assert Misfits([host("a"), host("b")]).why_unplaceable(needs(3, 2), "train") == (
        "resources.train.nodes is 2, but its 3 ranks cannot be shared equally; a divisor of 3 is allowed"
    )


def test_excluded_hosts_are_used_only_where_the_others_are_too_few() -> None:
    shape, three = JobShape(1, 1, 1.0, "train", 2), [host("a"), host("b"), host("c")]
    assert usable(shape, three, {"a": 5.0}) == {"b", "c"}
    assert usable(shape, three, {"a": 5.0, "b": 2.0}) == {"b", "c"}, "the one whose bad ending is older"


@st.composite
def mixed(draw: st.DrawFn) -> list[SimulatedJob]:
    found = []
    for n in range(draw(st.integers(1, 16))):
        nodes = draw(st.sampled_from([None, None, 2, 3]))
        devices = draw(st.integers(1, 4)) * (nodes or 1)
        found.append(job(f"j{n:02}", needs(devices, nodes), float(draw(st.integers(1, 50)))))
    return found


@given(mixed(), st.lists(st.integers(4, 6), min_size=3, max_size=4), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_every_job_gets_all_its_shares_at_once_on_different_hosts_and_no_device_is_shared(
    jobs: list[SimulatedJob], sizes: list[int], seed: int
) -> None:
    jobs = [replace(one, estimate=lasts(one.seconds * (1.0 + (n * 7 + seed) % 5))) for n, one in enumerate(jobs)]
    schedule = simulate(jobs, [host(f"h{n}", size) for n, size in enumerate(sizes)])
    for one in jobs:
        shares = [share for share in schedule.attempts if share.job == one.id]
        assert len(shares) == len({share.host for share in shares}) == (one.resources.nodes or 1)
        assert len({(share.begin_s, share.end_s) for share in shares}) == 1
        assert sum(len(share.devices) for share in shares) == one.resources.devices
    for share in schedule.attempts:
        for other in schedule.attempts:
            at_once = share.begin_s < other.end_s and other.begin_s < share.end_s
            if share is not other and at_once and share.host == other.host:
                assert not set(share.devices) & set(other.devices) and not set(share.cpus) & set(other.cpus)


@given(mixed(), st.lists(st.integers(4, 6), min_size=3, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_job_that_is_first_begins_by_the_time_of_its_first_reservation(
    jobs: list[SimulatedJob], sizes: list[int]
) -> None:
    hosts = [host(f"h{n}", size) for n, size in enumerate(sizes)]
    known = {one.id: one for one in jobs}
    ranks = {one.id: float(len(jobs) - n) for n, one in enumerate(jobs)}  # in the order of the list
    queue = ReadyQueue(ranks, {one.id: one.estimate for one in jobs}, hosts=hosts)
    queue.add(jobs)
    reservations, begun, now = Reservations(), set[str](), 0.0
    running, promised = dict[str, float](), dict[str, float]()
    while len(begun) < len(jobs):
        for name, placement in queue.place(reservations.rooms(hosts, now), lambda one: one not in begun, 99, now=now):
            running[name] = now + known[name].seconds
            reservations.reserve(name, placement, known[name].resources.memory_gib, now, known[name].estimate)
            begun.add(name)
            assert now <= promised.get(name, math.inf)
        first = next((one for one in jobs if one.id not in begun), None)
        if first is None:
            break
        shape = Spread(hosts).shape(first.resources, "train")
        promise = promise_for(shape, reservations.rooms(hosts, now), now)
        assert promise is not None
        promised.setdefault(first.id, promise.begin)
        now = min(running.values())
        for name in [name for name, end in running.items() if end <= now]:
            reservations.release(name)
            del running[name]


def test_short_jobs_use_what_a_gang_of_two_hosts_waits_for_and_do_not_delay_it() -> None:
    seconds = {"long": 100.0, "middle": 80.0, "short": 40.0, "tiny": 20.0}
    jobs = [job("gang", needs(8, 2), 90.0), *(job(name, needs(4), each) for name, each in seconds.items())]
    found = {one.job: one.begin_s for one in simulate(jobs, [host("a"), host("b")]).attempts}
    assert found == {"long": 0.0, "middle": 0.0, "tiny": 80.0, "gang": 100.0, "short": 190.0}


def attempt(**fields: object) -> Attempt:
    one = make_job("train", "train/a")
    given = {"id": "a001-x", "fingerprint": one.fingerprint, "job": one.id, "label": one.label, "stage": "train"}
    return Attempt(**{**given, "host": "a", "intended": 1.0, **fields})  # type: ignore[arg-type]


def test_the_ledger_and_the_attempts_folder_remember_all_hosts(tmp_path: Path) -> None:
    gang = attempt(cpus=2, devices=(0, 1), others=(Placement(host="b", cpus=2, devices=(2, 3)),))
    write_intent(tmp_path, gang)
    assert read_intent(tmp_path) == gang
    with Ledger.open(tmp_path / "toy" / "ledger.sqlite") as ledger:
        ledger.record_intent(gang)
        assert ledger.attempts() == [gang] and gang.placement.where == "a + b"
        ledger.record_end("a001-x", "node_lost", 9.0, failed_on="b")
        (ended,) = ledger.attempts()
    assert {"host": "a", "hosts": ("a", "b"), "failed_on": "b"}.items() <= attempt_json(ended).items()


@pytest.mark.parametrize(
    ("hosts", "ending", "failed_on", "who"),
    [
        (("a",), "vanished", "", ("a",)),
        (("a", "b"), "ok", "", ("a", "b")),
        (("a", "b"), "node_lost", "b", ("b",)),
        (("a", "b"), "error", "", ()),
        (("",), "error", "", ()),
    ],
)
def test_a_bad_ending_counts_for_the_host_that_failed_first(
    hosts: Sequence[str], ending: str, failed_on: str, who: tuple[str, ...]
) -> None:
    assert blamed(hosts, ending, failed_on) == who


def test_a_run_places_a_gang_and_after_its_loss_avoids_the_host_that_was_lost(tmp_path: Path) -> None:
    toy, lost = Toy(tmp_path / "toy"), Act(script="node_lost", failed_on="b")
    gang = needs(0, 2, cpus=2)
    plan = make_plan([make_job("train", "train/a", resources=gang), make_job("train", "train/b", resources=gang)])
    hosts = [host(name, devices=0, cpus=1) for name in "abc"]
    outcome = toy.run(plan, {"train/a": [lost, Act()]}, hosts=hosts)
    assert outcome.counts == {"done": 2} and toy.backend is not None
    taken = [(one.label, one.placement.hosts) for one in toy.backend.submitted]
    assert taken == [("train/a", ("a", "b")), ("train/a", ("a", "c")), ("train/b", ("a", "c"))] or taken[1][1] == (
        "a",
        "c",
    )


def test_a_run_waits_for_hosts_that_a_gang_lacks_and_says_so(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")
    toy.settings.unknown_s = 60.0
    plan = make_plan([make_job("train", "train/a", resources=needs(0, 2, cpus=2)), make_job("train", "train/b")])
    outcome = toy.run(plan, hosts=[host("a", devices=0)])
    assert outcome.counts == {"done": 1, "new": 1}
    assert "train/a needs 2 hosts with 1 cpu, 0 devices and 0.5 GiB each; there is 1" in outcome.note


class Growing(FakeBackend):
    """The last host joins after a minute."""

    def hosts(self) -> Sequence[HostShare]:
        early = self._now() < self._born + 60.0
        return self._hosts[:-1] if early else self._hosts

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._born = self._now()


def test_a_gang_begins_when_a_host_that_it_lacks_has_joined(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")
    toy.backend_type = Growing
    plan = make_plan([make_job("train", "train/a", resources=needs(0, 2, cpus=2))])
    assert toy.run(plan, hosts=[host("a", devices=0), host("b", devices=0)]).counts == {"done": 1}
    assert toy.backend is not None and toy.backend.submitted[0].placement.hosts == ("a", "b")


def test_an_autoscaler_is_told_the_share_of_a_gang_and_of_how_many_hosts(tmp_path: Path) -> None:
    jobs = [make_job("train", "train/a", resources=needs(8, 2, cpus=4)), make_job("train", "train/b")]
    plan = make_plan(jobs)
    placer = Placer(JobStates(plan, plan.jobs, frozenset(), {}), lambda job: lasts(1.0))
    waiting = {(one.cpus, one.devices, one.nodes): number for (_, one), number in placer.waiting(jobs).items()}
    assert waiting == {(2, 4, 2): 1, (1, 0, None): 1}
