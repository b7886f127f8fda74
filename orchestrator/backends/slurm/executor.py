"""sbatch, written and called by submitit, for a command line of our own.

Source: submitit/slurm/slurm.py 1.5 (`_make_sbatch_string`, `_submit_command`).
"""

import os
import shlex
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from orchestrator.backends.slurm.batch import Batch
from orchestrator.backends.slurm.commands import client_environment
from orchestrator.errors import BackendError


class CommandExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit has no types
    """submitit's executor without its pickles."""

    def send(self, batch: Batch) -> str:
        """Submit a batch; returns the job id."""
        self.parameters["map_count"] = len(batch.works) if len(batch.works) > 1 else None
        # Until Python has its handlers, a signal to save would end it with a wrong word.
        start = f"exec {self.python} -u -m orchestrator.host {shlex.quote(str(batch.folder))}"
        command = shlex.join(["sh", "-c", f"trap '' USR2 TERM; {start}"])
        return str(self._submit_command(command).job_id)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        kept = client_environment()
        return [
            "env",
            *(f"--unset={name}" for name in os.environ if name not in kept),
            "sbatch",
            str(submission_file_path),
        ]


def submit_batch(batch: Batch, python: str) -> str:
    """Hand a batch to sbatch; returns SLURM's job id.

    Raises:
        BackendError: sbatch refused; its words are in the message.
    """
    batch.folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {name: value for name, value in batch.parameters.items() if value is not None}
    try:
        executor = CommandExecutor(folder=batch.folder, python=shlex.quote(python))
        executor.update_parameters(**given, wckey=None)  # submitit's own would be refused where these are enforced
        return executor.send(batch)
    except (FailedSubmissionError, FailedJobError, RuntimeError, OSError) as error:
        raise BackendError(f"sbatch refused {batch.name}: {refusal(str(error))}") from error


def refusal(text: str) -> str:
    """What sbatch said, without submitit's frame around it."""
    said = [line.partition("sbatch:")[2].strip() for line in text.splitlines() if "sbatch:" in line]
    return " ".join(said) or text.strip()
