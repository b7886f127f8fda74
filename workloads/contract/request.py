"""Request of an attempt (`request.json`): everything that the job reads, and nothing about who requested it.

Written by the orchestrator, read by `python -m workloads.run request.json`, on this machine or another. Standard
library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from workloads.contract.json_files import check_types, read_object, write_object

VERSION = 1

DEFAULT_WORKLOAD = "workloads.study.workload"
"""Module of the workload of a matrix.yaml that names none."""

Stage: TypeAlias = str
"""Name of a stage of the workload (`StageSpec.name`)."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a job runs: settings that may change without changing the meaning of its result."""

    device: Literal["cpu", "cuda"]
    ranks: int
    """Processes that share the job; the *global* batch does not depend on it."""
    threads: int
    """Threads per rank (`torch.set_num_threads`, `OMP_NUM_THREADS`)."""
    micro_batch: int | None
    """Samples per forward pass on one rank; None: the global batch divided by the ranks."""
    accumulate: int
    """Micro-batches per step on one rank; `ranks * micro_batch * accumulate` is the global batch."""
    deepspeed: Mapping[str, Any]
    """DeepSpeed settings of the cluster file."""
    checkpoint_every_s: float
    keep: Literal["weights", "full"]
    """What a training publishes: float32 weights, or the optimiser's state too."""
    grace_s: float
    """Seconds between the request to stop and being killed."""
    deterministic: bool
    paths: Mapping[str, str] = field(default_factory=dict)
    """Name -> place on this machine of files and services that the study uses, from the cluster file."""
    system_metrics: bool = False
    """Processors, memory and accelerators are written among the metrics."""
    keep_stable: bool = False
    """A training publishes its whole state where its stable part ends, from which a longer one begins."""


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """How the ranks of one job find each other; not used at world size 1."""

    world_size: int
    rank: int
    local_rank: int
    address: str | None
    """Address of rank 0's store; None at world size 1."""
    port: int | None
    listen_fd: int | None
    """Rank 0 only: a socket that its host has bound, as an inherited file descriptor."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Items that an earlier job has made in the same way."""

    folder: str
    """Its committed artifact, read-only."""
    items: Sequence[str]
    measured: bool
    """They were measured in the same way too."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One attempt of one job.

    `config` has the resolved sections that the stage reads (`StageSpec.sections`), without defaults left to the reader,
    but for those of `LATER` keys (`fields.py`); for a stage with branches, the section of its branch is
    `branch`. `row` is the resolved row: `{"family": ..., parameters}`.
    """

    job: str
    stage: Stage
    branch: str | None
    fingerprint: str
    attempt: str
    config: Mapping[str, Any]
    row: Mapping[str, Any] | None
    seed: int | None
    inputs: Mapping[str, str]
    """Stage -> folder of its committed artifact, read-only."""
    out: str
    """Folder of the artifact. It exists, and is empty except for what an earlier part of this attempt wrote."""
    work: str
    """Folder of the attempt: result.json, metrics.jsonl, heartbeat.json, checkpoints/."""
    resume: str | None
    """The newest complete checkpoint of any attempt of this job, read-only."""
    execution: Execution
    rendezvous: Rendezvous
    smoke: bool = False
    """A test run: two steps and one case at full size."""
    workload: str = DEFAULT_WORKLOAD
    """Module of the workload."""
    label: str = ""
    """The job's name for people, `train/ROW/s0`; a result never depends on it. Empty in older requests."""
    items: Sequence[str] | None = None
    """Its items, sorted (`Workload.items`); None: it has none."""
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Input stage -> the items of it that the job may read (`Workload.reads`, `items`); a stage that is absent: all.

    An input may hold more, made for other jobs.
    """
    finished: Sequence[Finished] = ()
    """What may be taken over instead of being made; no item is in two of them."""
    version: int = VERSION

    @property
    def name(self) -> str:
        """The label, or the id where there is none: how messages call the job."""
        return self.label or self.job

    def write(self, path: Path) -> None:
        """Write this request as JSON, atomically."""
        write_object(path, asdict(self))


def read_request(path: Path) -> Request:
    """Read `request.json`.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: not JSON, another version, or a field that is missing, unknown or of another type.
    """
    return request_from(read_object(path), str(path))


_TEXT_OR_NULL = (str, type(None))
_REQUEST = {
    **dict.fromkeys(("job", "stage", "fingerprint", "attempt", "out", "work", "workload"), str),
    **dict.fromkeys(("branch", "resume"), _TEXT_OR_NULL),
    **dict.fromkeys(("config", "inputs", "execution", "rendezvous"), dict),
    "row": (dict, type(None)),
    "seed": (int, type(None)),
    "smoke": bool,
    "label": str,
    "items": (list, type(None)),
    "reads": dict,
    "finished": list,
}
_FINISHED = {"folder": str, "items": list, "measured": bool}
_EXECUTION = {
    **dict.fromkeys(("device", "keep"), str),
    **dict.fromkeys(("ranks", "threads", "accumulate"), int),
    **dict.fromkeys(("checkpoint_every_s", "grace_s"), (int, float)),
    **dict.fromkeys(("deepspeed", "paths"), dict),
    "micro_batch": (int, type(None)),
    **dict.fromkeys(("deterministic", "system_metrics", "keep_stable"), bool),
}
_RENDEZVOUS = {
    **dict.fromkeys(("world_size", "rank", "local_rank"), int),
    **dict.fromkeys(("port", "listen_fd"), (int, type(None))),
    "address": _TEXT_OR_NULL,
}


def request_from(raw: Mapping[str, Any], where: str) -> Request:
    """A request from its JSON object; `where` names it in errors.

    Raises:
        ValueError: another version, or a field that is missing, unknown or of another type.
    """
    if raw.get("version") != VERSION:
        raise ValueError(f"{where}: version is {raw.get('version')!r}, this code reads {VERSION}")
    fields = {"items": None, "reads": {}, "finished": [], **raw}
    check_types(fields, _REQUEST, where)
    try:
        for number, one in enumerate(fields["finished"]):
            check_types(one, _FINISHED, f"{where}: finished[{number}]")
        fields["finished"] = [Finished(**one) for one in fields["finished"]]
        check_types(fields["execution"], _EXECUTION, f"{where}: execution")
        check_types(fields["rendezvous"], _RENDEZVOUS, f"{where}: rendezvous")
        fields["execution"] = Execution(**fields["execution"])
        fields["rendezvous"] = Rendezvous(**fields["rendezvous"])
        return Request(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
