"""Placement: who comes first, where, and how far from the best possible."""

import time
from collections.abc import Mapping, Sequence

from toy_study import make_job, make_plan, small_plan

from orchestrator.backends.protocol import HostShare, JobQueue, Placement
from orchestrator.plan.job import Job
from orchestrator.plan.makespan import longest_chains
from orchestrator.schedule.job_states import JobStates, Transition, closure
from orchestrator.schedule.misfits import Misfits
from orchestrator.schedule.ready_queue import ReadyQueue
from orchestrator.schedule.rooms import Reservations, Target
from orchestrator.spec.cell import Resources

DEVICE = Resources(cpus=1, devices=1, memory_gib=1.0, minutes=1.0)


def priorities(jobs: Sequence[Job], seconds: Mapping[str, float] | None = None) -> dict[str, float]:
    known = seconds or {}
    return longest_chains(jobs, {job.id: known.get(job.stage, job.spec.seconds_guess) for job in jobs})


def place(jobs: list[Job], hosts: Sequence[Target], reserve: Reservations | None = None) -> dict[str, str]:
    queue = ReadyQueue(priorities(jobs))
    queue.add(jobs)
    rooms = (reserve or Reservations()).rooms(hosts)
    return {job: placement.host for job, placement in queue.place(rooms, lambda job: True, 1000)}


def test_what_begins_the_longest_chain_comes_first() -> None:
    ranks = priorities(list(small_plan().jobs.values()))
    by_label = {job.label: ranks[job.id] for job in small_plan().jobs.values()}
    assert by_label["data"] > by_label["latents"] > by_label["train/a"] > by_label["evaluate/return/a"]
    assert by_label["latents"] > by_label["index"]


def test_no_host_gets_more_than_it_has() -> None:
    hosts = [HostShare(name="one", cpus=3, devices=2, memory_gib=8.0)]
    jobs = [make_job("train", f"train/{n}", resources=DEVICE) for n in range(5)]
    assert len(place(jobs, hosts)) == 2


def test_no_device_is_given_twice() -> None:
    hosts = [HostShare(name="one", cpus=8, devices=4, memory_gib=8.0)]
    jobs = [make_job("train", f"train/{n}", resources=DEVICE) for n in range(4)]
    queue = ReadyQueue(priorities(jobs))
    queue.add(jobs)
    given = [placement.devices for _, placement in queue.place(Reservations().rooms(hosts), lambda job: True, 10)]
    assert sorted(given) == [(0,), (1,), (2,), (3,)]


def test_jobs_without_devices_go_where_fewest_devices_are_left() -> None:
    hosts = [
        HostShare(name="gpus", cpus=8, devices=8, memory_gib=8.0),
        HostShare(name="cpus", cpus=8, devices=0, memory_gib=8.0),
    ]
    assert set(place([make_job("judge", "judge/loop/a")], hosts).values()) == {"cpus"}


def test_a_large_job_is_not_starved_by_small_ones() -> None:
    hosts = [HostShare(name="one", cpus=4, devices=0, memory_gib=64.0)]
    large = make_job("train", "train/large", resources=Resources(cpus=4, devices=0, memory_gib=1.0, minutes=1.0))
    small = [make_job("judge", f"judge/loop/{n}") for n in range(10)]
    reserve = Reservations()
    first = place([small[0]], hosts)
    assert first
    queue = ReadyQueue(priorities([small[0]]))
    queue.add([small[0]])
    ((name, placement),) = queue.place(reserve.rooms(hosts), lambda job: True, 1)
    reserve.reserve(name, placement, 1.0)
    assert place([large, *small[1:]], hosts, reserve) == {}


def test_a_job_that_waits_for_devices_leaves_cpus_to_others() -> None:
    hosts = [HostShare(name="one", cpus=8, devices=1, memory_gib=64.0)]
    reserve = Reservations()
    queue = ReadyQueue({})
    queue.add([make_job("train", "train/0", resources=DEVICE)])
    ((name, placement),) = queue.place(reserve.rooms(hosts), lambda job: True, 1)
    reserve.reserve(name, placement, 1.0)
    waiting = make_job("train", "train/1", resources=DEVICE)
    assert set(place([waiting, make_job("judge", "judge/loop/a")], hosts, reserve)) == {
        make_job("judge", "judge/loop/a").id
    }


def test_what_fits_nowhere_is_told_with_numbers() -> None:
    hosts = [HostShare(name="one", cpus=2, devices=0, memory_gib=8.0)]
    assert Misfits(hosts).why_unplaceable(DEVICE, "train") is not None
    assert "1 device" in str(Misfits(hosts).why_unplaceable(DEVICE, "train"))
    assert Misfits([]).why_unplaceable(DEVICE, "train") is None


def simulate(jobs: list[Job], hosts: list[HostShare], seconds: dict[str, float]) -> float:
    """Makespan of a plan on hosts, by the very code that the loop calls."""
    plan = make_plan(jobs)
    board = JobStates(plan, closure(plan, plan.jobs, ()), frozenset(), {})
    queue = ReadyQueue(priorities(jobs, seconds))
    queue.add(board.ready())
    reserve, running, now = Reservations(), dict[str, float](), 0.0
    while len(board) > board.counts().get("done", 0):
        for job, placement in queue.place(reserve.rooms(hosts), board.is_ready, 1000):
            reserve.reserve(job, placement, 0.0)
            board.apply(Transition(job=job, kind="submitted"))
            running[job] = now + seconds[plan.jobs[job].stage]
        now = min(running.values())
        for job in [job for job, until in running.items() if until <= now]:
            del running[job]
            reserve.release(job)
            queue.add(plan.jobs[freed] for freed in board.apply(Transition(job=job, kind="done")))
    return now


def test_makespan_is_within_a_twentieth_of_the_lower_bound() -> None:
    seconds = {"data": 1.0, "latents": 1.0, "index": 1.0, "train": 300.0, "evaluate": 50.0, "judge": 5.0}
    data = make_job("data", "data", resources=DEVICE)
    jobs = [data]
    for row in range(250):
        train = make_job("train", f"train/{row}", {"data": data.id}, resources=DEVICE)
        jobs.append(train)
        for branch in ("replay", "loop", "return"):
            jobs.append(make_job("evaluate", f"evaluate/{branch}/{row}", {"train": train.id}, resources=DEVICE))
    hosts = [HostShare(name=f"host-{n}", cpus=8, devices=8, memory_gib=64.0) for n in range(8)]
    bound = max(sum(seconds[job.stage] for job in jobs) / 64, 351.0)
    assert simulate(jobs, hosts, seconds) / bound <= 1.05


def test_sixty_thousand_jobs_are_placed_at_the_cost_of_those_that_start() -> None:
    jobs = [make_job("train", f"train/{n}") for n in range(60_000)]
    queue = ReadyQueue(priorities(jobs))
    queue.add(jobs)
    hosts = [HostShare(name="one", cpus=16, devices=0, memory_gib=1000.0)]
    began = time.perf_counter()
    assert len(queue.place(Reservations().rooms(hosts), lambda job: True, 256)) == 16
    assert time.perf_counter() - began < 0.1


def test_a_scheduler_of_its_own_takes_so_many_attempts_whatever_they_need() -> None:
    slurm = JobQueue(name="slurm", slots=3)
    big = Resources(cpus=4, devices=4, memory_gib=8.0, minutes=1.0)
    jobs = [make_job("train", f"train/{n}", resources=big) for n in range(5)]
    assert len(place(jobs, [slurm])) == 3
    reserve = Reservations()
    reserve.reserve("a", Placement(host="slurm", cpus=4, devices=(0, 1, 2, 3)), 8.0)
    assert len(place(jobs, [slurm], reserve)) == 2


def test_a_host_takes_jobs_of_its_stages_only() -> None:
    hosts = [
        JobQueue(name="jobs", slots=100, stages=("train",)),
        HostShare(name="pack", cpus=2, devices=0, memory_gib=8.0, stages=("judge",)),
    ]
    jobs = [make_job("train", "train/a"), make_job("judge", "judge/loop/a"), make_job("data", "data")]
    assert place(jobs, hosts) == {jobs[0].id: "jobs", jobs[1].id: "pack"}
    assert Misfits(hosts).why_unplaceable(jobs[1].resources, "judge") is None
    assert "no host takes jobs of stage data" in str(Misfits(hosts).why_unplaceable(jobs[2].resources, "data"))
    large = Resources(cpus=3, devices=0, memory_gib=1.0, minutes=1.0)
    assert "the largest has 2 cpus" in str(Misfits(hosts).why_unplaceable(large, "judge")), (
        "what other stages have is no help"
    )


def test_room_is_kept_for_a_large_job_only_where_its_stage_goes() -> None:
    large = make_job("train", "train/large", resources=Resources(cpus=8, devices=0, memory_gib=1.0, minutes=1.0))
    small = make_job("judge", "judge/loop/a")
    full = HostShare(name="other", cpus=8, devices=0, memory_gib=64.0, stages=("train",))
    pack = HostShare(name="pack", cpus=9, devices=0, memory_gib=64.0, stages=("judge",))
    reserve = Reservations()
    reserve.reserve("running", Placement(host="other", cpus=4, devices=()), 1.0)
    assert place([large, small], [full, pack], reserve) == {small.id: "pack"}


def test_a_host_that_is_to_come_makes_no_job_a_why_unplaceable_and_takes_none() -> None:
    promised = HostShare(name="pilot", cpus=4, devices=1, memory_gib=8.0, pending=True)
    job = make_job("train", "train/a", resources=DEVICE)
    assert Misfits([promised]).why_unplaceable(job.resources, "train") is None
    assert place([job], [promised]) == {}
