"""Complete checkpoints: all that a training needs to go on as if it had never stopped. No pickles.

`checkpoints/step-{n}/` of an attempt holds, for `n` steps taken or rejected:

| file | content |
|---|---|
| `model.safetensors` | parameters, float32, whole |
| `optimizer-rank{r}.safetensors` | AdamW's moments and step: whole in rank 0's, or rank r's ZeRO shard |
| `state.json` | `TrainingState` |
| `step-{m}.mp4` | sample videos made so far, so that what is published does not depend on interruptions |
| `manifest.json` | `{"step", "files": [{"path", "size", "sha256"}]}`, last: a folder without it is no checkpoint |

There are no random states to save: every draw is a function of its name (study.md section 1), and the
sampler's position is the step. Written beside and renamed, with the data on disk before the name.

Source: study.md section 6; design, rule 5 of "Truth and recovery".
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from workloads.contract.faults import point
from workloads.contract.request import Request
from workloads.errors import BadInput
from workloads.model.differences import differences
from workloads.model.shards import open_tensors
from workloads.training.spikes import LossMean

VERSION = 1
KEPT = 2
"""Newest checkpoints of an attempt that stay; one could be the victim of a dying disk."""


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a checkpoint remembers beside tensors."""

    step: int
    """Steps done, rejected ones included; the next step's number and the sampler's position."""
    loss: LossMean
    metrics_bytes: int
    """Length of metrics.jsonl up to this step."""
    fingerprint: str
    configuration: str
    """Digest of the resolved configuration, row and seed."""
    world_size: int
    zero_stage: int
    seconds: float
    """Spent in steps by all attempts so far."""
    asked: Mapping[str, Any] | None = None
    """What was trained: the sections, `row`, `seed`, and `shape` of the latents, so that a refusal can name the field
    that differs; None in checkpoints that knew only the digest."""
    version: int = VERSION

    @staticmethod
    def beginning(request: Request, zero_stage: int, shape: Mapping[str, int]) -> "TrainingState":
        """Before the first step of `request` on latents of `shape`."""
        return TrainingState(
            step=0,
            loss=LossMean(),
            metrics_bytes=0,
            fingerprint=request.fingerprint,
            configuration=configuration_digest(request.config, request.row, request.seed),
            world_size=request.rendezvous.world_size,
            zero_stage=zero_stage,
            seconds=0.0,
            asked={**request.config, "row": request.row, "seed": request.seed, "shape": dict(shape)},
        )


def configuration_digest(config: Mapping[str, Any], row: Mapping[str, Any] | None, seed: int | None) -> str:
    """sha256 of what is trained: sections, row and seed, as JSON with sorted keys."""
    text = json.dumps([config, row, seed], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def write_checkpoint(
    checkpoints: Path,
    state: TrainingState,
    *,
    rank: int,
    weights: Mapping[str, Tensor],
    moments: Mapping[str, Tensor],
    samples: Path,
    wait_for_all: Callable[[], None],
) -> Path:
    """Write `checkpoints/step-{n}` whole or not at all, then let go of all but the two newest.

    Every rank calls it. Rank 0 writes `weights` and what lies in the folder `samples`, each rank its own
    `moments` if it has any.

    Returns:
        The folder of the checkpoint.
    """
    final = checkpoints / f"step-{state.step}"
    temporary = checkpoints / f".step-{state.step}.tmp"
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    wait_for_all()
    if moments:
        save_file(dict(moments), temporary / f"optimizer-rank{rank}.safetensors")
    wait_for_all()
    if rank == 0:
        save_file(dict(weights), temporary / "model.safetensors")
        (temporary / "state.json").write_text(json.dumps(asdict(state), indent=1, sort_keys=True), encoding="utf-8")
        for video in sorted(samples.glob("step-*.mp4")):
            shutil.copyfile(video, temporary / video.name)
        files = [_entry(path) for path in sorted(temporary.iterdir())]
        point("checkpoint.files")
        manifest = temporary / "manifest.json"
        manifest.write_text(json.dumps({"step": state.step, "files": files}, indent=1), encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        if final.exists():
            _remove(final)
        point("checkpoint.manifest")
        temporary.rename(final)
        _sync(checkpoints)
        point("checkpoint.renamed")
        for old in complete_checkpoints(checkpoints)[:-KEPT]:
            _remove(old)
    wait_for_all()
    return final


def complete_checkpoints(checkpoints: Path) -> list[Path]:
    """Complete checkpoints in the folder, oldest first."""
    found = [path for path in checkpoints.glob("step-*") if (path / "manifest.json").is_file()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def read_state(checkpoint: Path) -> TrainingState:
    """Read `state.json` of a complete checkpoint.

    Raises:
        BadInput: it is not complete, damaged, or of another version.
    """
    raw = json.loads(_checked(checkpoint, "state.json").decode("utf-8"))
    if raw.get("version") != VERSION:
        raise BadInput(
            f"{checkpoint}/state.json: version is {raw.get('version')!r}; allowed: {VERSION}; delete the checkpoints "
            "of this job to train it anew"
        )
    return TrainingState(**{**raw, "loss": LossMean(**raw["loss"])})


def check_resumable(checkpoint: Path, state: TrainingState, expected: TrainingState) -> None:
    """Refuse a checkpoint of another computation, or cut into other shards.

    Raises:
        BadInput: fingerprint, configuration, shape, world size or ZeRO stage differ; the message names the fields.
    """
    fields = differences(state.asked, expected.asked) if state.asked and expected.asked else ""
    if fields:
        raise BadInput(
            f"{checkpoint}/state.json: {fields}; allowed: a checkpoint of the same job; set resume to null to train "
            "anew"
        )
    for name in ("fingerprint", "configuration"):
        if getattr(state, name) != getattr(expected, name):
            raise BadInput(
                f"{checkpoint}/state.json: {name} is {getattr(state, name)[:12]}, this job's is "
                f"{getattr(expected, name)[:12]}; allowed: a checkpoint of the same job; set resume to null to train "
                "anew"
            )
    sharded = max(state.zero_stage, expected.zero_stage) > 0
    if sharded and (state.world_size, state.zero_stage) != (expected.world_size, expected.zero_stage):
        raise BadInput(
            f"{checkpoint}: written by {state.world_size} ranks at ZeRO stage {state.zero_stage}, resumed by "
            f"{expected.world_size} at stage {expected.zero_stage}; allowed: the same two, for each rank holds a "
            "shard of the optimiser's state; restore execution.ranks and "
            "deepspeed.zero_optimization, or delete the checkpoints of this job"
        )


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Parameters of a complete checkpoint, on the host.

    Raises:
        BadInput: the file is missing or damaged.
    """
    return _tensors(checkpoint, "model.safetensors")


def read_moments(checkpoint: Path, rank: int) -> dict[str, Tensor]:
    """The optimiser's state of `rank`, on the host; rank 0 holds the whole where it is not sharded.

    Raises:
        BadInput: the file is missing or damaged.
    """
    return _tensors(checkpoint, f"optimizer-rank{rank}.safetensors")


def restore_samples(checkpoint: Path, samples: Path) -> None:
    """Copy the sample videos of a complete checkpoint into the folder `samples`, which may not exist yet."""
    for video in sorted(checkpoint.glob("step-*.mp4")):
        samples.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, samples / video.name)


def _tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    _check(checkpoint, name)
    file = open_tensors(checkpoint / name)
    return {tensor: file.get_tensor(tensor) for tensor in file.keys()}  # noqa: SIM118 - not a mapping


def _checked(checkpoint: Path, name: str) -> bytes:
    _check(checkpoint, name)
    return (checkpoint / name).read_bytes()


def _check(checkpoint: Path, name: str) -> None:
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        [listed] = [entry for entry in manifest["files"] if entry["path"] == name]
        intact = _entry(checkpoint / name) == listed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{checkpoint}: {name} cannot be read: {error}; resume from the checkpoint before it, or set resume to null"
        ) from error
    if not intact:
        raise BadInput(
            f"{checkpoint}: {name} is not what manifest.json lists; resume from the checkpoint before it, or set "
            "resume to null"
        )


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.name, "size": path.stat().st_size, "sha256": digest}


def _remove(checkpoint: Path) -> None:
    """The manifest goes first, so that a half-removed folder is not taken for a checkpoint."""
    (checkpoint / "manifest.json").unlink(missing_ok=True)
    point("checkpoint.removing")
    shutil.rmtree(checkpoint)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
