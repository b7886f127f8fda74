"""DeepSpeed's own checkpoints, read without running what is in them, and turned into safetensors.

    python -m workloads.training.deepspeed_checkpoints runs/global_step1000 model.safetensors

Trainings here write checkpoints of their own (`checkpoint.py`); this reads those that DeepSpeed wrote elsewhere.
They are pickles. `SafeCheckpoints` reads them with torch's restricted unpickler, which builds tensors, plain
containers and the classes in `ALLOWED`, and nothing else; every engine here loads through it.

| file in the folder | read for |
|---|---|
| `mp_rank_00_model_states.pt` (stage 3: one a rank) | names, shapes, buffers; without ZeRO the weights |
| `*zero_pp_rank_{r}_mp_rank_00_optim_states.pt` | rank r's part of the float32 masters |

Stages 1 and 2 lay a group's parameters end to end and cut the whole into ranks; stage 3 cuts each parameter.
Source: `deepspeed/utils/zero_to_fp32.py` of DeepSpeed 0.19, which unpickles anything and so is not used.
"""

import argparse
import os
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import workloads.training.without_mlflow  # noqa: F401  acts by being imported first

# isort: split
import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address
from safetensors.torch import save_file
from torch import Tensor

from workloads.model.shards import refuse_unless_finite
from workloads.runtime.errors import BadInput

ALLOWED = (LossScaler, ZeroStageEnum, fragment_address)
"""Classes of DeepSpeed's that its checkpoints hold; each keeps numbers and does nothing when it is built."""

GOOD, REFUSED = 0, 2

_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_(\d+)")
_CLASS = re.compile(r"GLOBAL ([\w.]+)")


class SafeCheckpoints(CheckpointEngine):  # type: ignore[misc]  # DeepSpeed is untyped
    """torch.save, and a load that builds tensors, plain containers and `ALLOWED`."""

    def __init__(self, config_params: Any = None) -> None:
        super().__init__(config_params)
        self.name = "SafeCheckpoints"

    def create(self, info: CheckpointCommitInfo) -> None:
        """Nothing is prepared for a checkpoint."""

    def save(self, state_dict: Any, path: str) -> None:
        """Write one file of a checkpoint."""
        torch.save(state_dict, path)

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read one file of a checkpoint.

        Raises:
            BadInput: it cannot be read, is cut off or damaged, or names a class that is not allowed.
        """
        return read_pickled(Path(path), map_location)

    def commit(self, info: CheckpointCommitInfo) -> bool:
        """Every file is there when it is saved."""
        return True


def read_pickled(path: Path, map_location: Any = "cpu", *, mapped: bool = False) -> Any:
    """What torch.save wrote to `path`: tensors, plain containers and `ALLOWED`.

    Args:
        mapped: leave tensors in the file until they are looked at, which must then stay as it is.

    Raises:
        BadInput: it cannot be read, is cut off or damaged, or names a class that is not allowed.
    """
    try:
        mapped = mapped and zipfile.is_zipfile(path)  # others, old files or damaged, cannot be
        with torch.serialization.safe_globals(list(ALLOWED)):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadInput(
            f"{path}: cannot be read: {error.strerror}; allowed: a file of a DeepSpeed checkpoint"
        ) from error
    except Exception as error:  # a damaged pickle fails in any way
        named = _CLASS.search(str(error))
        if named:
            raise BadInput(
                f"{path}: holds an object of {named[1]}, whose code was not run; allowed: tensors, plain containers, "
                f"{', '.join(kind.__name__ for kind in ALLOWED)}; save the weights alone where you trust the file"
            ) from error
        raise BadInput(
            f"{path}: not readable as a file of torch.save ({type(error).__name__}); it is cut off or damaged, or "
            "another kind of file; copy the checkpoint again"
        ) from error


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Parameters and buffers of the checkpoint in `folder`, by the model's own names, whole and in float32.

    Args:
        folder: one checkpoint, or the folder given to `save_checkpoint`, whose file `latest` names one.

    Raises:
        BadInput: no checkpoint there, a rank's file missing, a file that is damaged, holds a class that is not
            allowed or another layout, NaN or infinity in a weight.
    """
    folder = _tagged(folder)
    models, shards = sorted(folder.glob("*_model_states.pt")), _by_rank(folder)
    if not models:
        raise BadInput(f"{folder}: holds no *_model_states.pt; allowed: a checkpoint folder of DeepSpeed")
    parallel = sorted(path.name for path in models if "mp_rank_00" not in path.name)
    if parallel:
        raise BadInput(
            f"{folder}: holds {parallel[0]}, a slice of a model; allowed: a model that is whole on a rank or in "
            "ZeRO shards; gather it with the tool that wrote it"
        )
    model = read_pickled(models[0], mapped=True)
    try:
        weights = _weights(folder, model, shards)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{folder}: not laid out as DeepSpeed's checkpoints are: {error!r}; allowed: what save_checkpoint of "
            "DeepSpeed 0.19 writes at ZeRO stages 0 to 3"
        ) from error
    for name, value in weights.items():
        if value.is_floating_point():
            refuse_unless_finite(folder, name, value)
    return weights


def convert(folder: Path, out: Path) -> int:
    """Write the weights of the checkpoint in `folder` to `out`, whole or not at all.

    Returns:
        How many tensors were written.

    Raises:
        BadInput: `out` exists or has no folder, or `folder` is refused (`read_checkpoint`).
    """
    if out.exists():
        raise BadInput(f"{out}: exists, and nothing is written over; allowed: a new file; give another name")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder; allowed: a file in a folder that is there; make the folder")
    weights = read_checkpoint(folder)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        save_file(weights, temporary, metadata={"format": "pt"})
        os.link(temporary, out)  # unlike a rename it fails where a file has appeared meanwhile
    except FileExistsError as error:
        raise BadInput(f"{out}: exists, and nothing is written over; allowed: a new file") from error
    finally:
        temporary.unlink(missing_ok=True)
    return len(weights)


def _tagged(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; allowed: a checkpoint folder of DeepSpeed")
    latest = folder / "latest"
    if not latest.is_file():
        return folder
    tag = latest.read_text(encoding="utf-8", errors="replace").strip()
    if Path(tag).name != tag or not (folder / tag).is_dir():
        raise BadInput(f"{latest}: names {tag!r}; allowed: a folder beside it; give the checkpoint's own folder")
    return folder / tag


def _by_rank(folder: Path) -> dict[int, Path]:
    """Files of the optimiser's shards, by rank in order."""
    found = {int(m[1]): path for path in folder.glob("*_optim_states.pt") if (m := _RANK.search(path.name))}
    return dict(sorted(found.items()))


def _weights(folder: Path, model: Mapping[str, Any], shards: Mapping[int, Path]) -> dict[str, Tensor]:
    module, grouped = model["module"], model["param_shapes"]
    if not shards and grouped is None:  # no ZeRO
        return {name: _float32(value) for name, value in module.items()}
    if model.get("frozen_param_shapes"):
        raise BadInput(f"{folder}: holds frozen parameters; allowed: checkpoints whose every parameter was trained")
    states = _states(folder, shards)
    shapes = [dict(group) for group in grouped]
    weights = {name: _float32(module[name]) for name in model["buffer_names"] if name in module}
    if int(states[0]["zero_stage"]) == 3:
        weights |= _cut_each([state["fp32_flat_groups"] for state in states], shapes)
    else:
        parts = [state["single_partition_of_fp32_groups"] for state in states]
        weights |= _cut_together(parts, shapes, states[0].get("param_alignment_paddings"))
    for name, source in dict(model.get("shared_params") or {}).items():
        weights[name] = weights[source].clone()  # safetensors holds each tensor once
    return weights


def _states(folder: Path, shards: Mapping[int, Path]) -> list[Mapping[str, Any]]:
    """The optimiser's state of every rank, in order."""
    read = {rank: read_pickled(path, mapped=True)["optimizer_state_dict"] for rank, path in shards.items()}
    counts = [state["partition_count"] for state in read.values()]
    world = max((max(count) if isinstance(count, list) else int(count) for count in counts), default=1)
    missing = sorted(set(range(world)) - set(read))
    if missing or len(read) != world:
        name = f"zero_pp_rank_{(missing or [world])[0]}_mp_rank_00_optim_states.pt"
        raise BadInput(
            f"{folder}: was written by {world} ranks and holds the shards of {len(read)}; "
            f"{name} is {'missing' if missing else 'of another checkpoint'}; copy the whole checkpoint again"
        )
    return [read[rank] for rank in range(world)]


def _cut_together(
    parts: Sequence[Sequence[Tensor]], shapes: Sequence[Mapping[str, Sequence[int]]], paddings: Any
) -> dict[str, Tensor]:
    """Stages 1 and 2. `parts[rank][group]` is a piece of the group's parameters, laid end to end."""
    weights: dict[str, Tensor] = {}
    for group, named in enumerate(shapes):
        flat = torch.cat([part[group] for part in parts])
        gaps = paddings[group] if paddings is not None else [0] * len(named)
        offset = 0
        for (name, shape), gap in zip(named.items(), gaps, strict=True):
            weights[name] = _float32(flat.narrow(0, offset, prod(shape)).view(tuple(shape)))
            offset += prod(shape) + int(gap)
    return weights


def _cut_each(parts: Sequence[Sequence[Tensor]], shapes: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Tensor]:
    """Stage 3. Each rank's groups, end to end, hold one piece of every parameter; the last piece is padded."""
    ranks = [torch.cat([group.flatten() for group in groups]) for groups in parts]
    weights: dict[str, Tensor] = {}
    offset = 0
    for name, shape in ((name, shape) for named in shapes for name, shape in named.items()):
        size = -(-prod(shape) // len(ranks))
        pieces = torch.cat([flat.narrow(0, offset, size) for flat in ranks])
        weights[name] = _float32(pieces[: prod(shape)].view(tuple(shape)))
        offset += size
    return weights


def _float32(value: Tensor) -> Tensor:
    """A copy of its own: the file may be mapped, and slices share memory. Counts and masks keep their type."""
    return value.detach().to(torch.float32 if value.is_floating_point() else value.dtype, copy=True).contiguous()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 written, 2 refused."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.training.deepspeed_checkpoints",
        description="Turn a checkpoint folder of DeepSpeed (ZeRO stages 0 to 3) into float32 safetensors, "
        "without running anything that the folder holds.",
        epilog="example: python -m workloads.training.deepspeed_checkpoints runs/global_step1000 model.safetensors\n"
        "exit codes: 0 written · 2 refused or bad usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a checkpoint folder, or the one above it that holds `latest`")
    parser.add_argument("out", type=Path, help="the file to write; nothing is written over")
    options = parser.parse_args(arguments)
    try:
        count = convert(options.folder, options.out)
    except BadInput as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(f"{options.out}: {count} tensors")
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
