"""When the scheduler will end this job, whether it takes it away, and what that leaves for the attempt."""

import math
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAST_WORDS_S = 20.0
"""Before the scheduler's limit: for the last checkpoint to be on disk and the end to be written."""
EARLY_S = 90.0
"""Before the end less the grace period: a signal that comes so late is the limit's. SLURM sends it up to 60 s early
(sbatch(1), `--signal`), and is asked for it 30 s ahead."""
ANSWER_S = 5.0
WIDTH = 30


@dataclass(frozen=True, kw_only=True)
class JobTime:
    """What the scheduler says of this job's time."""

    end: float = math.inf
    """Seconds since 1970; infinite where nobody says."""
    preempted: bool = False
    """It is taken away for another job."""


def job_end(environment: Mapping[str, str]) -> float:
    """When the scheduler ends this job, seconds since 1970. SLURM puts it into the environment since 23.02."""
    told = environment.get("SLURM_JOB_END_TIME")
    return float(told) if told else job_time(environment).end


def job_time(environment: Mapping[str, str]) -> JobTime:
    """What squeue says of this job now. Of one that is being ended it says that it ends now, which is no limit."""
    job = environment.get("SLURM_JOB_ID")
    if not job:
        return JobTime()
    columns = ",".join(f"{name}:{WIDTH}" for name in ("State", "EndTime", "PreemptTime"))
    command = ["squeue", "--noheader", f"--jobs={job}", f"--Format={columns}"]
    try:
        said = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, timeout=ANSWER_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return JobTime()  # a limit that is not known ends the job all the same, with SLURM's word for it
    return read_time(said)


def read_time(said: str) -> JobTime:
    """A line of squeue: state, end and time of preemption, each `WIDTH` wide."""
    state, end, preempted = (said[place : place + WIDTH].strip() for place in (0, WIDTH, 2 * WIDTH))
    try:
        at = time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S")) if state == "RUNNING" else math.inf
    except ValueError:
        at = math.inf
    return JobTime(end=at, preempted=preempted[:1].isdigit())


def minutes_left(submission: Mapping[str, Any], end: float) -> float:
    """Minutes that the attempt may take: its own limit, or what the scheduler's leaves for it to save and end."""
    asked = float(submission["resources"]["minutes"])
    return max(0.0, min(asked, (end - time.time() - _grace_s(submission) - LAST_WORDS_S) / 60))


def is_limit(submission: Mapping[str, Any], end: float, now: float) -> bool:
    """Whether a signal that comes now, seconds since 1970, is sent because the job's time is nearly over."""
    return end - now <= _grace_s(submission) + EARLY_S


def _grace_s(submission: Mapping[str, Any]) -> float:
    return float(submission["request"]["execution"]["grace_s"])
