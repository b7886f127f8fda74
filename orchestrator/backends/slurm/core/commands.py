"""The client commands of SLURM: one place that runs them, with a deadline and words for what fails."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from orchestrator.errors import BackendSilent

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


def client_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of client commands: ours without what would change answers or the job that is submitted.

    A driver may itself run in a SLURM job, whose variables sbatch and srun would take for options.
    """
    return {
        name: value
        for name, value in environment.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SRUN_"))
    }


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
        words = f"{' '.join(command[:2])} failed: {done.stderr.strip() or f'exit {done.returncode}'}"
        raise NoAccounting(words) if DISABLED in done.stderr else SlurmSilent(words)
    return done.stdout


def missing_programs(programs: Sequence[str] = PROGRAMS) -> list[str]:
    """The client commands that are not on PATH."""
    return [name for name in programs if shutil.which(name) is None]
