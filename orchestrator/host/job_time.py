"""Job time: when the batch scheduler will end this job, whether it preempts it, and how long an attempt may run."""

import math
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENDING_S = 20.0
"""Before the scheduler's limit: for the last checkpoint and the ending to be written."""
EARLY_S = 90.0
"""A signal at most this long before the end less the grace period is the limit's: SLURM is asked to send it 30 s ahead,
and may send it up to 60 s earlier (sbatch(1), `--signal`)."""
SQUEUE_TIMEOUT_S = 5.0
WIDTH = 30


@dataclass(frozen=True, kw_only=True)
class JobTime:
    """The scheduler's answer about this job's time."""

    end: float = math.inf
    """Seconds since 1970; infinite where it is not known."""
    preempted: bool = False
    """It is being ended for another job."""


def job_end(environment: Mapping[str, str]) -> float:
    """When the scheduler ends this job, seconds since 1970. SLURM puts it into the environment since 23.02."""
    end = environment.get("SLURM_JOB_END_TIME")
    return float(end) if end else job_time(environment).end


def job_time(environment: Mapping[str, str]) -> JobTime:
    """The time of this job according to squeue. For a job that is being ended, the end time is now and no limit."""
    job = environment.get("SLURM_JOB_ID")
    if not job:
        return JobTime()
    columns = ",".join(f"{name}:{WIDTH}" for name in ("State", "EndTime", "PreemptTime"))
    command = ["squeue", "--noheader", f"--jobs={job}", f"--Format={columns}"]
    try:
        output = subprocess.run(
            command, env=_asking(environment), capture_output=True, text=True, timeout=SQUEUE_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return JobTime()  # SLURM ends the job at its limit and reports why
    return read_time(output)


def _asking(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what changes squeue's answer: the job is one of the cluster that it runs on."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("SQUEUE_") and name not in ("SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
    }


def read_time(line: str) -> JobTime:
    """A line of squeue: state, end and time of preemption, each `WIDTH` wide."""
    state, end, preempted = (line[place : place + WIDTH].strip() for place in (0, WIDTH, 2 * WIDTH))
    try:
        at = time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S")) if state == "RUNNING" else math.inf
    except ValueError:
        at = math.inf
    return JobTime(end=at, preempted=preempted[:1].isdigit())


def minutes_left(submission: Mapping[str, Any], end: float) -> float:
    """Minutes that the attempt may take: its own limit, or the scheduler's less the time to save and end."""
    limit = float(submission["resources"]["minutes"])
    return max(0.0, min(limit, (end - time.time() - _grace_s(submission) - ENDING_S) / 60))


def is_limit(submission: Mapping[str, Any], end: float, now: float) -> bool:
    """Whether a signal at `now`, seconds since 1970, was sent because the job's time is nearly over."""
    return end - now <= _grace_s(submission) + EARLY_S


def _grace_s(submission: Mapping[str, Any]) -> float:
    return float(submission["request"]["execution"]["grace_s"])
