"""When the scheduler will end this job, and what that leaves for the attempt."""

import math
import subprocess
import time
from collections.abc import Mapping
from typing import Any

LAST_WORDS_S = 20.0
"""Before the scheduler's limit: for the last checkpoint to be on disk and the end to be written."""
EARLY_S = 90.0
"""Before the end less the grace period: a signal that comes so late is the limit's. SLURM sends it up to 60 s early
(sbatch(1), `--signal`), and is asked for it 30 s ahead."""
ANSWER_S = 5.0


def job_end(environment: Mapping[str, str]) -> float:
    """When the scheduler ends this job, seconds since 1970; infinite where nobody says.

    SLURM puts it into the job's environment since 23.02; before, squeue is asked. Of a job that it ends at this moment
    squeue says that it ends now, which is no limit.
    """
    told = environment.get("SLURM_JOB_END_TIME")
    if told:
        return float(told)
    job = environment.get("SLURM_JOB_ID")
    if not job:
        return math.inf
    try:
        said = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--format=%T %e"],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=True,
        ).stdout.split()
        state, end = said[:2]
        return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S")) if state == "RUNNING" else math.inf
    except (OSError, subprocess.SubprocessError, ValueError):
        return math.inf  # a limit that is not known ends the job all the same, with SLURM's word for it


def minutes_left(submission: Mapping[str, Any], end: float) -> float:
    """Minutes that the attempt may take: its own limit, or what the scheduler's leaves for it to save and end."""
    asked = float(submission["resources"]["minutes"])
    return max(0.0, min(asked, (end - time.time() - _grace_s(submission) - LAST_WORDS_S) / 60))


def is_limit(submission: Mapping[str, Any], end: float, now: float) -> bool:
    """Whether a signal that comes now, seconds since 1970, is sent because the job's time is nearly over."""
    return end - now <= _grace_s(submission) + EARLY_S


def _grace_s(submission: Mapping[str, Any]) -> float:
    return float(submission["request"]["execution"]["grace_s"])
