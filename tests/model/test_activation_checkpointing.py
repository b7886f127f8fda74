"""Activation checkpointing: less is kept, nothing else changes (issue: memory at scale)."""

from typing import Any

import pytest
import torch
from torch import Tensor

from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.families import row_from

SHAPE = LatentShape(channels=3, height=4, width=8, frames=3, text_tokens=2, text_width=5)
BACKBONE: dict[str, Any] = {
    "width": 24, "blocks": 4, "heads": 2, "feed_forward": 48, "frequency_width": 8, "recurrent_every": 2, "grid": 2,
    "grid_tokens": 3,
}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "context-k1": {"family": "context", "frames": 1},
    "context-k4": {"family": "context", "frames": 4},
    "weight": {"family": "compress", "decay": 0.9},
    "hybrid": {"family": "compress", "decay": 0.9, "ratio": 2, "hybrid": True},
    "text": {"family": "spatial", "write": "grid", "read": "text"},
    "readout": {"family": "spatial", "write": "grid", "read": "readout"},
    "ssm-hybrid": {"family": "ssm", "kernel": 3, "expand": 2},
    "ssm-blockwise": {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2]},
}

ADDRESSED: dict[str, dict[str, Any]] = {
    "context-bearing": {"family": "context", "frames": 4, "address": "bearing"},
    "context-ray": {"family": "context", "frames": 4, "address": "ray"},
    "cells-text": {"family": "spatial", "write": "cells", "read": "text", "address": "bearing"},
    "cells-readout": {"family": "spatial", "write": "cells", "read": "readout", "address": "bearing"},
    "blockwise-place": {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2], "address": "place"},
    "hybrid-place": {"family": "ssm", "kernel": 3, "expand": 2, "address": "place"},
    "delta-bearing": {"family": "ssm", "state": "delta", "tau": [16.0, 128.0], "address": "bearing"},
    "matrix-learned": {"family": "ssm", "state": "matrix", "tau": [16.0, 128.0], "address": "learned"},
}


def model_of(row: str) -> WorldModel:
    """A model with every gate open and every zero replaced, so that each parameter matters."""
    model = build_model(BACKBONE, {"site": "pre_qkv"}, resolved(row_from((ROWS | ADDRESSED)[row])), SHAPE, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def inputs(row: str) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    frames = 1 if row == "context-k1" else 4

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def slots() -> Slots:
        valid = torch.ones(2, frames, dtype=torch.bool)
        valid[0, 2:] = False  # one sample with missing slots
        return Slots(random(2, frames, 3, 4, 8), random(2, frames, 12), valid)

    return {
        "noisy": random(2, 3, 3, 4, 8), "sigma": torch.rand(2, generator=generator), "actions": random(2, 3, 12),
        "text": random(2, 2, 5), "slots": slots(), "history": [slots()],
    }  # fmt: skip


def saved_bytes(model: WorldModel, given: dict[str, Any]) -> int:
    """Bytes that autograd holds between forward and backward, parameters apart; storages are counted once."""
    held: dict[int, Tensor] = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in parameters:
            held[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**given).square().mean()
    total = sum(tensor.untyped_storage().nbytes() for tensor in held.values())
    loss.backward()
    return total


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", ROWS | ADDRESSED)
def test_recomputing_gives_the_same_bits_in_loss_and_every_gradient(row: str, precision: torch.dtype) -> None:
    found = []
    for checkpointed in (False, True):
        model = model_of(row)
        model.checkpointed = checkpointed
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = model(**inputs(row)).square().mean()
        loss.backward()
        found.append((loss.detach(), {name: p.grad for name, p in model.named_parameters()}))
    (kept, kept_gradients), (again, again_gradients) = found
    assert torch.equal(kept, again)
    for name, gradient in kept_gradients.items():
        other = again_gradients[name]
        assert (gradient is None) == (other is None), name
        assert gradient is None or other is None or torch.equal(gradient, other), name


@pytest.mark.parametrize("row", ROWS)
def test_recomputing_keeps_less_than_half(row: str) -> None:
    model, given = model_of(row), inputs(row)
    kept = saved_bytes(model, given)
    model.checkpointed = True
    assert saved_bytes(model, given) < 0.5 * kept


def test_without_gradients_nothing_is_recomputed() -> None:
    model, given = model_of("ssm-blockwise"), inputs("ssm-blockwise")
    with torch.no_grad():
        expected = model(**given)
        model.checkpointed = True
        assert torch.equal(model(**given), expected)
