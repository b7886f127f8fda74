"""Every row of matrix.yaml, and the mechanisms of the tutorial, at toy size: models, evidence, targets."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from own_study import own_matrix
from torch import Tensor

from orchestrator.spec.load import load_matrix
from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.base import MemoryRow

ROWS: dict[str, MemoryRow] = {
    name: row
    for name, row in load_matrix(own_matrix()).rows.items()
    if isinstance(row, MemoryRow) and not row.reference and not row.init_stream  # an A/A row is another row again
}
NAMES = list(ROWS)
STATEFUL = [name for name, row in ROWS.items() if row.carries_state]
SHAPE = LatentShape(channels=3, height=4, width=4, frames=3, text_tokens=2, text_width=5)
BACKBONE = {
    "width": 24,
    "blocks": 4,
    "heads": 2,
    "feed_forward": 32,
    "frequency_width": 8,
    "recurrent_every": 2,
    "grid": 2,
    "grid_tokens": 3,
}


def each(names: Sequence[str]) -> list[Any]:
    """Rows as parameters of a test. A control without yaw is its row with one input zeroed: not in the fast lane."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name.endswith("-noyaw") else []) for name in names]


BATCH = 2
SLOTS = 9
BLOCKS = 2  # recurrent ones: 0 and 2


def rows_named(name: str) -> MemoryRow:
    return ROWS[name].trained()


def slots_of(row: MemoryRow) -> int:
    return min(SLOTS, row.evidence_frames({"frames": SLOTS}))


def toy(row: MemoryRow, seed: int = 0, **backbone: int) -> WorldModel:
    return build_model({**BACKBONE, **backbone}, {"site": "pre_qkv"}, resolved(row), SHAPE, seed).eval()


def awake(row: MemoryRow, **backbone: int) -> WorldModel:
    """The row with gates at 0.5 and what starts at zero drawn at random."""
    return woken(toy(row, **backbone))


def woken(model: WorldModel) -> WorldModel:
    """The model with gates at 0.5 and what starts at zero drawn at random."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(0.5)
            elif not parameter.any():
                parameter.normal_(0, 0.2, generator=generator)
    return model


def turns(yaw: Tensor) -> Tensor:
    """Poses (..., 12) of cameras that turned by `yaw` on the spot."""
    actions = torch.zeros(*yaw.shape, 12)
    actions[..., 0] = actions[..., 4] = yaw.cos()
    actions[..., 1], actions[..., 3] = -yaw.sin(), yaw.sin()
    actions[..., 8] = 1
    return actions


def evidence(count: int, seed: int = 0, missing: tuple[int, ...] = ()) -> Slots:
    generator = torch.Generator().manual_seed(seed)
    actions = turns(torch.rand(BATCH, count, generator=generator) - 0.5)
    valid = torch.ones(BATCH, count, dtype=torch.bool)
    for sample, lost in enumerate(missing):
        valid[sample, max(1, count - lost) :] = False
    latents = torch.randn(BATCH, count, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    return Slots(latents, actions, valid)


def target(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (BATCH, SHAPE.frames, SHAPE.channels, SHAPE.height, SHAPE.width)
    actions = turns(4 * torch.rand(BATCH, SHAPE.frames, generator=generator) - 2)
    actions[..., 9:] = torch.randn(BATCH, SHAPE.frames, 3, generator=generator)
    return {
        "noisy": torch.randn(size, generator=generator),
        "sigma": torch.tensor([0.3, 0.9])[:BATCH],
        "actions": actions,
        "text": torch.randn(BATCH, SHAPE.text_tokens, SHAPE.text_width, generator=generator),
    }


def history_of(row: MemoryRow) -> list[Slots]:
    return [evidence(slots_of(row), seed=7, missing=(0, 3))] if row.carries_state else []


def changed(slots: Slots, index: int, sample: int | None = None) -> Slots:
    latents, actions = slots.latents.clone(), slots.actions.clone()
    where = slice(None) if sample is None else sample
    latents[where, index] += 1
    actions[where, index, 9:] += 1
    return replace(slots, latents=latents, actions=actions)
