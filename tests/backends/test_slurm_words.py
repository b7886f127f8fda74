"""What SLURM's commands say, read as text: states, reasons, silence; and how long a job has left."""

import math
from datetime import datetime

import pytest

from orchestrator.backends.slurm.core.states import JobState, chunks, parse_sacct, parse_squeue
from orchestrator.backends.slurm.core.submit import is_silence
from orchestrator.host.job_time import EARLY_S, JobTime, is_limit, job_end, minutes_left, read_time

NOW = datetime(2026, 11, 27, 12, 0).timestamp()
SUBMISSION = {"resources": {"minutes": 30.0}, "request": {"execution": {"grace_s": 60.0}}}


def squeue_line(*fields: str) -> str:
    return "".join(field.ljust(width) for field, width in zip(fields, (64, 24, 12, 64, 64, 24, 256), strict=True))


def test_squeue_is_read_by_columns_and_a_name_may_hold_anything_that_is_no_line_end() -> None:
    text = "\n".join(
        [
            squeue_line("7_3", "PENDING", "2", "Resources", "", "N/A", "em:a study:train/x y:a001-1"),
            squeue_line("8", "RUNNING", "0", "None", "n[1-2]", "2026-11-27T12:00:30", "other"),
            "",
        ]
    )
    found = parse_squeue(text)
    assert found["7_3"] == JobState(
        job="7_3", state="PENDING", restarts=2, reason="Resources", name="em:a study:train/x y:a001-1", began=False
    )
    assert (found["8"].phase, found["8"].reason, found["8"].began) == ("running", "", True)
    assert found["8"].starts == NOW + 30


def test_the_start_that_slurm_predicts_is_said_to_the_minute() -> None:
    one = JobState(job="9", state="PENDING", reason="Priority", starts=NOW + 61)
    assert one.waiting_reason() == (
        "Priority: jobs of higher priority come first (SLURM job 9, may start at 2026-11-27 12:02)"
    )


def test_sacct_tells_each_time_that_a_job_ran() -> None:
    found = parse_sacct("5|PREEMPTED|0:15|em:x|y\n5|CANCELLED by 0|0:0|em:x|y\n6|OUT_OF_MEMORY|0:125|z\n\n")
    assert [run.ending for run in found["5"]] == ["preempted", "interrupted"]
    assert [run.restarts for run in found["5"]] == [0, 1] and found["5"][0].name == "em:x|y"
    assert found["6"][0].summary() == "SLURM says OUT_OF_MEMORY of job 6, exit 0:125"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "Resources: no node has what it asks for free (SLURM job 9, start not known)"),
        ("(Priority)", "Priority: jobs of higher priority come first (SLURM job 9, start not known)"),
        (
            "ReqNodeNotAvail, May be reserved",
            "ReqNodeNotAvail, May be reserved: a node that it asks for is down, drained or reserved (SLURM job 9, "
            "start not known)",
        ),
        ("SomethingNew", "SomethingNew (SLURM job 9, start not known)"),
        ("", "queued (SLURM job 9, start not known)"),
    ],
)  # fmt: skip
def test_why_a_job_waits_is_said_in_words(reason: str, words: str) -> None:
    assert JobState(job="9", state="PENDING", reason=reason).waiting_reason() == words


@pytest.mark.parametrize(
    ("said", "silence"),
    [
        ("error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("error: SlurmSettings temporarily unable to accept job, sleeping and retrying", True),
        ("", True),  # ended by `timeout`
        ("error: Batch job submission failed: Invalid partition name specified", False),
        (
            "error: AssocMaxSubmitJobLimit error: Batch job submission failed: Job violates accounting/QOS policy",
            False,
        ),
    ],
)
def test_a_silent_controller_is_no_refusal(said: str, silence: bool) -> None:
    assert is_silence(said) is silence


def test_what_slurm_itself_says_of_the_end_counts_and_without_it_the_attempts_own_limit_does() -> None:
    assert job_end({"SLURM_JOB_END_TIME": "1700000000"}) == 1_700_000_000.0
    assert job_end({}) == math.inf
    assert job_end({"SLURM_JOB_ID": "1", "PATH": "/nowhere"}) == math.inf
    assert minutes_left(SUBMISSION, math.inf) == 30.0
    assert minutes_left(SUBMISSION, 0.0) == 0.0


def test_a_signal_is_the_limits_only_near_the_end() -> None:
    assert is_limit(SUBMISSION, NOW + 60.0 + EARLY_S, NOW)
    assert not is_limit(SUBMISSION, NOW + 61.0 + EARLY_S, NOW)
    assert not is_limit(SUBMISSION, math.inf, NOW)


@pytest.mark.parametrize(
    ("state", "end", "preempted", "time"),
    [
        ("RUNNING", "2026-11-27T12:00:00", "N/A", JobTime(end=NOW)),
        ("RUNNING", "2026-11-27T12:00:00", "2026-11-27T11:59:50", JobTime(end=NOW, preempted=True)),
        ("COMPLETING", "2026-11-27T12:00:00", "N/A", JobTime()),
        ("RUNNING", "N/A", "N/A", JobTime()),
        ("", "", "", JobTime()),
    ],
)
def test_what_squeue_says_of_the_time_of_a_job(state: str, end: str, preempted: str, time: JobTime) -> None:
    assert read_time(f"{state:<30}{end:<30}{preempted:<30}\n") == time


@pytest.mark.parametrize("number", [0, 1, 5, 200, 201, 1000])
def test_pieces_of_an_array_hold_every_job_once_and_are_even(number: int) -> None:
    pieces = chunks(number, 200)
    assert [index for piece in pieces for index in piece] == list(range(number))
    assert all(len(piece) <= 200 for piece in pieces)
    assert not pieces or max(map(len, pieces)) - min(map(len, pieces)) <= 1
