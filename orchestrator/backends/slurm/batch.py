"""From attempts to sbatch: jobs that ask for the same share a job array, and submitit writes the script.

Nothing is pickled: the script's command is `python -m orchestrator.host BATCH`, and what the job
needs to know lies in `slurm/{batch}/jobs.json` and in each attempt's `submission.json`. submitit's
own wrapper is not used: it would answer signals before our host can save.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Submission
from orchestrator.spec.slurm import Slurm, SlurmStage

SIGNAL_SLACK_S = 30
"""Between the end of the grace period and the limit: the job's own last words."""
LIMIT_SLACK_MINUTES = 2
"""Beyond the minutes a job may take: our host ends it first and says why."""


@dataclass(frozen=True, kw_only=True)
class Batch:
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


def job_name(study: str, label: str, attempt: str) -> str:
    """The name of one attempt's job."""
    return f"em:{study}:{label}:{attempt}"


def shape_of(submission: Submission, slurm: Slurm) -> str:
    """Attempts of one shape can share an array."""
    stage = str(submission.request["stage"])
    return json.dumps([stage, asdict(slurm.of(stage)), asdict(submission.resources)], sort_keys=True, default=str)


def make_batch(
    submissions: Sequence[Submission],
    *,
    study: str,
    home: Path,
    stage: SlurmStage,
    setup: Sequence[str],
    code: Path,
    grace_s: float,
) -> Batch:
    """Describe one sbatch for attempts of one shape.

    Args:
        submissions: of one shape.
        study: its name.
        home: `outputs/{study}`.
        stage: where their stage runs, from cluster/slurm.yaml.
        setup: shell lines before the job.
        code: folder of the code that runs.
        grace_s: between being asked to stop and being killed.
    """
    first = submissions[0]
    ids = sorted(submission.attempt for submission in submissions)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    name = (
        job_name(study, first.label, first.attempt)
        if len(submissions) == 1
        else f"em:{study}:{first.request['stage']}:{len(submissions)}-jobs:{digest}"
    )
    resources = first.resources
    nodes = stage.nodes or 1
    cpus = max(1, resources.cpus // nodes)
    minutes = resources.minutes if stage.minutes is None else stage.minutes
    parameters: dict[str, Any] = {
        "job_name": name,
        "nodes": nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": cpus,
        "mem": f"{math.ceil(resources.memory_gib * 1024 / nodes)}MB",
        "time": math.ceil(minutes) + LIMIT_SLACK_MINUTES,
        "partition": stage.partition,
        "account": stage.account,
        "qos": stage.qos,
        "constraint": stage.constraint,
        "gpus_per_node": stage.gpus or (math.ceil(resources.devices / nodes) or None),
        "signal_delay_s": math.ceil(grace_s) + SIGNAL_SLACK_S,
        "stderr_to_stdout": True,
        "setup": [*setup, f"export PYTHONPATH={shlex.quote(str(code))}", f"cd {shlex.quote(str(code))}"],
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cpus}"],  # since 22.05 srun does not take sbatch's
        "additional_parameters": {"requeue": True, **extra_lines(stage.sbatch)},
        "array_parallelism": stage.at_once or len(submissions),
    }
    return Batch(
        name=name,
        folder=home / "slurm" / digest,
        works=[Path(str(submission.request["work"])) for submission in submissions],
        parameters=parameters,
    )


def extra_lines(lines: Sequence[str]) -> dict[str, Any]:
    """`--exclude=n3` and `--exclusive` as submitit takes them."""
    found: dict[str, Any] = {}
    for line in lines:
        key, equals, value = line.strip().removeprefix("#SBATCH").strip().removeprefix("--").partition("=")
        found[key] = value if equals else True
    return found
