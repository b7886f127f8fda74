"""From attempts to sbatch: jobs that ask for the same share a job array, and submitit writes the script.

Nothing is pickled: the script's command is `python -m orchestrator.host BATCH`, and what the job
needs to know lies in `slurm/{batch}/jobs.json` and in each attempt's `submission.json`. submitit's
own wrapper is not used: it would answer signals before our host can save.
"""

import hashlib
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Submission
from orchestrator.spec.slurm import Packed, Slurm, SlurmStage

SIGNAL_SLACK_S = 30
"""Between the end of the grace period and the limit: the job's own last words."""
LIMIT_SLACK_MINUTES = 2
"""Beyond the minutes a job may take: our host ends it first and says why."""
LONGEST_LABEL = 120
"""Letters of a label in a job's name."""


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
    """The name of one attempt's job, by which it is found: sacct takes commas and brackets of a name for a list.

    Accounting keeps 255 letters of it: a study has 100 at most, an attempt some 20.
    """
    plain = re.sub(r"[^\w./=:+-]", "_", label, flags=re.ASCII)
    return f"em:{study}:{plain[:LONGEST_LABEL]}:{attempt}"


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
    minutes = resources.minutes if stage.minutes is None else stage.minutes
    parameters = parameters_of(
        stage,
        name=name,
        nodes=nodes,
        cpus=max(1, resources.cpus // nodes),
        memory_gib=resources.memory_gib / nodes,
        minutes=math.ceil(minutes) + LIMIT_SLACK_MINUTES,
        devices=math.ceil(resources.devices / nodes),
        setup=setup,
        code=code,
        grace_s=grace_s,
    )
    parameters["array_parallelism"] = stage.at_once or len(submissions)
    return Batch(
        name=name,
        folder=home / "slurm" / digest,
        works=[Path(str(submission.request["work"])) for submission in submissions],
        parameters=parameters,
    )


def parameters_of(
    where: SlurmStage | Packed,
    *,
    name: str,
    nodes: int,
    cpus: int,
    memory_gib: float,
    minutes: int,
    devices: int,
    setup: Sequence[str],
    code: Path,
    grace_s: float,
) -> dict[str, Any]:
    """Submitit's parameters of one job, with one task a node.

    Args:
        where: partition, account and the like.
        name: of the job.
        nodes, minutes: of the job.
        cpus, memory_gib, devices: of each node.
        setup: shell lines before the job.
        code: folder of the code that runs.
        grace_s: between being asked to stop and being killed.
    """
    folder = shlex.quote(str(code))
    return {
        "job_name": name,
        "nodes": nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": cpus,
        "mem": f"{math.ceil(memory_gib * 1024)}MB",
        "time": minutes,
        "partition": where.partition,
        "account": where.account,
        "qos": where.qos,
        "constraint": where.constraint,
        "gpus_per_node": where.gpus or (devices or None),
        "signal_delay_s": math.ceil(grace_s) + SIGNAL_SLACK_S,
        "stderr_to_stdout": True,
        "setup": [*setup, f"export PYTHONPATH={folder}", f"cd {folder}"],
        # srun does not take these from sbatch since SLURM 22.05, and would give one cpu.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cpus}"],
        "additional_parameters": {"requeue": True, **extra_lines(where.sbatch)},
    }


def extra_lines(lines: Sequence[str]) -> dict[str, Any]:
    """`--exclude=n3` and `--exclusive` as submitit takes them."""
    found: dict[str, Any] = {}
    for line in lines:
        key, equals, value = line.strip().removeprefix("#SBATCH").strip().removeprefix("--").partition("=")
        found[key] = value if equals else True
    return found
