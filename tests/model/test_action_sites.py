"""The four sites of the action: identity at the start, what learns first, and whose tokens it meets."""

from typing import Any

import pytest
import torch

from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.action import SITES, ActionMap
from workloads.model.initial import initialise
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.context import Context
from workloads.study.memory.ssm import Ssm

SHAPE = LatentShape(channels=2, height=4, width=4, frames=3, text_tokens=2, text_width=5)
BACKBONE: dict[str, Any] = {
    "width": 24, "blocks": 3, "heads": 2, "feed_forward": 16, "frequency_width": 8, "recurrent_every": 2,
}  # fmt: skip
UNGATED = [site for site in SITES if site != "pre_qkv_gated"]


def model_at(site: str, row: Any = None) -> WorldModel:
    """The true start, but for a head that says something."""
    model = build_model(BACKBONE, {"site": site}, resolved(row or Context(frames=4)), SHAPE, 0)
    with torch.no_grad():
        model.head.out.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(9))
    return model


def inputs(seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    size = (SHAPE.channels, SHAPE.height, SHAPE.width)
    return {
        "noisy": torch.randn(2, SHAPE.frames, *size, generator=generator),
        "sigma": torch.tensor([0.3, 0.9]),
        "actions": torch.randn(2, SHAPE.frames, 12, generator=generator),
        "text": torch.randn(2, 2, 5, generator=generator),
        "slots": Slots(
            torch.randn(2, 4, *size, generator=generator),
            torch.randn(2, 4, 12, generator=generator),
            torch.ones(2, 4, dtype=torch.bool),
        ),
    }


def without_action(model: WorldModel) -> WorldModel:
    """No site at all: a block of another site adds the action nowhere."""
    for block in model._blocks():
        block.site = "none"
    return model


@pytest.mark.parametrize("row", [Context(frames=4), Ssm(tau=(1.0, 128.0), rho=(0.1, 0.2))])
@pytest.mark.parametrize("site", SITES)
def test_every_site_starts_as_no_action_at_all_bit_for_bit(site: str, row: Any) -> None:
    with torch.no_grad():
        assert torch.equal(model_at(site, row)(**inputs()), without_action(model_at(site, row))(**inputs()))


def test_all_sites_start_from_the_same_numbers_bit_for_bit() -> None:
    first, *others = [model_at(site)(**inputs()) for site in SITES]
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("site", UNGATED)
def test_an_ungated_map_starts_at_zero_and_learns_at_once(site: str) -> None:
    model = model_at(site)
    (model(**inputs()) - 1).square().mean().backward()
    for block in model._blocks():
        assert not block.action.weight.any() and not block.action.bias.any() and block.action.gate is None
        assert block.action.weight.grad is not None and block.action.weight.grad.any()
        assert block.action.bias.grad is not None and block.action.bias.grad.any()


def test_the_gated_map_is_drawn_and_its_gate_learns_first_then_both() -> None:
    model = model_at("pre_qkv_gated")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(**inputs()) - 1).square().mean().backward()
    for block in model._blocks():
        action = block.action
        assert action.gate is not None and action.weight.any() and not action.gate.any()
        assert action.weight.grad is not None and not action.weight.grad.any()
        assert action.gate.grad is not None and action.gate.grad.any()
    optimiser.step()
    optimiser.zero_grad()
    (model(**inputs()) - 1).square().mean().backward()
    for block in model._blocks():
        for parameter in block.action.parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


def test_the_gated_map_is_drawn_with_a_deviation_of_2_in_100() -> None:
    action = ActionMap(1536, "pre_qkv_gated")
    initialise(action, 0)
    assert float(action.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(action.weight.detach().mean())) < 5e-4
    assert not action.bias.any()


def mapped(site: str, row: Any = None) -> WorldModel:
    model = model_at(site, row)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if ".action." in name or name.endswith("out.weight"):
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


@pytest.mark.parametrize("site", SITES)
def test_the_pose_of_a_memory_token_is_mapped_like_that_of_a_target_token(site: str) -> None:
    """Frames and poses of target and memory go through one map: what a block adds depends on the pose alone."""
    action, poses = mapped(site)._blocks()[0].action, torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(1))
    added = action(poses)
    assert added.shape == (1, 5, 1, 24)
    assert torch.equal(action(poses.flip(1)), added.flip(1))


@pytest.mark.parametrize("site", SITES)
def test_the_pose_of_an_evidence_frame_reaches_the_target_only_where_its_tokens_are_read(site: str) -> None:
    given = inputs()
    moved = given["slots"].actions.clone()
    moved[:, 2, 9:] += 1
    other = {**given, "slots": Slots(given["slots"].latents, moved, given["slots"].valid)}
    with torch.no_grad():
        for frames, changes in ((4, True), (1, False)):
            model = mapped(site, Context(frames=frames))
            if frames == 1:
                one, two = ({**x, "slots": x["slots"].anchor()} for x in (given, other))
            else:
                one, two = given, other
            assert torch.equal(model(**one), model(**two)) is not changes
        state_row = mapped(site, Ssm(tau=(1.0, 128.0), rho=(0.1, 0.2)))
        assert not torch.equal(state_row(**given), state_row(**other))
