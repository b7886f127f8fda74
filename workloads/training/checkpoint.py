"""Training checkpoints: everything needed to resume as if the training had never stopped. No pickles.

`checkpoints/step-{n}/` of an attempt holds, for `n` steps taken or rejected:

| file | content |
|---|---|
| `model.safetensors` | parameters, float32, whole |
| `optimizer-rank{r}.safetensors` | AdamW's moments and step: whole in rank 0's, or rank r's ZeRO shard |
| `state.json` | `TrainingState` |
| `metrics.jsonl` | the metrics up to this step: a later attempt starts with them, so no step is doubled or missing |
| `step-{m}.mp4` | sample videos so far, so that what is published does not depend on interruptions |
| `stable-{name}` | once the stable part has ended: the files of that checkpoint (`stable.py`) |
| `manifest.json` | `{"step", "files": [{"path", "size", "sha256"}]}`, last: without it a folder is no checkpoint |

There are no random states to save: every draw is a function of its name (study.md section 1), and the
sampler's position is the step. A checkpoint is written under a temporary name, synced and renamed.
`resume.py` chooses the checkpoint from which an attempt resumes.

Source: study.md section 6; design, rule 5 of "Truth and recovery".
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from workloads.contract.request import Request
from workloads.model.differences import differences
from workloads.model.shards import open_tensors
from workloads.model.weights import current_name
from workloads.runtime.errors import BadInput
from workloads.runtime.links import link
from workloads.runtime.step_folders import Damaged, check, complete, entry, read_manifest
from workloads.training.ranks import save_parts
from workloads.training.spikes import LossMean

VERSION = 1
STATE, MODEL, METRICS = "state.json", "model.safetensors", "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a checkpoint holds besides tensors."""

    step: int
    """Steps done, rejected ones included; also the number of the next step and the sampler's position."""
    loss: LossMean
    metrics_bytes: int
    """Length of metrics.jsonl up to this step."""
    fingerprint: str
    configuration: str
    """Digest of the resolved configuration, row and seed."""
    world_size: int
    zero_stage: int
    seconds: float
    """Time spent in steps by all attempts so far."""
    asked: Mapping[str, Any] | None = None
    """What was trained: the sections, `row`, `seed`, and `shape` of the latents, so that an error can name the field
    that differs; None in older checkpoints, which have only the digest."""
    parameters: Sequence[Sequence[str]] | None = None
    """Names in each group of the optimiser, in the order of ZeRO's shards; None where the shards have another layout
    (stage 3, gaps), or in older checkpoints."""
    version: int = VERSION

    @staticmethod
    def beginning(request: Request, zero_stage: int, shape: Mapping[str, int]) -> "TrainingState":
        """The state before the first step of `request`, on latents of `shape`."""
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
    metrics: Path,
    samples: Path,
    wait_for_all: Callable[[], None],
    beside: Mapping[str, Path] | None = None,
    without: Collection[str] = (),
    device: str = "cpu",
) -> Path:
    """Write `checkpoints/step-{n}` atomically, then delete all but the newest.

    Every rank calls it. Rank 0 writes `weights`, the beginning of the file `metrics` and the videos in the folder
    `samples`; each rank's `moments`, if it has any, are written by itself, or by rank 0 where it does not see rank 0's
    folder.

    Args:
        beside: further files on rank 0's machine, by their names in the checkpoint.
        without: names of videos that are left out.
        device: of the ranks, which they send from.

    Returns:
        The folder of the checkpoint, on rank 0's machine.
    """
    final = checkpoints / f"step-{state.step}"
    temporary = checkpoints / f".step-{state.step}.tmp"
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    wait_for_all()
    save_parts(temporary, moments_name, moments, device)
    if rank == 0:
        save_file(dict(weights), temporary / MODEL)
        (temporary / STATE).write_text(json.dumps(asdict(state), indent=1, sort_keys=True), encoding="utf-8")
        copy_beginning(metrics, temporary / METRICS, state.metrics_bytes)
        for video in sorted(samples.glob("step-*.mp4")):
            if video.name not in without:
                shutil.copyfile(video, temporary / video.name)
        for name, path in (beside or {}).items():
            link(path, temporary / name)
        finish(temporary, final, state.step)
    wait_for_all()
    return final


def finish(temporary: Path, final: Path, step: int, *, prune: bool = True) -> None:
    """Complete the checkpoint `final` from the files in `temporary`, durably; `prune`: delete all but the newest."""
    files = [entry(path) for path in sorted(temporary.iterdir())]
    complete(temporary, final, {"step": step, "files": files}, durable=True, prune=prune)


def moments_name(rank: int) -> str:
    """File of a rank's part of the optimiser's state."""
    return f"optimizer-rank{rank}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint, whose files this rank has checked against the manifest."""

    folder: Path
    state: TrainingState
    files: Mapping[str, Mapping[str, Any]]
    """Name -> size and sha256."""

    @staticmethod
    def open(folder: Path, rank: int = 0) -> "Checkpoint":
        """Check what `rank` is responsible for: rank 0 all shared files, each rank its part of the optimiser's state.

        Raises:
            Damaged: the manifest or one of those files is missing or has changed.
            BadInput: it was written by another version of this code.
        """
        _, files = read_manifest(folder)
        check(folder, files, [STATE])
        state = _state(folder)
        if rank == 0:
            shared = [name for name in files if name != STATE and not name.startswith("optimizer-rank")]
            check(folder, files, [*dict.fromkeys([MODEL, *shared])])
            if METRICS not in files:
                _check_beside(folder, state.metrics_bytes)
        part = moments_name(rank)
        if part in files:
            check(folder, files, [part])
        return Checkpoint(folder=folder, state=state, files=files)

    def weights(self) -> dict[str, Tensor]:
        """The parameters, on the host."""
        return _tensors(self.folder / MODEL)

    def parts(self) -> list[str]:
        """The files of the optimiser's state, by rank; none before the first step that was taken.

        Raises:
            Damaged: those of some ranks are not listed.
        """
        ranks = self.state.world_size if self.state.zero_stage > 0 else 1
        listed = [moments_name(rank) for rank in range(ranks) if moments_name(rank) in self.files]
        if listed and len(listed) < ranks:
            raise Damaged(f"{self.folder}: holds the optimiser's state of {len(listed)} of {ranks} ranks")
        return listed

    def moments(self, rank: int) -> dict[str, Tensor]:
        """The optimiser's state of `rank`, on the host; rank 0 holds the whole where it is not sharded.

        Empty before the first step that was taken.
        """
        part = moments_name(rank)
        return _tensors(self.folder / part) if part in self.files else {}

    @property
    def metrics(self) -> Path:
        """A file that begins with the metrics up to this step."""
        return self.folder / METRICS if METRICS in self.files else _beside(self.folder)

    @property
    def videos(self) -> list[str]:
        """Names of the sample videos so far."""
        return sorted(name for name in self.files if name.startswith("step-"))

    def restore_samples(self, samples: Path) -> None:
        """Copy the sample videos into the folder `samples`, which may not exist yet."""
        for name in self.videos:
            samples.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, samples / name)


def check_resumable(checkpoint: Path, state: TrainingState, expected: TrainingState) -> None:
    """Refuse a checkpoint of another computation, or with other shards.

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
        ranks, stage = expected.world_size, expected.zero_stage
        raise BadInput(
            f"{checkpoint}: written by {state.world_size} ranks at ZeRO stage {state.zero_stage}, resumed by "
            f"{ranks} at stage {stage}; allowed: the same two, for each rank holds a shard of the optimiser's state; "
            f"convert it (`echo-matrix reshard JOB --ranks {ranks} --zero-stage {stage}`, or by hand `python -m "
            f"workloads.training.reshard {checkpoint} --ranks {ranks} --zero-stage {stage} --out FOLDER`), restore "
            "execution.ranks and deepspeed.zero_optimization, or delete the checkpoints of this job"
        )


def copy_beginning(source: Path, target: Path, length: int) -> None:
    """Copy the first `length` bytes of a file; a missing file is empty.

    Raises:
        Damaged: it is shorter.
    """
    left = length
    with target.open("wb") as writing:
        if source.is_file():
            with source.open("rb") as reading:
                while left and (block := reading.read(min(left, 1 << 20))):
                    writing.write(block)
                    left -= len(block)
    if left:
        raise Damaged(f"{source}: is shorter than the {length} bytes that a checkpoint records")


def _state(checkpoint: Path) -> TrainingState:
    path = checkpoint / STATE
    raw = json.loads(path.read_text(encoding="utf-8"))
    if raw.get("version") != VERSION:
        raise BadInput(
            f"{path}: version is {raw.get('version')!r}; allowed: {VERSION}; delete the checkpoints of this job to "
            "train it anew"
        )
    return TrainingState(**{**raw, "loss": LossMean(**raw["loss"])})


def _tensors(path: Path) -> dict[str, Tensor]:
    file = open_tensors(path)
    return {current_name(tensor): file.get_tensor(tensor) for tensor in file.keys()}  # noqa: SIM118 - not a mapping


def _beside(checkpoint: Path) -> Path:
    """The metrics of an older checkpoint, which are in the folder of its attempt."""
    return checkpoint.parent.parent / METRICS


def _check_beside(checkpoint: Path, length: int) -> None:
    path = _beside(checkpoint)
    if (path.stat().st_size if path.is_file() else 0) < length:
        raise Damaged(f"{path}: is shorter than the {length} bytes that {checkpoint} records")
