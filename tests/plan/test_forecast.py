"""How long jobs take: from what was measured, else from FLOPs, else guessed; and what placement makes of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import make_duration, make_job, make_plan, small_plan

from orchestrator.plan.build import build_plan
from orchestrator.plan.durations import Duration
from orchestrator.plan.forecast import CORE_FLOPS_S, Forecaster, LiveTime
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.makespan import Capacity, longest_chains, makespan
from orchestrator.spec.cell import Resources
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile

DURATION = make_duration(stage="", row="")
DEVICES = Resources(cpus=4, devices=8, memory_gib=1.0, minutes=1.0)


def planned(root: Path, *overrides: str) -> Plan:
    resolved = resolve_profile(load_matrix(root / "tests" / "golden" / "matrix.yaml"), "laptop", overrides)
    return build_plan(resolved, expand(resolved))


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    return planned(root)


def at(plan: Plan, label: str) -> Job:
    return next(job for job in plan.jobs.values() if job.label == label)


def measured(plan: Plan, label: str, seconds: float, *, kind: str = "", backend: str = "") -> Duration:
    job, forecaster = at(plan, label), Forecaster(plan)
    return replace(
        DURATION,
        fingerprint=job.fingerprint,
        stage=job.stage,
        branch=job.branch or "",
        row=forecaster.row_of(job),
        profile=plan.profile,
        backend=backend,
        kind=kind,
        flops=forecaster.flops_of(job),
        seconds=seconds,
    )


def test_before_anything_has_run_durations_come_from_flops_where_these_are_known(plan: Plan) -> None:
    forecaster = Forecaster(plan)
    train, judge = at(plan, "train/context-k5/s0"), at(plan, "judge/loop/context-k5/s0")
    assert forecaster.of(train).basis == "flops"
    assert forecaster.of(train).seconds == pytest.approx((forecaster.flops_of(train) or 0.0) / CORE_FLOPS_S)
    assert (forecaster.of(judge).basis, forecaster.of(judge).seconds) == ("guess", judge.spec.seconds_guess)
    assert not Forecaster(small_plan()).forecast(small_plan().jobs, Capacity()).is_known


def test_what_was_measured_comes_before_flops_and_the_same_row_before_others(plan: Plan) -> None:
    forecaster = Forecaster(plan, [measured(plan, "train/context-k5/s0", 70.0), measured(plan, "index/s0", 7.0)])
    assert forecaster.of(at(plan, "train/context-k5/s0")).basis == "measured"
    assert forecaster.of(at(plan, "train/context-k5/s0")).seconds == pytest.approx(70.0, rel=0.1)
    other = at(plan, "train/context-k20/s0")
    share = (forecaster.flops_of(other) or 0.0) / (forecaster.flops_of(at(plan, "train/context-k5/s0")) or 1.0)
    assert forecaster.of(other).seconds == pytest.approx(70.0 * share, rel=0.3)
    evaluation = forecaster.of(at(plan, "evaluate/loop/context-k5/s0"))
    assert evaluation.basis == "flops", "at the rate of the trainings"
    assert evaluation.seconds != Forecaster(plan).of(at(plan, "evaluate/loop/context-k5/s0")).seconds
    forecaster.add(measured(plan, "train/context-k20/s0", 900.0))
    assert forecaster.of(other).seconds == pytest.approx(900.0, rel=0.15)


def test_another_number_of_steps_is_scaled_and_another_seed_is_not(root: Path, plan: Plan) -> None:
    durations = [measured(plan, "train/ssm-hybrid/s0", 100.0)]
    longer = Forecaster(planned(root, "controls.training.steps=800", "seeds=[0,1]"), durations)
    for seed in (0, 1):
        assert longer.of(at(longer._plan, f"train/ssm-hybrid/s{seed}")).seconds == pytest.approx(200.0, rel=0.1)


def test_the_newest_kind_of_device_of_the_backend_decides(plan: Plan) -> None:
    label = "index/s0"
    durations = [
        measured(plan, label, 10.0, kind="old", backend="slurm"),
        measured(plan, label, 20.0, kind="new", backend="slurm"),
        measured(plan, label, 30.0, kind="laptop", backend="ray"),
    ]
    assert Forecaster(plan, durations, "slurm").of(at(plan, label)).seconds == pytest.approx(20.0, rel=0.1)
    assert Forecaster(plan, durations, "ray").of(at(plan, label)).seconds == pytest.approx(30.0, rel=0.1)
    assert Forecaster(plan, durations, "other").of(at(plan, label)).seconds == pytest.approx(30.0, rel=0.1)
    assert Forecaster(plan, durations[:1], "other").of(at(plan, label)).seconds == pytest.approx(10.0, rel=0.1)


def test_what_another_backend_measured_is_named_and_less_sure(plan: Plan) -> None:
    durations = [measured(plan, "index/s0", 10.0, kind="cpu of a laptop", backend="ray")]
    here, elsewhere = (Forecaster(plan, durations, backend).of(at(plan, "index/s0")) for backend in ("ray", "slurm"))
    assert elsewhere.seconds == here.seconds and elsewhere.sigma > here.sigma + 0.2
    assert (here.observations, elsewhere.observations) == (1, 0), "no time limit is made of what ran elsewhere"
    kinds = Forecaster(plan, durations, "slurm").forecast([at(plan, "index/s0").id], Capacity()).kind
    assert kinds == "cpu of a laptop"


def test_a_stage_is_estimated_anew_as_jobs_end(plan: Plan) -> None:
    forecaster = Forecaster(plan, (), "ray")
    for number in range(1, 30):
        forecaster.add(measured(plan, "index/s0", 50.0, kind="cpu X", backend="ray"))
        found = forecaster.of(at(plan, "index/s0"))
        assert found.basis == "measured" and 0.95 * number <= found.observations <= number
    assert found.seconds == pytest.approx(50.0, rel=0.02) and found.sigma < 0.25


def test_a_ledger_without_flops_is_read_by_the_plan(plan: Plan) -> None:
    bare = replace(measured(plan, "train/context-k5/s0", 70.0), row="", branch="", flops=None)
    forecaster = Forecaster(plan, [bare])
    assert forecaster.of(at(plan, "train/context-k20/s0")).seconds > 70.0


def test_of_another_profile_only_what_flops_make_comparable_counts_as_measured(root: Path, plan: Plan) -> None:
    resolved = resolve_profile(load_matrix(root / "tests" / "golden" / "matrix.yaml"), "evening", ())
    evening = build_plan(resolved, expand(resolved))
    durations = [measured(plan, label, 70.0) for label in ("train/context-k5/s0", "data")]
    forecaster = Forecaster(evening, durations)
    train, data = forecaster.of(at(evening, "train/context-k20/s0")), forecaster.of(at(evening, "data"))
    assert (train.basis, data.basis, data.seconds) == ("measured", "guess", pytest.approx(70.0, rel=0.1))
    unknown = [replace(one, flops=None, profile="") for one in durations]
    assert Forecaster(evening, unknown).of(at(evening, "train/context-k20/s0")).basis == "flops"


def test_of_a_rebuilt_ledger_only_jobs_of_the_plan_are_used(plan: Plan) -> None:
    rebuilt = replace(measured(plan, "train/context-k5/s0", 70.0, kind="H100"), row="", flops=None, cpus=0)
    forecaster = Forecaster(plan, [rebuilt, replace(rebuilt, fingerprint="of another plan", seconds=1e9)])
    assert forecaster.of(at(plan, "train/context-k5/s0")).seconds == pytest.approx(70.0, rel=0.1)


def test_what_is_measured_on_processors_says_nothing_of_devices() -> None:
    jobs = [make_job("train", "train/a", resources=DEVICES), make_job("train", "train/b")]
    plan = make_plan(jobs)
    done = replace(DURATION, fingerprint=jobs[1].fingerprint, stage="train", kind="cpu X", seconds=70.0)
    found = Forecaster(plan, [done])
    assert (found.of(jobs[0]).basis, found.of(jobs[1]).basis) == ("guess", "measured")
    assert found.forecast(plan.jobs, Capacity()).kind == "cpu X"


def test_costs_are_summed_by_row_and_devices_and_cores_are_told_apart() -> None:
    jobs = [make_job("train", f"train/{n}", resources=DEVICES) for n in range(3)] + [make_job("index", "index")]
    plan = make_plan(jobs)
    durations = [
        replace(
            DURATION,
            fingerprint=job.fingerprint,
            stage=job.stage,
            cpus=job.resources.cpus,
            devices=job.resources.devices,
            seconds=3600.0,
        )
        for job in (jobs[0], jobs[3])
    ]
    found = Forecaster(plan, durations).forecast(plan.jobs, Capacity(devices=16))
    assert found.jobs == 4
    assert (found.hours, found.device_hours, found.core_hours) == pytest.approx((4.0, 24.0, 1.0), rel=0.15)
    assert found.makespan_s == pytest.approx(found.device_hours / 16 * 3600), "24 device-hours on 16 devices"
    longest = Forecaster(plan, durations).forecast(plan.jobs, Capacity()).makespan_s
    assert longest == pytest.approx(3600.0, rel=0.15), "the longest chain"
    running = {jobs[0].id: LiveTime(elapsed_s=1800.0), jobs[1].id: LiveTime(elapsed_s=9999.0)}
    assert Forecaster(plan, durations).forecast(plan.jobs, Capacity(attempts=1), running).hours == pytest.approx(
        2.5, rel=0.1
    )
    running[jobs[1].id] = LiveTime(elapsed_s=9999.0, left_s=7200.0)
    found = Forecaster(plan, durations).forecast(plan.jobs, Capacity(attempts=1), running)
    assert found.hours == pytest.approx(4.5, rel=0.1), "what runs longer than estimated takes what its pace says"


def test_no_schedule_is_faster_than_the_longest_chain_or_the_work(plan: Plan) -> None:
    jobs = list(plan.jobs.values())
    seconds = {job.id: 1.0 for job in jobs}
    assert makespan(jobs, seconds, Capacity()) == 5.0, "data, latents, train, evaluate, judge"
    assert makespan(jobs, seconds, Capacity(cpus=2)) == len(jobs) / 2
    assert makespan(jobs, seconds, Capacity(attempts=1000)) == 5.0
    assert makespan([], {}, Capacity(cpus=2)) == 0.0


def test_rows_that_pass_over_more_frames_take_longer(plan: Plan) -> None:
    order = ["ssm-blockwise", "context-k20", "compress-length-r2", "compress-length-r4", "context-k5", "context-k1"]
    seconds = [Forecaster(plan).of(at(plan, f"train/{row}/s0")).seconds for row in order]
    assert seconds == sorted(seconds, reverse=True)


def test_the_longest_training_goes_first(plan: Plan) -> None:
    jobs, forecaster = list(plan.jobs.values()), Forecaster(plan)
    ranks = longest_chains(jobs, {job.id: forecaster.of(job).seconds for job in jobs})
    trainings = sorted((job for job in jobs if job.stage == "train"), key=lambda job: -ranks[job.id])
    assert {job.label for job in trainings[:2]} == {"train/ssm-hybrid/s0", "train/ssm-blockwise/s0"}
    assert trainings[-1].label == "train/context-k1/s0"
