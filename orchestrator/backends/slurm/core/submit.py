"""sbatch, written and called by submitit, for a command line of our own.

Source: submitit/slurm/slurm.py 1.5 (`_make_sbatch_string`, `_submit_command`).
"""

import contextlib
import io
import os
import shlex
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from orchestrator.backends.slurm.core.batch import Batch
from orchestrator.backends.slurm.core.commands import SlurmSilent, client_environment
from orchestrator.errors import BackendError

LINES = 3
"""Of a log that are shown."""
ANSWER_S = 60
"""sbatch is ended when it has taken longer: it waits by itself for a busy slurmctld."""
CROWDED = "temporarily unable to accept job"
SILENT = (
    "unable to contact slurm controller",
    "socket timed out",
    "zero bytes were transmitted or received",
    "communication connection failure",
    "connection refused",
    "slurm backup controller in standby mode",
    CROWDED,
)
"""What sbatch says when slurmctld does not answer: the job may be in the queue all the same.
Source: slurm_errno.c of SLURM 22.05."""


class NoAnswer(SlurmSilent):
    """Nobody can tell whether sbatch has submitted the job."""

    crowded = False
    """It tried again and again until it was ended: slurmctld holds as many jobs as it may, of whomever."""


class SiteFull(BackendError):
    """sbatch has taken nothing, because of a limit on jobs in the queue: later it may."""


class CommandExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit has no types
    """submitit's executor without its pickles."""

    def send(self, batch: Batch) -> str:
        """Submit a batch; returns the job id."""
        self.parameters["map_count"] = len(batch.works) if len(batch.works) > 1 else None
        # Until Python has its handlers, a signal to save would end it with a wrong word.
        start = f"exec {self.python} -u -m {batch.module} {shlex.quote(str(batch.folder))}"
        command = shlex.join(["sh", "-c", f"trap '' USR2 TERM; {start}"])
        return str(self._submit_command(command).job_id)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        kept = client_environment()
        return [
            "env",
            *(f"--unset={name}" for name in os.environ if name not in kept),
            "timeout",
            str(ANSWER_S),
            "sbatch",
            str(submission_file_path),
        ]


def submit_batch(batch: Batch, python: str) -> str:
    """Hand a batch to sbatch; returns SLURM's job id.

    Raises:
        NoAnswer: slurmctld did not answer, so nobody can tell.
        SiteFull: the user, account or QOS has as many jobs in the queue as it may.
        BackendError: sbatch refused; its words are in the message.
    """
    batch.folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {name: value for name, value in batch.parameters.items() if value is not None}
    try:
        executor = CommandExecutor(folder=batch.folder, python=shlex.quote(python))
        executor.update_parameters(**given, wckey=None)  # submitit's own would be refused where these are enforced
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
            return executor.send(batch)
    except (FailedSubmissionError, FailedJobError, RuntimeError, OSError) as error:
        said = refusal(str(error))
        if not isinstance(error, OSError) and is_silence(said):
            silent = NoAnswer(f"sbatch got no answer for {batch.name}: {said or f'none within {ANSWER_S} s'}")
            silent.crowded = CROWDED in said
            raise silent from error
        kind = SiteFull if is_full(said) else BackendError
        raise kind(f"sbatch refused {batch.name}: {said}") from error


def is_silence(said: str) -> bool:
    """Whether these words of sbatch mean that slurmctld did not answer; without a word it was ended by `timeout`."""
    return not said or any(words in said.lower() for words in SILENT)


def is_full(said: str) -> bool:
    """Whether sbatch refuses because of what is in the queue: `AssocGrpSubmitJobsLimit` and the like."""
    return "SubmitJob" in said and "Limit" in said


def refusal(text: str) -> str:
    """What sbatch said, without submitit's frame around it."""
    said = [line.partition("sbatch:")[2].strip() for line in text.splitlines() if "sbatch:" in line]
    return " ".join(said) or text.strip()


def last_lines(folder: Path, logs: str = "*_log.out") -> str:
    """What a job's script said last, for one that could not say more; empty: nothing.

    Args:
        folder: where submitit has its logs written.
        logs: which of them, as a glob.
    """
    for path in sorted(folder.glob(logs)):
        with contextlib.suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return ": " + " | ".join(lines[-LINES:])
    return ""
