"""What a backend is asked to run: one attempt of one job, with the newest checkpoint to go on from."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.backends.protocol import Placement, Submission
from orchestrator.errors import PlanError
from orchestrator.host.checkpoints import CheckpointRef, attempt_folder
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.retry_policy import fitted
from workloads.contract.request import Execution, Rendezvous, Request


class ExecutionSettings(Protocol):
    """What a request takes from cluster/*.yaml; nothing of it enters a fingerprint."""

    @property
    def grace_s(self) -> float:
        """Seconds between being asked to stop and being killed."""

    @property
    def checkpoint_every_s(self) -> float:
        """Seconds between checkpoints."""

    @property
    def deepspeed(self) -> Mapping[str, Any]:
        """DeepSpeed settings beside those the study fixes."""

    @property
    def deterministic(self) -> bool:
        """Deterministic kernels."""

    @property
    def keep(self) -> Literal["weights", "full"]:
        """What is published of a training."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Where things lie that the study names only."""


def new_attempt_id(number: int) -> str:
    """An attempt id: sorts by `number` (its place among the job's attempts), unique across drivers."""
    return f"a{number:03d}-{secrets.token_hex(4)}"


def share(job: Job) -> int | None:
    """Samples of one training step on one rank; None for stages without a micro-batch.

    Raises:
        PlanError: the global batch cannot be shared over the ranks.
    """
    if job.stage != "train":
        return None
    batch = int(job.config["training"]["global_batch"])
    ranks = job.resources.world_size
    if batch % ranks:
        key = "devices" if job.resources.ranks is None else "ranks"
        raise PlanError(
            f"{job.label}: resources.train.{key} is {ranks}, but controls.training.global_batch is {batch}; "
            f"a number of {key} that divides {batch} is allowed; set resources.train.{key} accordingly"
        )
    return batch // ranks


def build_request(
    job: Job,
    *,
    attempt: str,
    home: Path,
    settings: ExecutionSettings,
    accumulate: int,
    resume: CheckpointRef | None,
) -> dict[str, Any]:
    """The request of one attempt as JSON; `inputs` and `out` are empty, the host fills them in.

    Args:
        job: what to run.
        attempt: its id.
        home: `outputs/{study}`.
        settings: the execution part of cluster/*.yaml.
        accumulate: micro-batches of a step, raised after out_of_memory, at least; 1 for stages without any.
        resume: where to go on from.

    Raises:
        PlanError: the global batch cannot be shared over the ranks, or the devices cannot.
    """
    samples = share(job)
    accumulate = accumulate if samples is None else fitted(samples, accumulate)
    ranks, devices = job.resources.world_size, job.resources.devices
    if devices and ranks != devices:
        raise PlanError(
            f"{job.label}: resources.{job.stage}.ranks is {ranks}, but devices is {devices}; each rank has a device of "
            f"its own; leave resources.{job.stage}.ranks away, or set devices to 0 for ranks on processors"
        )
    request = Request(
        job=job.id,
        stage=job.stage,
        branch=job.branch,
        fingerprint=job.fingerprint,
        attempt=attempt,
        config=job.config,
        row=job.row,
        seed=job.seed,
        inputs={},
        out="",
        work=str(attempt_folder(home, job.fingerprint, attempt)),
        resume=None if resume is None else str(resume.path),
        execution=Execution(
            device="cuda" if job.resources.devices else "cpu",
            ranks=ranks,
            threads=max(1, job.resources.cpus // ranks),
            micro_batch=None if samples is None else samples // accumulate,
            accumulate=accumulate,
            deepspeed=settings.deepspeed,
            checkpoint_every_s=settings.checkpoint_every_s,
            keep=settings.keep,
            grace_s=settings.grace_s,
            deterministic=settings.deterministic,
            paths=settings.paths,
        ),
        # The host gives each rank its own at more than one rank; at one rank this is all there is to say.
        rendezvous=Rendezvous(world_size=ranks, rank=0, local_rank=0, address=None, port=None, listen_fd=None),
        smoke=job.smoke,
    )
    plain: dict[str, Any] = json.loads(json.dumps(asdict(request), default=_plain))
    return plain


def build_submission(
    job: Job,
    plan: Plan,
    placement: Placement,
    *,
    attempt: str,
    home: Path,
    settings: ExecutionSettings,
    accumulate: int,
    resume: CheckpointRef | None,
) -> Submission:
    """What a backend gets for one attempt: its request, and its inputs by fingerprint.

    Raises:
        PlanError: the global batch cannot be shared over the ranks.
    """
    return Submission(
        attempt=attempt,
        job=job.id,
        label=job.label,
        request=build_request(job, attempt=attempt, home=home, settings=settings, accumulate=accumulate, resume=resume),
        inputs={stage: plan.jobs[need].fingerprint for stage, need in job.inputs.items()},
        resources=job.resources,
        placement=placement,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a request holds JSON values only, not {type(value).__name__}: {value!r}")
