"""Launcher: prepares an attempt (id, folder, intent, request) and submits it to the backend.

The intent is on disk, in `intent.json` of the attempt's folder and in the ledger, before the attempt is submitted.
The copy in the folder is for a ledger that has to be rebuilt: an attempt may outlive its controller and the ledger, and
the next controller must know its place on the host, or it would give that place to another. A folder without an intent
was made by older code.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Backend, ExpectedTime, Placement, Submission
from orchestrator.errors import BackendError, PlanError
from orchestrator.host.checkpoints import CheckpointRef, attempt_folder, newest_checkpoint, step_of
from orchestrator.plan.growth import TakenOver
from orchestrator.plan.job import Job, Plan
from orchestrator.schedule.attempt_monitor import WatchedAttempt
from orchestrator.schedule.context import RunContext
from orchestrator.schedule.expectations import expected_time
from orchestrator.schedule.ledger.schema import Attempt, others_from, others_json
from orchestrator.schedule.retry_policy import fitted
from orchestrator.spec.cluster import Cluster
from workloads.contract.json_files import check_types, read_object
from workloads.contract.request import Execution, Rendezvous, Request
from workloads.runtime.fault_points import point

PAUSE_AFTER_REFUSAL_S = 5.0
"""Pause after the backend refused to start anything."""
INTENT = "intent.json"
_TEXTS = ("id", "fingerprint", "job", "label", "stage", "host")
_TYPES = {**dict.fromkeys(_TEXTS, str), "intended": (int, float), "begun": int, "cpus": int, "devices": list}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """An attempt that is ready to be submitted."""

    submission: Submission
    intent: Attempt
    """Its row of the ledger."""
    watched: WatchedAttempt


@dataclass(frozen=True, kw_only=True)
class SubmitResult:
    """What the backend answered."""

    launches: Sequence[Launch]
    tickets: Mapping[str, str] = field(default_factory=dict)
    """Attempt -> ticket."""
    refusal: str = ""
    """Why it refused; empty: it accepted."""


class Launcher:
    """Prepares launches and submits them; changes no state of jobs or attempts."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._attempted = context.ledger.attempt_counts()
        self._refused_until = float("-inf")
        self._checkpointed: frozenset[str] | None = None
        """Jobs with checkpoints in the store when this run first asked; None: it has not."""
        self.submitted = 0
        """Attempts this controller has started."""

    def may_submit(self, now: float) -> bool:
        """Whether the pause after a refusal is over."""
        return now >= self._refused_until

    def prepare(self, job: Job, placement: Placement) -> Launch:
        """Make the folder of a new attempt, with its intent.

        Raises:
            OrchestratorError: no request can be made of the job.
        """
        home, clock = self._context.home, self._context.clock
        number = self._attempted.get(job.fingerprint, 0) + 1
        attempt = new_attempt_id(number)
        resume = newest_checkpoint(home, job.fingerprint) if number > 1 else None
        request = build_request(
            job,
            attempt=attempt,
            home=home,
            settings=self._context.settings,
            accumulate=self._context.ledger.charges(job.fingerprint).accumulate,
            resume=resume,
        )
        begun = max(step_of(resume), self._stored_step(job, number))
        folder = attempt_folder(home, job.fingerprint, attempt)
        folder.mkdir(parents=True)
        self._attempted[job.fingerprint] = number
        intent = Attempt(
            id=attempt,
            fingerprint=job.fingerprint,
            job=job.id,
            label=job.label,
            stage=job.stage,
            host=placement.host,
            intended=clock.time(),
            begun=begun,
            cpus=placement.cpus,
            devices=placement.devices,
            others=placement.others,
        )
        write_intent(folder, intent)
        watched = WatchedAttempt(attempt=attempt, job=job, folder=folder, begun=begun, submitted_at=clock.monotonic())
        earlier = self._context.ledger.attempts(job.fingerprint) if number > 1 else ()
        timeouts = sum(one.ending == "timed_out" for one in earlier)
        expected = expected_time(self._context.forecaster.of(job), timeouts)
        taken = self._context.finished.growth(job).taken
        submission = build_submission(job, self._context.plan, placement, request, expected, taken)
        return Launch(submission=submission, intent=intent, watched=watched)

    def _stored_step(self, job: Job, number: int) -> int:
        """Step of the newest checkpoint in the store, from which the host resumes; -1: there is none."""
        store = self._context.store
        if self._checkpointed is None:
            self._checkpointed = store.checkpointed()
        if number == 1 and job.fingerprint not in self._checkpointed:
            return -1  # most jobs: another home has not begun it either
        return store.stored_step(job.fingerprint)

    def submit(self, backend: Backend, launches: Sequence[Launch]) -> Iterator[SubmitResult]:
        """Submit what is recorded, all at once, or one by one where the backend refuses."""
        if not launches:
            return
        point("intent.recorded")
        self._context.ledger.check()  # a controller that was suspended since then may have a successor
        try:
            tickets = dict(backend.submit([launch.submission for launch in launches]))
        except BackendError as error:
            if len(launches) > 1:  # perhaps it refuses only one of them
                for launch in launches:
                    yield from self.submit(backend, [launch])
                return
            self._refused_until = self._context.clock.monotonic() + PAUSE_AFTER_REFUSAL_S
            yield SubmitResult(launches=launches, refusal=str(error))
            return
        point("submit.answered")
        self.submitted += len(tickets)
        yield SubmitResult(launches=launches, tickets=tickets)


def new_attempt_id(number: int) -> str:
    """An attempt id: sorts by `number` (its place among the job's attempts), unique across controllers."""
    return f"a{number:03d}-{secrets.token_hex(4)}"


def share(job: Job) -> int | None:
    """Samples of one training step on one rank; None for stages without a micro-batch.

    Raises:
        PlanError: the global batch cannot be shared over the ranks.
    """
    path = job.spec.global_batch
    if not path:
        return None
    section, _, name = path.partition(".")
    batch = int(job.config[section][name])
    ranks = job.resources.world_size
    if batch % ranks:
        key = "devices" if job.resources.ranks is None else "ranks"
        raise PlanError(
            f"{job.label}: resources.{job.stage}.{key} is {ranks}, but controls.{path} is {batch}; "
            f"a number of {key} that divides {batch} is allowed; set resources.{job.stage}.{key} accordingly"
        )
    return batch // ranks


def build_request(
    job: Job,
    *,
    attempt: str,
    home: Path,
    settings: Cluster,
    accumulate: int,
    resume: CheckpointRef | None,
) -> dict[str, Any]:
    """The request of one attempt as JSON; `inputs` and `out` are empty, the host fills them in.

    Args:
        job: what to run.
        attempt: its id.
        home: `outputs/{study}`.
        settings: from cluster/*.yaml.
        accumulate: at least so many micro-batches a step, raised after out_of_memory; 1 for stages without any.
        resume: the checkpoint to resume from.

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
        label=job.label,
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
            keep_stable=settings.keep_stable and bool(job.spec.continued),
            grace_s=settings.grace_s,
            deterministic=settings.deterministic,
            paths=settings.paths,
            system_metrics=settings.tracking.system_metrics and bool(job.spec.curve),
        ),
        # The host gives each rank its own at more than one rank; at one rank this is all there is to say.
        rendezvous=Rendezvous(world_size=ranks, rank=0, local_rank=0, address=None, port=None, listen_fd=None),
        smoke=job.smoke,
        workload=job.workload,
        items=None if job.items is None else tuple(job.items),
        reads={stage: job.items_read(stage) for stage in sorted(job.named)},
    )
    plain: dict[str, Any] = json.loads(json.dumps(asdict(request), default=_plain))
    return plain


def build_submission(
    job: Job,
    plan: Plan,
    placement: Placement,
    request: Mapping[str, Any],
    expected: ExpectedTime | None = None,
    taken: Sequence[TakenOver] = (),
) -> Submission:
    """What a backend gets for one attempt: its request, and by fingerprint its inputs and what it takes over."""
    return Submission(
        attempt=request["attempt"],
        job=job.id,
        label=job.label,
        request=request,
        inputs={stage: plan.jobs[need].fingerprint for stage, need in job.inputs.items()},
        items=(job.items or {}) if publishes_items(job, request) else {},
        measured=job.measured,
        taken={one.fingerprint: {"items": one.items, "measured": one.measured} for one in taken},
        resources=job.resources,
        placement=placement,
        whole_checkpoints=job.spec.whole_checkpoints,
        expected=expected,
    )


def publishes_items(job: Job, request: Mapping[str, Any]) -> bool:
    """Whether others find a job's items in its artifact: of a continued stage, only where the state is kept."""
    return not job.spec.continued or bool(request["execution"]["keep_stable"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a request holds JSON values only, not {type(value).__name__}: {value!r}")


def write_intent(folder: Path, attempt: Attempt) -> None:
    """Write the intent of an attempt into its folder."""
    decided = {name: value for name, value in vars(attempt).items() if name in _TYPES}
    if attempt.others:
        decided["others"] = others_json(attempt.others)
    (folder / INTENT).write_text(json.dumps(decided), encoding="utf-8")


def read_intent(folder: Path) -> Attempt | None:
    """The intent of the attempt in `folder`; None where there is none that is valid."""
    try:
        raw = read_object(folder / INTENT)
        if "backend" in raw:  # older code called the host so
            raw = {"host": raw["backend"], **raw}
        check_types(raw, _TYPES, INTENT)
        decided = {name: raw[name] for name in _TYPES}
        others = others_from(raw.get("others", []))
    except (OSError, ValueError, KeyError):
        return None
    if not all(isinstance(device, int) for device in decided["devices"]):
        return None
    return Attempt(**{**decided, "devices": tuple(decided["devices"]), "others": others})
