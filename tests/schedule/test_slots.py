"""Slots: what may be in use at a time over all hosts; what waits for one, and what a run costs that asks first."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_study import own_matrix
from toy_study import Toy, make_job, make_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.backends.protocol import HostShare
from orchestrator.commands.explain.command import explain_json, explain_text
from orchestrator.commands.explain.explanation import explanation_of
from orchestrator.commands.run.command import cost_question
from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.plan.estimates import JobEstimate
from orchestrator.plan.makespan import Capacity, makespan
from orchestrator.plan.slots import check_slots, slot_words, slots_of
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.events import Event
from orchestrator.schedule.simulation import Schedule, SimulatedJob, simulate
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import Cluster
from orchestrator.study import Study

CPU = Resources(cpus=1, devices=0, memory_gib=1.0, minutes=5.0)
JUDGED = replace(CPU, slots={"judge-server": 2})
FILE = Path("cluster/here.yaml")


def hosts(*cpus: int) -> list[HostShare]:
    return [HostShare(name=f"h{n}", cpus=count, devices=4, memory_gib=64.0) for n, count in enumerate(cpus)]


def at_once(schedule: Schedule, jobs: list[SimulatedJob], limits: dict[str, int]) -> dict[str, int]:
    """The most slots of each name that were taken at a time."""
    known = {job.id: job for job in jobs}
    shares = {one.job: (one.begin_s, one.end_s) for one in schedule.attempts}
    most = dict.fromkeys(limits, 0)
    for begin, _ in shares.values():
        for name in limits:
            running = [known[job] for job, (since, until) in shares.items() if since <= begin < until]
            taken = sum(slots_of(job.stage, job.resources, limits).get(name, 0) for job in running)
            most[name] = max(most[name], taken)
    return most


@st.composite
def many(draw: st.DrawFn) -> list[SimulatedJob]:
    found: list[SimulatedJob] = []
    for n in range(draw(st.integers(1, 16))):
        devices, stage = draw(st.integers(0, 4)), draw(st.sampled_from(["train", "judge"]))
        slots = draw(st.dictionaries(st.sampled_from(["server", "licence"]), st.integers(1, 2), max_size=2))
        seconds, guess = draw(st.integers(1, 50)), draw(st.integers(1, 80))
        needs = draw(st.lists(st.sampled_from([one.id for one in found]), max_size=2)) if found else []
        found.append(
            SimulatedJob(
                id=f"j{n:02}",
                stage=stage,
                resources=Resources(cpus=1, devices=devices, memory_gib=1.0, minutes=1.0, slots=slots),
                seconds=float(seconds),
                estimate=JobEstimate(seconds=float(guess), basis="measured", sigma=0.3),
                inputs={one: one for one in needs},
            )
        )
    return found


@given(many(), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 3), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_slots_are_never_overcommitted_and_every_job_ends(
    jobs: list[SimulatedJob], cpus: list[int], trainings: int, servers: int
) -> None:
    limits = {"train": trainings, "server": servers, "licence": 2}
    schedule = simulate(jobs, hosts(*cpus), limits)
    assert sorted({one.job for one in schedule.attempts}) == sorted(job.id for job in jobs)
    assert all(most <= limits[name] for name, most in at_once(schedule, jobs, limits).items())
    assert schedule.makespan_s >= schedule.bound_s * (1 - 1e-9)


def test_a_job_of_many_slots_is_not_starved_by_jobs_of_few() -> None:
    large = Resources(cpus=1, devices=0, memory_gib=1.0, minutes=1.0, slots={"server": 4})
    few = replace(large, slots={"server": 1})
    sure = {seconds: JobEstimate(seconds=seconds, basis="measured") for seconds in (9.0, 100.0)}
    jobs = [
        SimulatedJob(id="first", stage="judge", resources=few, seconds=200.0, estimate=sure[100.0]),
        SimulatedJob(id="large", stage="judge", resources=large, seconds=100.0, estimate=sure[100.0]),
        *(
            SimulatedJob(id=f"few-{n:02}", stage="judge", resources=few, seconds=9.0, estimate=sure[9.0])
            for n in range(40)
        ),
        SimulatedJob(id="other", stage="camera", resources=CPU, seconds=9.0, estimate=sure[9.0]),
    ]
    begins = {one.job: one.begin_s for one in simulate(jobs, hosts(64), {"server": 4}).attempts}
    assert begins["large"] == 200.0, "once the only job before it has ended"
    assert begins["other"] == 0.0, "it needs no slot"


def test_at_most_so_many_jobs_of_a_stage_run_at_a_time(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")
    toy.settings.slots = {"judge": 2}
    plan = make_plan([make_job("judge", f"judge/loop/{n}") for n in range(6)])
    live: set[str] = set()
    most = 0

    def observe(event: Event) -> None:
        nonlocal most
        if event.kind == "submitted":
            live.add(event.job)
        elif event.kind == "ended":
            live.discard(event.job)
        most = max(most, len(live))

    outcome = toy.run(plan, hosts=hosts(8), observe=observe)
    assert outcome.counts == {"done": 6} and most == 2


def test_the_work_over_the_slots_bounds_the_makespan() -> None:
    jobs = [make_job("judge", f"judge/loop/{n}", resources=JUDGED) for n in range(6)]
    seconds = {job.id: 10.0 for job in jobs}
    assert makespan(jobs, seconds, Capacity(cpus=64, slots={"judge-server": 4})) == 30.0, "2 slots each, 4 at a time"
    assert makespan(jobs, seconds, Capacity(cpus=64, slots={"judge": 3})) == 20.0
    assert makespan(jobs, seconds, Capacity(cpus=64, slots={"train": 1})) == 10.0


def test_a_limit_of_nothing_and_a_job_that_no_limit_lets_start_are_refused() -> None:
    needs = {"train": CPU, "judge": JUDGED}
    check_slots({"judge": 1, "judge-server": 2, "licence": 1}, needs, ["licence"], FILE)
    with pytest.raises(MatrixError) as refused:
        check_slots({"jugde": 4}, needs, [], FILE)
    assert str(refused.value) == (
        "cluster/here.yaml: slots.jugde limits nothing: it is no stage and no resources.STAGE.slots names it; "
        "did you mean 'judge'?; allowed: judge, judge-server, train"
    )
    with pytest.raises(MatrixError) as refused:
        check_slots({"judge-server": 1}, needs, [], FILE)
    assert str(refused.value) == (
        "resources.judge.slots.judge-server is 2, and slots.judge-server of cluster/here.yaml is 1; no job of judge "
        "could start; lower the one or raise the other"
    )


def test_the_files_say_limits_and_what_jobs_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    stage = next(iter(open_study(own_matrix()).plan.jobs.values())).stage
    with pytest.raises(MatrixError, match=r"slots\.nothing limits nothing"):
        open_study(own_matrix(), settings=["slots={nothing: 2}"])
    taken = f"resources.{stage}.slots={{server: 2}}"
    study = open_study(own_matrix(), overrides=[taken], settings=[f"slots={{server: 3, {stage}: 2}}"])
    assert study.capacity.slots == {"server": 3, stage: 2}
    assert next(iter(study.plan.jobs.values())).resources.slots == {"server": 2}


def test_explain_says_which_jobs_have_the_slots(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "toy")
    toy.settings.slots = {"judge": 1}
    plan = make_plan([make_job("judge", "judge/loop/a"), make_job("judge", "judge/loop/b")])
    study = Study(
        matrix=toy.home / "matrix.yaml",
        plan=plan,
        cluster=Cluster(backend="fake", slots={"judge": 1}),
        home=toy.home,
    )
    seen: list[str] = []

    def observe(event: Event) -> None:
        if event.kind == "started" and not seen:
            known = explanation_of(study, next(job for job in plan.jobs.values() if job.label == "judge/loop/b"))
            seen.extend((explain_text(known), str(explain_json(known)["slots"])))

    toy.run(plan, {"judge/loop/a": [Act(seconds=100.0)]}, hosts=hosts(8), observe=observe)
    assert "  waits for a slot of judge: 1 of 1 taken by judge/loop/a\n" in seen[0]
    assert seen[1] == "['judge: 1 of 1 taken by judge/loop/a']"


def test_of_many_jobs_that_have_the_slots_some_are_named() -> None:
    jobs = [make_job("judge", f"judge/loop/{n}") for n in range(7)]
    assert slot_words(jobs[0], jobs[1:], {"judge": 6}) == [
        "judge: 6 of 6 taken by judge/loop/1, judge/loop/2, judge/loop/3, judge/loop/4 and 2 others"
    ]
    assert slot_words(jobs[0], jobs[1:], {"judge": 7}) == [] == slot_words(jobs[0], jobs[1:], {})


def test_a_run_asks_before_it_spends_more_than_the_cluster_file_says(tmp_path: Path) -> None:
    devices = replace(CPU, devices=8)
    plan = make_plan([make_job("judge", f"judge/loop/{n}", resources=devices) for n in range(900)])

    def asked(limit: float | None, budget: Budget | None = None) -> str:
        cluster = Cluster(backend="fake", confirm_above_device_hours=limit)
        study = Study(matrix=tmp_path / "matrix.yaml", plan=plan, cluster=cluster, home=tmp_path / "toy")
        return cost_question(study, list(plan.jobs), budget or Budget())

    question = asked(1.0)
    assert question.startswith("900 jobs: 2 device-hours are expected, at most ")
    assert question.endswith("900 guessed. That is above confirm_above_device_hours (1). Start?")
    assert asked(None) == asked(3.0) == asked(1.0, Budget(device_hours=0.5)) == ""
