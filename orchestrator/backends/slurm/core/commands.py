"""The client commands of SLURM: one place that runs them, with a deadline and words for what fails."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from orchestrator.errors import BackendSilent
from orchestrator.wording import last_line

ANSWER_S = 30.0
DISABLED = "accounting storage is disabled"
"""What sacct says where `AccountingStorageType` is none (src/sacct/options.c)."""
PROGRAMS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol", "sacctmgr")


class SlurmSilent(BackendSilent):
    """A SLURM command failed or did not answer: nothing is known, and nothing is concluded from it."""


class SlurmMissing(SlurmSilent):
    """A client command is not there, and will not be."""


class NoAccounting(SlurmSilent):
    """The site keeps no history of jobs, and will not."""


READ = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SCANCEL_", "SACCTMGR_")
"""Beginnings of the variables that client commands read."""
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Which cluster is asked, and as whom: the same for every command, in a job and outside."""
DECIDED = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ARRAY_INX", "CPUS_PER_GPU", "ERROR", "INPUT", "JOB_NAME", "MEM_PER_CPU", "MEM_PER_GPU", "MEM_PER_NODE"),
        *("NO_REQUEUE", "OPEN_MODE", "OUTPUT", "REQUEUE", "SIGNAL", "TIMELIMIT", "WAIT", "WAIT_ALL_NODES"),
    )
)
"""Options of sbatch that each job's plan decides. Source: sbatch(1), "INPUT ENVIRONMENT VARIABLES"."""
JOB = "SLURM_JOB_ID"
"""Set in every job of SLURM."""


def client_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of client commands: ours without what would change answers or the shape of what is submitted.

    What the user has set for sbatch holds where the cluster file says nothing. In a job it is dropped like the job's
    own variables: it may have come with the job, and describe that job.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in KEPT
        or not name.startswith(READ)
        or (name.startswith("SBATCH_") and name not in DECIDED and JOB not in environment)
    }
    clusters = kept.get("SBATCH_CLUSTERS")
    return {**kept, "SLURM_CLUSTERS": clusters} if clusters else kept  # the others must ask where sbatch submits


def dropped_words(environment: Mapping[str, str] = os.environ) -> str:
    """Which of the user's variables for sbatch are not passed on, and why; empty: none."""
    dropped = sorted(
        name for name in environment.keys() - client_environment(environment) if name.startswith("SBATCH_")
    )
    if not dropped:
        return ""
    why = (
        f"this shell is in SLURM job {environment[JOB]}, to which they may belong"
        if JOB in environment
        else "the plan decides them for each job"
    )
    return f"not passed to sbatch: {', '.join(dropped)}: {why}; slurm.every in the cluster file says what all jobs get"


def ask(*command: str) -> str:
    """What a client command prints on standard output.

    Raises:
        SlurmSilent: it is not there, failed, or did not answer within `ANSWER_S`.
    """
    try:
        done = subprocess.run(
            command, env=client_environment(), capture_output=True, text=True, errors="replace", timeout=ANSWER_S
        )
    except FileNotFoundError as error:
        raise SlurmMissing(
            f"{command[0]} is not on PATH; log in to a machine of the cluster, or load its module"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmSilent(f"{command[0]} did not answer within {ANSWER_S:.0f} s") from error
    if done.returncode != 0:
        words = f"{' '.join(command[:2])} failed: {_reason(done.stderr) or f'exit {done.returncode}'}"
        raise NoAccounting(words) if DISABLED in done.stderr else SlurmSilent(words)
    # Where SLURM_CLUSTERS is set, each cluster's answer has a line with its name first.
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("CLUSTER: "))


def _reason(stderr: str) -> str:
    """The last line of an error: the others say of which calls it is the consequence."""
    return re.sub(r"^\w+: (error|fatal): ", "", last_line(stderr))


def missing_programs(programs: Sequence[str] = PROGRAMS) -> list[str]:
    """The client commands that are not on PATH."""
    return [name for name in programs if shutil.which(name) is None]
