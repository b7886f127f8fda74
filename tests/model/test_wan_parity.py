"""Same weights in, same numbers out as diffusers' WanTransformer3DModel (study.md section 4)."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from tiny_wan import Case, given, original, ours, save, theirs

from workloads.model.wan import gathered, load_wan, wan_sources

TOLERANCE = 1e-4

CASES = {
    "odd grid, three frames": Case(),
    "one frame of one row": Case(frames=1, rows=1, columns=4),
    "many frames": Case(frames=7, rows=2, columns=3, blocks=1),
    "three samples, head of 28 (12, 8, 8)": Case(width=56, heads=2, batch=3, rows=5, columns=3, blocks=3),
    "head of 128, as in Wan": Case(width=256, heads=2, feed_forward=300, channels=16, frequency_width=256, batch=1),
}


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("name", CASES)
def test_output_and_gradients_are_those_of_diffusers(name: str, layout: str, tmp_path: Path) -> None:
    case = CASES[name]
    peer, model, inputs = theirs(case), ours(case), given(case)
    state = dict(peer.state_dict())
    load_wan(model, str(save(tmp_path, state if layout == "diffusers" else original(state))))

    v = model(**inputs.ours())
    expected = peer(**inputs.theirs()).sample[:, :, : case.frames].transpose(1, 2)
    assert expected.abs().max() > 1
    assert (v - expected).abs().max() <= TOLERANCE

    weights = torch.randn(v.shape, generator=torch.Generator().manual_seed(3)) / v.numel() ** 0.5
    (v * weights).sum().backward()
    (expected * weights).sum().backward()
    gradients = {key: parameter.grad for key, parameter in peer.named_parameters()}
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())
    found = dict(model.named_parameters())
    for ours_, parts in gathered(wan_sources(model, "diffusers"), lambda key: gradients[key]):
        gradient = found[ours_].grad
        assert gradient is not None
        assert (gradient - torch.cat([part.reshape(-1) for part in parts]).view_as(gradient)).abs().max() <= TOLERANCE


def test_every_parameter_but_actions_and_memory_comes_from_wan_and_every_tensor_is_used_once() -> None:
    case = Case()
    model, state = ours(case, {"family": "ssm", "kernel": 3, "expand": 2}), theirs(case).state_dict()
    sources = wan_sources(model, "diffusers")
    rest = {name for name, _ in model.named_parameters()} - sources.keys()
    assert all(name.startswith("mechanism.") or ".action." in name for name in rest)
    keys = [key for source in sources.values() for key in source.keys]
    assert len(set(keys)) == len(keys)
    assert set(keys) == state.keys()


def test_the_original_names_of_these_tests_are_those_that_diffusers_converts() -> None:
    state = dict(theirs(Case()).state_dict())
    back = convert_wan_transformer_to_diffusers(original(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
