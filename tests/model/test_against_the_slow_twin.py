"""Every row at every action site against study.md computed a second time: outputs and gradients.

The twin knows no batch and no mask, and its attention multiplies a key's share by the slot's weight; so these
tests cover where each mechanism acts, in which blocks, in which direction, and that a padded batch is its samples.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from slow_compress import Seen
from slow_twin import Twin
from torch import Tensor

from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.action import SITES
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.compress import Compress
from workloads.study.memory.families import row_from

MATRIX = yaml.safe_load((Path(__file__).parents[2] / "matrix.yaml").read_text(encoding="utf-8"))
NAMES: list[str] = [name for name, row in MATRIX["memory"].items() if row["family"] != "bound"]
SHAPE = LatentShape(channels=2, height=4, width=6, frames=3, text_tokens=2, text_width=5)
BACKBONE: dict[str, Any] = {
    "width": 24,
    "blocks": 4,
    "heads": 2,
    "feed_forward": 20,
    "frequency_width": 8,
    "recurrent_every": 2,
    "grid": 2,
    "grid_tokens": 3,
}
VALID = ((8, 3), (5, 1))
"""Evidence of the two samples: what is there of the segment's own slots, and of the preceding segment's."""


def awake(row: MemoryRow, site: str) -> WorldModel:
    """Every parameter away from its start, so that nothing is hidden by a zero."""
    model = build_model(BACKBONE, {"site": site}, resolved(row), SHAPE, 0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(0.6)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.15)
    return model


def poses(batch: int, count: int, generator: torch.Generator) -> Tensor:
    """Turns over the whole circle and places within 2 m."""
    yaw = (torch.rand(batch, count, generator=generator) - 0.5) * 6
    actions = torch.zeros(batch, count, 12)
    actions[..., 0] = actions[..., 4] = yaw.cos()
    actions[..., 1], actions[..., 3] = -yaw.sin(), yaw.sin()
    actions[..., 8] = 1
    actions[..., 9:] = torch.rand(batch, count, 3, generator=generator) * 4 - 2
    return actions


def slots(counts: tuple[int, ...], generator: torch.Generator) -> Slots:
    """`counts[i]` valid slots of sample i, and noise in the missing ones."""
    most = max(counts)
    valid = torch.arange(most)[None] < torch.tensor(counts)[:, None]
    latents = torch.randn(len(counts), most, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    return Slots(latents, poses(len(counts), most, generator), valid)


def inputs(row: MemoryRow, most: int) -> tuple[dict[str, Tensor], Slots, list[Slots]]:
    generator = torch.Generator().manual_seed(1)
    size = (2, SHAPE.frames, SHAPE.channels, SHAPE.height, SHAPE.width)
    target = {
        "noisy": torch.randn(size, generator=generator),
        "sigma": torch.tensor([0.35, 0.8]),
        "actions": poses(2, SHAPE.frames, generator),
        "text": torch.randn(2, SHAPE.text_tokens, SHAPE.text_width, generator=generator),
    }
    own = slots(tuple(min(most, counts[0]) for counts in VALID), generator)
    past = slots(tuple(min(most, counts[1]) for counts in VALID), generator)
    if not row.carries_state:
        return target, own, []
    return target, replace(own, base=poses(len(VALID), 1, generator)[:, 0]), [past]


def listed(given: Slots, sample: int) -> list[Seen]:
    count = int(given.valid[sample].sum())
    return [Seen(given.latents[sample, slot].double(), given.actions[sample, slot].double()) for slot in range(count)]


def compared(row: MemoryRow, site: str) -> None:
    """Output and all gradients of the model and of its twin."""
    model = awake(row, site)
    target, own, history = inputs(row, row.evidence_frames({"frames": 8}))
    pull = torch.randn(target["noisy"].shape, generator=torch.Generator().manual_seed(2))
    out = model(**target, slots=own, history=history)
    (out * pull).sum().backward()  # type: ignore[no-untyped-call]

    parameters = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
    twin = Twin(parameters, row, site, heads=2, every=2, grid=2)
    slow = []
    for sample in range(2):
        one = {name: value[sample].double() for name, value in target.items()}
        past = [listed(h, sample) for h in history]
        base = None if own.base is None else own.base[sample].double()
        slow.append(twin.velocity(**one, evidence=listed(own, sample), history=past, base=base))
    expected = torch.stack(slow)
    torch.testing.assert_close(out.double(), expected, atol=2e-4, rtol=2e-4)
    (expected * pull).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        theirs = parameters[name].grad
        if parameter.grad is None or theirs is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            assert theirs is None or not theirs.any(), name
            continue
        error = (parameter.grad.double() - theirs).norm() / theirs.norm().clamp(min=1e-6)
        assert error < 2e-3, (name, float(error))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_computes_what_the_study_says_forward_and_backward(name: str) -> None:
    compared(row_from(MATRIX["memory"][name]).evaluated(), "pre_qkv")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", ["context-k5", "compress-hybrid-r2", "ssm-blockwise"])
def test_an_action_acts_at_its_site_for_target_memory_and_written_tokens(name: str, site: str) -> None:
    compared(row_from(MATRIX["memory"][name]).evaluated(), site)


def test_scaled_latents_compute_what_they_say() -> None:
    compared(Compress(decay=0.9, scale="latents"), "pre_qkv")
    compared(replace(Compress(decay=0.9, ratio=2, hybrid=True), scale="latents"), "pre_qkv")
