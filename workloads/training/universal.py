"""A training's state parameter by parameter, whatever ranks and ZeRO stage its checkpoint was cut for.

This is what DeepSpeed calls a universal checkpoint: for each parameter `fp32` (the weight), `exp_avg`, `exp_avg_sq` and
`step`. Stages 1 and 2 lay each group of the optimiser end to end, fill it with zeros to a multiple of twice the number
of ranks, and give every rank an equal piece; without ZeRO each parameter has its own. Values are read one parameter at
a time: no more of a checkpoint is in memory than what is written next.

Source: `deepspeed/checkpoint/ds_to_universal.py` and `flatten_dense_tensors_aligned` in
`deepspeed/runtime/zero/stage_1_and_2.py` of DeepSpeed 0.19, with which the tests compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from workloads.model.shards import open_tensors
from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import Damaged
from workloads.training.checkpoint import MODEL, Checkpoint, moments_name

KEYS = ("exp_avg", "exp_avg_sq")
ALIGNMENT = 2
"""Elements of a group are a multiple of this times the ranks (DeepSpeed's `nccl_start_alignment_factor`)."""


@dataclass(frozen=True, kw_only=True)
class ParameterSlice:
    """Where a parameter lies in its group."""

    group: int
    start: int
    """Element of the group, end to end."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)


class Universal:
    """A complete checkpoint, opened parameter by parameter.

    Raises:
        Damaged: a tensor is missing or has another size than the parameters ask for.
        BadInput: a layout that is not end to end, as stage 3 has it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.folder = checkpoint.folder
        if state.parameters is None:
            raise BadInput(
                f"{checkpoint.folder}: written at ZeRO stage {state.zero_stage} without the order of its parameters; "
                "allowed: a checkpoint of stages 0 to 2 that notes it; resume at "
                f"{state.world_size} ranks and stage {state.zero_stage}, and convert the next checkpoint"
                + (", at stage 2 or less" if state.zero_stage == 3 else "")
            )
        self.groups: tuple[tuple[str, ...], ...] = tuple(tuple(names) for names in state.parameters)
        self._model = open_tensors(checkpoint.folder / MODEL)
        known = set(self._model.keys())
        self.places: dict[str, ParameterSlice] = {}
        self._sizes = []
        for group, names in enumerate(self.groups):
            start = 0
            for name in names:
                if name not in known:
                    raise Damaged(f"{checkpoint.folder}: {MODEL} holds no {name}")
                place = ParameterSlice(group=group, start=start, shape=tuple(self._model.get_slice(name).get_shape()))
                self.places[name] = place
                start += place.size
            self._sizes.append(start)
        self.sharded = state.zero_stage > 0
        self._files: list[Any] = [open_tensors(checkpoint.folder / name) for name in checkpoint.parts()]
        self._names = [set(file.keys()) for file in self._files]

    @property
    def stepped(self) -> bool:
        """Whether there is any state: not before the first step that was taken."""
        return bool(self._files)

    def value(self, name: str, key: str) -> Tensor:
        """`fp32`, `exp_avg`, `exp_avg_sq` or `step` of a parameter, whole, float32.

        Raises:
            Damaged: it is not there, or of another size.
        """
        place = self.places[name]
        if key == "fp32":
            return self._whole(self._model, name)
        if not self.sharded:
            return self._whole(self._files[0], f"{name}/{key}")
        if key == "step":
            return self._whole(self._files[0], f"shard-{place.group}/step")
        pieces, own = [], f"shard-{place.group}/{key}"
        each = piece_size(self._sizes[place.group], len(self._files))
        for rank, file in enumerate(self._files):
            begin, end = max(place.start, rank * each), min(place.start + place.size, (rank + 1) * each)
            if begin < end:
                if own not in self._names[rank] or list(file.get_slice(own).get_shape()) != [each]:
                    raise Damaged(f"{self.folder}: {moments_name(rank)} holds no {own} of {each} elements")
                pieces.append(file.get_slice(own)[begin - rank * each : end - rank * each])
        return torch.cat(pieces).reshape(place.shape)

    def shard(self, group: int, key: str, rank: int, ranks: int) -> Tensor:
        """The piece of a group that `rank` of `ranks` holds, filled up with zeros."""
        each = piece_size(self._sizes[group], ranks)
        piece = torch.zeros(each)
        for name in self.groups[group]:
            place = self.places[name]
            begin, end = max(place.start, rank * each), min(place.start + place.size, (rank + 1) * each)
            if begin < end:
                part = self.value(name, key).reshape(-1)[begin - place.start : end - place.start]
                piece[begin - rank * each : end - rank * each] = part
        return piece

    def step(self, group: int) -> Tensor:
        """The number of updates that all parameters of a group have had.

        Raises:
            BadInput: they differ, which a shard cannot say.
        """
        steps = {float(self.value(name, "step")) for name in self.groups[group]}
        if len(steps) != 1:
            raise BadInput(
                f"{self.folder}: parameters of group {group} had different numbers of updates ({sorted(steps)}); "
                "allowed: one number a group, for a shard of ZeRO has one; keep --zero-stage 0"
            )
        return torch.tensor(steps.pop())

    def moments(self, rank: int, ranks: int, stage: int) -> Mapping[str, Tensor]:
        """What the optimiser's file of `rank` holds at `ranks` ranks and ZeRO stage `stage`; empty: there is none."""
        if not self.stepped or (stage == 0 and rank > 0):
            return {}
        if stage == 0:
            every = ((name, key) for name in self.places for key in (*KEYS, "step"))
            # Of their own, each: a group's step is one tensor, and safetensors holds each tensor once.
            return {f"{name}/{key}": self.value(name, key).clone() for name, key in every}
        held: dict[str, Tensor] = {}
        for group, names in enumerate(self.groups):
            if names:
                held |= {f"shard-{group}/{key}": self.shard(group, key, rank, ranks) for key in KEYS}
                held[f"shard-{group}/step"] = self.step(group)
        return held

    def _whole(self, file: Any, name: str) -> Tensor:
        try:
            value: Tensor = file.get_tensor(name)
        except Exception as error:  # safetensors has one class for everything
            raise Damaged(f"{self.folder}: holds no {name}: {error}") from error
        return value.to(torch.float32)


def piece_size(elements: int, ranks: int) -> int:
    """Elements of a group that one rank holds: equal pieces, the last one filled with zeros."""
    step = ALIGNMENT * ranks
    return -(-elements // step) * step // ranks
