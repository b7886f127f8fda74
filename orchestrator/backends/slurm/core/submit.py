"""Submission: from attempts to sbatch; those that ask for the same share a job array, and submitit writes the script.

Nothing is pickled: the script's command is `python -m orchestrator.host BATCH`, and what the job
needs to know lies in `slurm/{batch}/jobs.json` and in each attempt's `submission.json`. submitit's
own wrapper is not used: it would answer signals before our host can save.

Source: submitit/slurm/slurm.py 1.5 (`_make_sbatch_string`, `_submit_command`).
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from orchestrator.backends.protocol import Submission
from orchestrator.backends.slurm.core.commands import KEPT, SlurmSilent, client_environment
from orchestrator.backends.slurm.core.job_request import JobRequest, extra_lines, shortened_request
from orchestrator.backends.slurm.core.states import chunks
from orchestrator.backends.slurm.core.time_limit import SIGNAL_SLACK_S
from orchestrator.backends.slurm.settings import PilotSettings, SlurmSettings, SlurmStage
from orchestrator.errors import BackendError
from orchestrator.host.children import python_command
from orchestrator.host.environment import credentials_in, withheld

LONGEST_LABEL = 120
"""Letters of a label in a job's name."""


@dataclass(frozen=True, kw_only=True)
class SbatchJob:
    """Attempts that become one array, or one plain job."""

    name: str
    """The job's name in SLURM: carries study, and job and attempt, or what the array is of."""
    folder: Path
    works: Sequence[Path]
    """Folder of each attempt; the index is the array's."""
    parameters: Mapping[str, Any]
    """submitit's."""
    module: str = "orchestrator.host"
    """What the job runs, with `folder` as its argument."""
    short_limit: bool = False
    """Its time limit was estimated, and is less than what its attempts may take."""


def job_name(study: str, label: str, attempt: str) -> str:
    """The name of one attempt's job, by which it is found: sacct takes commas and brackets of a name for a list.

    Accounting keeps 255 letters of it: a study has 100 at most, an attempt some 20.
    """
    plain = re.sub(r"[^\w./=:+-]", "_", label, flags=re.ASCII)
    return f"em:{study}:{plain[:LONGEST_LABEL]}:{attempt}"


def request_for(submission: Submission, slurm: SlurmSettings, grace_s: float) -> JobRequest:
    """What an attempt asks for; `grace_s`: between being asked to stop and being killed."""
    stage = slurm.of(str(submission.request["stage"]))
    return shortened_request(submission.resources, stage, submission.expected, grace_s)


def shape_of(submission: Submission, slurm: SlurmSettings, grace_s: float) -> str:
    """Attempts of one shape can share an array."""
    stage, minutes = str(submission.request["stage"]), request_for(submission, slurm, grace_s).minutes
    settings, resources = asdict(slurm.of(stage)), asdict(submission.resources)
    return json.dumps([stage, settings, resources, minutes], sort_keys=True, default=str)


def arrays_of(
    submissions: Sequence[Submission], slurm: SlurmSettings, largest: int, grace_s: float
) -> Iterator[list[Submission]]:
    """Attempts that share a script each: of one shape, and at most `largest`; `grace_s`: as for `request_for`."""
    shapes: dict[str, list[Submission]] = {}
    for submission in submissions:
        shapes.setdefault(shape_of(submission, slurm, grace_s), []).append(submission)
    for group in shapes.values():
        for piece in chunks(len(group), largest):
            yield group[piece.start : piece.stop]


def sbatch_job(
    submissions: Sequence[Submission], *, home: Path, slurm: SlurmSettings, code: Path, grace_s: float
) -> SbatchJob:
    """Describe one sbatch for attempts of one shape.

    Args:
        submissions: of one shape.
        home: `outputs/{study}`.
        slurm: the section of the cluster file.
        code: folder of the code that runs.
        grace_s: between being asked to stop and being killed.
    """
    first, study = submissions[0], home.name
    stage = slurm.of(str(first.request["stage"]))
    ids = sorted(submission.attempt for submission in submissions)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    name = (
        job_name(study, first.label, first.attempt)
        if len(submissions) == 1
        else f"em:{study}:{first.request['stage']}:{len(submissions)}-jobs:{digest}"
    )
    request = request_for(first, slurm, grace_s)
    parameters = parameters_of(stage, request, name=name, setup=slurm.setup, code=code, grace_s=grace_s)
    parameters["array_parallelism"] = stage.at_once or len(submissions)
    return SbatchJob(
        name=name,
        folder=home / "slurm" / digest,
        works=[Path(str(submission.request["work"])) for submission in submissions],
        parameters=parameters,
        short_limit=request.short_limit,
    )


def parameters_of(
    where: SlurmStage | PilotSettings,
    request: JobRequest,
    *,
    name: str,
    setup: Sequence[str],
    code: Path,
    grace_s: float,
) -> dict[str, Any]:
    """Submitit's parameters of one job, with one task a node.

    Args:
        where: partition, account and the like.
        request: its size.
        name: of the job.
        setup: shell lines before the job.
        code: folder of the code that runs.
        grace_s: between being asked to stop and being killed.
    """
    folder = shlex.quote(str(code))
    return {
        "job_name": name,
        "nodes": request.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": request.cpus,
        "mem": f"{request.memory_mib}MB",
        "time": request.minutes,
        "partition": where.partition,
        "account": where.account,
        "qos": where.qos,
        "constraint": where.constraint,
        "gpus_per_node": where.gpus or request.gpus.get(""),
        "signal_delay_s": math.ceil(grace_s) + SIGNAL_SLACK_S,
        "stderr_to_stdout": True,
        # What `setup` has put there, as `module load` does, stays behind our code.
        "setup": [*setup, f"export PYTHONPATH={folder}${{PYTHONPATH:+:$PYTHONPATH}}", f"cd {folder}"],
        # srun does not take these from sbatch since SLURM 22.05, and would give one cpu.
        # Where the user has SBATCH_EXPORT=NONE, srun would not pass on what the script has set.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={request.cpus}", "--export=ALL"],
        "additional_parameters": {"requeue": True, **extra_lines(where.sbatch)},
    }


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


class SubmitUnanswered(SlurmSilent):
    """Nobody can tell whether sbatch has submitted the job."""

    refused_as_full = False
    """It tried again and again until it was ended: slurmctld holds as many jobs of all users as it may."""


class SiteFull(BackendError):
    """sbatch has taken nothing, because of a limit on jobs in the queue: later it may."""


class CommandExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit has no types
    """submitit's executor of one batch, without its pickles."""

    def __init__(self, batch: SbatchJob, python: str, variables: Sequence[str] = ()) -> None:
        """Take the batch's parameters, and patterns of the credentials that its jobs get; nothing is written."""
        self._variables = tuple(variables)
        super().__init__(folder=batch.folder, python=shlex.quote(python))
        given: dict[str, Any] = {name: value for name, value in batch.parameters.items() if value is not None}
        self.update_parameters(**given, wckey=None)  # submitit's own would be refused where these are enforced
        self.parameters["map_count"] = len(batch.works) if len(batch.works) > 1 else None
        # Until Python has its handlers, a signal to save would end it with a wrong exit code.
        start = shlex.join(python_command(batch.module, str(batch.folder), python=python, unbuffered=True))
        self._command = shlex.join(["sh", "-c", f"trap '' USR2 TERM; exec {start}"])

    @classmethod
    def affinity(cls) -> int:
        """A script can be made where there is no SLURM; the preflight looks for its programs."""
        return 2

    def script(self) -> str:
        """The script that `send` sends."""
        return str(self._make_submission_file_text(self._command, ""))

    def send(self) -> str:
        """Submit the batch; returns the job id."""
        return str(self._submit_command(self._command).job_id)

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        kept = job_environment(os.environ, self._variables)
        return [
            "env",
            *(f"--unset={name}" for name in os.environ if name not in kept),
            "timeout",
            str(ANSWER_S),
            "sbatch",
            # The user's SBATCH_* count for more than what the script says, and for less than what is said here.
            *script_options(submission_file_path.read_text(encoding="utf-8")),
            str(submission_file_path),
        ]


def job_environment(environment: Mapping[str, str], variables: Sequence[str]) -> dict[str, str]:
    """What sbatch is given of the environment, and by itself gives to the job: its own variables, and no credential.

    Everything else is passed on as `sbatch --export` says: lines of `setup` may read it.

    Args:
        environment: of this process.
        variables: patterns of what hosts get, credentials included.
    """
    kept = client_environment(environment)
    others = set(credentials_in(withheld(kept, variables))) - set(KEPT)
    return {name: value for name, value in kept.items() if name not in others}


def script_options(script: str) -> list[str]:
    """The options of sbatch in a script, as arguments."""
    lines = [line.partition(" ")[2] for line in script.splitlines() if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line)]


def script_of(batch: SbatchJob, python: str) -> str:
    """The script that `submit_batch` hands to sbatch."""
    return CommandExecutor(batch, python).script()


def submit_batch(batch: SbatchJob, python: str, variables: Sequence[str]) -> str:
    """Hand a batch to sbatch, with the credentials that `variables` name; returns SLURM's job id.

    Raises:
        SubmitUnanswered: slurmctld did not answer, so nobody can tell.
        SiteFull: the user, account or QOS has as many jobs in the queue as it may.
        BackendError: sbatch refused; its words are in the message.
    """
    batch.folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
            return CommandExecutor(batch, python, variables).send()
    except (FailedSubmissionError, FailedJobError, RuntimeError, OSError) as error:
        answer = refusal(str(error))
        if not isinstance(error, OSError) and is_silence(answer):
            silent = SubmitUnanswered(f"sbatch got no answer for {batch.name}: {answer or f'none within {ANSWER_S} s'}")
            silent.refused_as_full = CROWDED in answer
            raise silent from error
        kind = SiteFull if is_full(answer) else BackendError
        raise kind(f"sbatch refused {batch.name}: {answer}") from error


def is_silence(answer: str) -> bool:
    """Whether these words of sbatch mean that slurmctld did not answer; if it said nothing, `timeout` ended it."""
    return not answer or any(words in answer.lower() for words in SILENT)


def is_full(answer: str) -> bool:
    """Whether sbatch refuses because of what is in the queue: `AssocGrpSubmitJobsLimit` and the like."""
    return "SubmitJob" in answer and "Limit" in answer


def refusal(text: str) -> str:
    """What sbatch said, without submitit's frame around it."""
    lines = [line.partition("sbatch:")[2].strip() for line in text.splitlines() if "sbatch:" in line]
    return " ".join(lines) or text.strip()


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
