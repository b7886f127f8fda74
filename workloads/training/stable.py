"""Stable checkpoints: the whole state of a training where its stable part ends, from which a longer one begins.

They are checkpoints as any other (`checkpoint.py`), at `stable/step-{n}` of the artifact. A training that is
interrupted after that step takes its own with it: each of its later checkpoints has the files as `stable-{name}`, as
links where the disk can.

A longer training begins with the state, the metrics and the videos of the first steps, so that it ends with the bits of
a training that began at step 0. Shards of another number of ranks, or of another ZeRO stage, are converted.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from workloads.contract.request import Finished
from workloads.model.differences import differences
from workloads.runtime.errors import BadInput
from workloads.runtime.links import link
from workloads.runtime.step_folders import Damaged, log_skipped
from workloads.study.schedule import OF_A_BUDGET
from workloads.training.checkpoint import Checkpoint, TrainingState
from workloads.training.ranks import all_agree
from workloads.training.universal import Universal

FOLDER = "stable"
CARRIED = "stable-"
"""Begins the name of a file of the stable checkpoint in a later one."""


def stable_folder(artifact: Path, step: int) -> Path:
    """The stable checkpoint of an artifact."""
    return artifact / FOLDER / f"step-{step}"


def to_carry(stable: Path) -> Mapping[str, Path]:
    """The files that a later checkpoint takes with it, by their names there; none before the stable part has ended."""
    return {f"{CARRIED}{path.name}": path for path in sorted(stable.glob("*"))}


def put_back(checkpoint: Checkpoint, stable: Path) -> bool:
    """Make the stable checkpoint again that `checkpoint` has taken with it, or is; False: it has none."""
    if checkpoint.folder.parent.name == FOLDER and checkpoint.folder.name == stable.name:
        files = {path.name: path for path in checkpoint.folder.iterdir()}
    else:
        carried = (name for name in checkpoint.files if name.startswith(CARRIED))
        files = {name.removeprefix(CARRIED): checkpoint.folder / name for name in carried}
    if not files:
        return False
    temporary = stable.with_name(f".{stable.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, path in files.items():
        link(path, temporary / name)
    temporary.rename(stable)
    return True


def write_without(metrics: Path, length: int, target: Path, step: int, names: Collection[str]) -> int:
    """Copy the first `length` bytes of metrics without those of `step` that are named; returns the length of the copy.

    The last step of a training tells more than others do: a longer one does not tell it there.
    """
    with metrics.open("rb") as reading, target.open("wb") as writing:
        for line in reading.read(length).splitlines(keepends=True):
            told = json.loads(line)
            if told["step"] != step or told["name"] not in names:
                writing.write(line)
    return target.stat().st_size


def stable_start(finished: Sequence[Finished], expected: TrainingState, device: str) -> Checkpoint | None:
    """The stable checkpoint of the longest of some finished trainings; logs why it cannot be used.

    All ranks call it and get the same one: on a machine that has none, the others use none either.

    Args:
        finished: whose items are the steps where their stable parts end.
        expected: the state before the first step of this training.
        device: of the ranks.

    Returns:
        None where there is none: the training begins at step 0.
    """
    found: Checkpoint | None = None
    if finished:
        longest = max(finished, key=lambda one: max(one.items))
        try:
            found = Checkpoint.open(stable_folder(Path(longest.folder), int(max(longest.items))), dist.get_rank())
            found.parts()  # a rank whose part is missing would begin without its moments
            _check_continuable(found, expected)
        except (Damaged, BadInput) as error:
            found = None
            log_skipped(error)
    return found if all_agree(found is not None, device) else None


def continued(state: TrainingState, beginning: TrainingState) -> TrainingState:
    """The state of a training that begins with that of a shorter one."""
    return replace(
        beginning, step=state.step, loss=state.loss, seconds=state.seconds, metrics_bytes=state.metrics_bytes
    )


def moments_for(checkpoint: Checkpoint, rank: int, ranks: int, zero_stage: int) -> Mapping[str, Tensor]:
    """The optimiser's state for `rank` of `ranks`, converted where the checkpoint has other shards."""
    state = checkpoint.state
    if zero_stage == 0 and state.zero_stage == 0:
        return checkpoint.moments(0)
    if (state.world_size, state.zero_stage) == (ranks, zero_stage):
        return checkpoint.moments(rank)
    return Universal(checkpoint).moments(rank, ranks, zero_stage)


def _check_continuable(checkpoint: Checkpoint, expected: TrainingState) -> None:
    """Refuse the state of another training, but for its budget, and shards that cannot be converted.

    Raises:
        BadInput: with what differs.
    """
    state, where = checkpoint.state, checkpoint.folder
    if state.asked is None or expected.asked is None or (odd := _odd(state.asked, expected.asked)):
        odd = odd if state.asked and expected.asked else "it does not say what was trained"
        raise BadInput(f"{where}/state.json: {odd}; allowed: a training that differs in {', '.join(OF_A_BUDGET)} alone")
    same = (state.world_size, state.zero_stage) == (expected.world_size, expected.zero_stage)
    if not same and 3 in (state.zero_stage, expected.zero_stage):
        raise BadInput(
            f"{where}: written by {state.world_size} ranks at ZeRO stage {state.zero_stage}, continued by "
            f"{expected.world_size} at stage {expected.zero_stage}; allowed: the same two, or stages 0 to 2, for "
            "shards of stage 3 cannot be converted"
        )


def _odd(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    return differences(_without_budget(found), _without_budget(expected))


def _without_budget(asked: Mapping[str, Any]) -> dict[str, Any]:
    training = {key: value for key, value in asked["training"].items() if key not in OF_A_BUDGET}
    return {**asked, "training": training}
