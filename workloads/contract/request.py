"""What one attempt of a job is asked to do: `request.json`.

A request names everything the job reads and nothing about who asked. It is written by the
orchestrator and read by `python -m workloads.run request.json`, on this machine or another.
Standard library only: the orchestrator imports this file and must not import torch through it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from workloads.contract.defaults import DEFAULT
from workloads.contract.json_files import check_types, read_object

VERSION = 1

Stage: TypeAlias = str
"""Name of a stage: one of the workload's (`StageSpec.name`)."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a job runs: all that may change without changing the meaning of its result."""

    device: Literal["cpu", "cuda"]
    ranks: int
    """Processes that share the job; the *global* batch does not depend on it."""
    threads: int
    """Threads a rank (`torch.set_num_threads`, `OMP_NUM_THREADS`)."""
    micro_batch: int | None
    """Samples of one forward on one rank; None: the global batch over the ranks."""
    accumulate: int
    """Micro-batches of one step on one rank; `ranks * micro_batch * accumulate` is the global batch."""
    deepspeed: Mapping[str, Any]
    """DeepSpeed settings beside those the study fixes, as in `cluster/deepspeed/*.json`."""
    checkpoint_every_s: float
    keep: Literal["weights", "full"]
    """What is published of a training: float32 weights, or the optimiser's state too."""
    grace_s: float
    """Time between being asked to stop and being killed, in seconds."""
    deterministic: bool
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where things lie on this machine that the study names only: `pool`, `lpips`, `inception`, ..."""


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """How the ranks of one job find each other. World size 1 needs none of it."""

    world_size: int
    rank: int
    local_rank: int
    address: str | None
    """Address of rank 0's store; None at world size 1."""
    port: int | None
    listen_fd: int | None
    """Rank 0 only: the socket its host has bound already, as an inherited descriptor."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One attempt of one job.

    `config` holds the sections the stage reads (`StageSpec.sections`), resolved: no defaults are left
    to the reader. For a stage with branches, the section of its branch is under `branch`.
    `row` is the row in its resolved form, `{"family": ..., parameters}`.
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
    """Folder of each committed input, read-only: `{"latents": "/.../artifacts/latents/..."}`."""
    out: str
    """Folder for what is published. Exists and is empty, but for what an earlier part of this attempt wrote."""
    work: str
    """Folder of the attempt: result.json, metrics.jsonl, heartbeat.json, checkpoints/."""
    resume: str | None
    """The newest complete checkpoint of any attempt of this job; never written into."""
    execution: Execution
    rendezvous: Rendezvous
    smoke: bool = False
    """Two steps and one case at true size; its own fingerprint, so it never counts as done."""
    workload: str = DEFAULT
    """Module of the workload whose stage it is."""
    version: int = VERSION

    def write(self, path: Path) -> None:
        """Write this request as JSON, whole or not at all."""
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(path)


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
}
_EXECUTION = {
    **dict.fromkeys(("device", "keep"), str),
    **dict.fromkeys(("ranks", "threads", "accumulate"), int),
    **dict.fromkeys(("checkpoint_every_s", "grace_s"), (int, float)),
    **dict.fromkeys(("deepspeed", "paths"), dict),
    "micro_batch": (int, type(None)),
    "deterministic": bool,
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
    fields = dict(raw)
    check_types(fields, _REQUEST, where)
    try:
        check_types(fields["execution"], _EXECUTION, f"{where}: execution")
        check_types(fields["rendezvous"], _RENDEZVOUS, f"{where}: rendezvous")
        fields["execution"] = Execution(**fields["execution"])
        fields["rendezvous"] = Rendezvous(**fields["rendezvous"])
        return Request(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
