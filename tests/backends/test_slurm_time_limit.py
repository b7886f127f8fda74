"""The time limit that a job asks SLURM for: from measured durations, and never at the cost of a result."""

import json
from pathlib import Path

import pytest

from orchestrator.backends.protocol import ExpectedTime, ExpectedWork, Placement, Submission
from orchestrator.backends.slurm.core.batches import read_batches, write_batch
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.reports import Reports, TrackedJob
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.core.submit import arrays_of, sbatch_job
from orchestrator.backends.slurm.core.time_limit import ENOUGH, estimated_minutes, pilot_minutes, rounded
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage
from orchestrator.host.endings import read_ended, write_ended
from orchestrator.schedule.retry_policy import Charges, verdict
from orchestrator.spec.cell import Resources
from orchestrator.spec.cluster import RetrySettings


def expected(seconds: float, observations: int = ENOUGH, timeouts: int = 0) -> ExpectedTime:
    return ExpectedTime(seconds=seconds, observations=observations, timeouts=timeouts)


@pytest.mark.parametrize(
    ("known", "least", "minutes"),
    [
        (None, None, None),  # nothing was measured
        (expected(30.0, ENOUGH - 1), None, None),  # too little was
        (expected(30.0), None, 4),  # 30 s, and 60 + 60 + 30 + 60 to start, to save and for an early signal
        (expected(600.0), None, 15),
        (expected(30.0), 12.0, 15),  # the user's floor
        (expected(30.0), 30.0, None),
        (expected(1500.0), None, None),  # what it may take is not much more
        (expected(7200.0), None, None),
        (expected(300.0, timeouts=1), None, 15),  # twice as long as was estimated
        (expected(300.0, timeouts=2), None, 25),
        (expected(300.0, timeouts=3), None, None),
    ],
)
def test_a_limit_is_estimated_between_the_users_floor_and_what_a_job_may_take(
    known: ExpectedTime | None, least: float | None, minutes: int | None
) -> None:
    assert estimated_minutes(known, least=least, most=30.0, grace_s=60.0) == minutes


@pytest.mark.parametrize(("minutes", "whole"), [(0.2, 1), (9.1, 10), (10.1, 15), (61.0, 75), (241.0, 300)])
def test_limits_are_rounded_up_so_that_jobs_share_arrays(minutes: float, whole: int) -> None:
    assert rounded(minutes) == whole


def submission(attempt: str, known: ExpectedTime | None = None, work: str = "/work") -> Submission:
    return Submission(
        attempt=attempt,
        job=f"train/{attempt}",
        label=f"train/{attempt}/s0",
        request={"stage": "train", "work": f"{work}/{attempt}"},
        inputs={},
        resources=Resources(cpus=1, devices=0, memory_gib=1.0, minutes=30),
        placement=Placement(host="slurm", cpus=1, devices=()),
        expected=known,
    )


def test_an_array_holds_jobs_of_one_time_limit_and_records_whether_that_was_estimated(tmp_path: Path) -> None:
    short = [submission(f"a{n}", expected(20.0 + n), str(tmp_path)) for n in range(3)]
    given = [*short, submission("b", None, str(tmp_path)), submission("c", expected(600.0), str(tmp_path))]
    slurm = SlurmSettings(every=SlurmStage(at_once=2))
    groups = list(arrays_of(given, slurm, 100, 60.0))
    assert [[one.attempt for one in group] for group in groups] == [["a0", "a1", "a2"], ["b"], ["c"]]
    jobs = [sbatch_job(group, home=tmp_path, slurm=slurm, code=Path("/code"), grace_s=60.0) for group in groups]
    assert [(job.parameters["time"], job.short_limit) for job in jobs] == [(4, True), (32, False), (15, True)]
    for job, group in zip(jobs, groups, strict=True):
        write_batch(job, group, {})
    entries = read_batches(tmp_path)
    assert {Path(path).name: one.short_limit for path, one in entries.items()} == {
        **dict.fromkeys(("a0", "a1", "a2", "c"), True),
        "b": False,
    }


def test_a_time_limit_among_the_options_of_sbatch_holds_and_none_is_estimated(tmp_path: Path) -> None:
    slurm = SlurmSettings(stages={"train": SlurmStage(sbatch=("--time=20",))})
    one = submission("a", expected(20.0), str(tmp_path))
    job = sbatch_job([one], home=tmp_path, slurm=slurm, code=Path("/code"), grace_s=60.0)
    assert (job.parameters["time"], job.short_limit) == (32, False)


@pytest.mark.parametrize("short", [True, False])
def test_slurms_word_of_a_time_limit_says_whether_that_was_estimated(tmp_path: Path, short: bool) -> None:
    queue = SlurmQueue(10.0)
    queue.submitted("7", "em:toy:x")
    queue._states = {"7": JobState(job="7", state="TIMEOUT", began=False)}
    reports = Reports(tmp_path, queue, 10.0, lambda tickets: None)
    report = reports.report("a1", TrackedJob(work=tmp_path, ticket="7", name="x", short_limit=short), 0.0)
    assert (report.ending, report.short_limit) == ("timed_out", short)


def test_what_the_host_records_of_an_estimated_limit_reaches_the_driver(tmp_path: Path) -> None:
    said = {"attempt": "a1", "ending": "timed_out", "detail": "ahead of its limit", "short_limit": True}
    write_ended(tmp_path, said)
    recorded = read_ended(tmp_path, "a1")
    assert recorded is not None and recorded["short_limit"] is True
    (tmp_path / "ended.json").write_text(json.dumps({"attempt": "a1", "ending": "timed_out"}), encoding="utf-8")
    older = read_ended(tmp_path, "a1")
    assert older is not None and older["short_limit"] is False


def test_an_attempt_that_ran_into_an_estimated_limit_is_not_charged() -> None:
    budgets = RetrySettings(error=0, out_of_memory=0, vanished=0, free_in_a_row=1)
    after = verdict("timed_out", Charges(), budgets, progressed=False, share=None, short_limit=True)
    assert (after.next, after.charges) == ("again", Charges())
    assert after.reason.startswith("ran into a time limit that was estimated; the next one is longer")
    assert verdict("timed_out", Charges(), budgets, progressed=False, share=None).next == "failed"


PILOT = PilotSettings(cpus=8, memory_gib=18.0, minutes=240.0, allocations=2, stages=("evaluate", "judge"))
SMALL = Resources(cpus=2, devices=0, memory_gib=4.0, minutes=30)


def work(jobs: int, seconds: float, observations: int = ENOUGH) -> ExpectedWork:
    return ExpectedWork(jobs=jobs, seconds=jobs * seconds, longest_s=2 * seconds, observations=observations)


@pytest.mark.parametrize(
    ("ready", "cut_short", "minutes"),
    [
        ({}, 0, 240.0),
        ({("train", SMALL): work(10, 60.0)}, 0, 240.0),  # of other stages
        ({("judge", SMALL): work(80, 60.0), ("evaluate", SMALL): work(1, 60.0, observations=1)}, 0, 240.0),
        ({("judge", SMALL): work(1, 5.0)}, 0, 4),  # start, 10 s, and to save
        ({("judge", SMALL): work(80, 60.0)}, 0, 20),  # four at once, in each of two
        ({("judge", SMALL): work(80, 60.0)}, 1, 35),
        ({("judge", SMALL): work(80, 6000.0)}, 0, 240.0),
    ],
)
def test_a_pilot_job_asks_for_the_time_that_its_part_of_the_ready_work_needs(
    ready: dict[tuple[str, Resources], ExpectedWork], cut_short: int, minutes: float
) -> None:
    assert pilot_minutes(ready, PILOT, grace_s=60.0, cut_short=cut_short) == minutes
