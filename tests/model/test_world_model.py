"""The world model as a whole: sites, sizes, start, cost, weights on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.action import SITES
from workloads.model.cost import flops_denoise, flops_write, tokens_forward, tokens_written
from workloads.model.initial import decay_groups, decays, parameters_added
from workloads.model.shapes import LatentShape
from workloads.model.weights import load_model, save_model
from workloads.model.world_model import WorldModel, build_model
from workloads.runtime.errors import BadInput
from workloads.study.memory.families import row_from

SHAPE = LatentShape(channels=3, height=4, width=8, frames=3, text_tokens=2, text_width=5)
BACKBONE: dict[str, Any] = {
    "width": 24,
    "blocks": 3,
    "heads": 2,
    "feed_forward": 32,
    "frequency_width": 8,
    "recurrent_every": 2,
    "grid": 2,
    "grid_tokens": 3,
}
ROWS: dict[str, dict[str, Any]] = {
    "context": {"family": "context", "frames": 4},
    "pooled": {"family": "compress", "ratio": 2},
    "text": {"family": "spatial", "write": "grid", "read": "text"},
    "readout": {"family": "spatial", "write": "grid", "read": "readout"},
    "hybrid": {"family": "ssm", "kernel": 3, "expand": 2},
    "block-wise": {"family": "ssm", "tau": [1.0, 128.0], "rho": [0.1, 0.2]},
}


def plain(row: str) -> dict[str, Any]:
    return resolved(row_from(ROWS[row]))


def built(row: str = "context", site: str = "pre_qkv", seed: int = 0, **backbone: Any) -> WorldModel:
    return build_model({**BACKBONE, **backbone}, {"site": site}, plain(row), SHAPE, seed)


def inputs(batch: int = 2, slots: int = 4) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    size = (SHAPE.channels, SHAPE.height, SHAPE.width)
    return {
        "noisy": torch.randn(batch, SHAPE.frames, *size, generator=generator),
        "sigma": torch.rand(batch, generator=generator),
        "actions": torch.randn(batch, SHAPE.frames, 12, generator=generator),
        "text": torch.randn(batch, 2, 5, generator=generator),
        "slots": Slots(
            torch.randn(batch, slots, *size, generator=generator),
            torch.randn(batch, slots, 12, generator=generator),
            torch.ones(batch, slots, dtype=torch.bool),
        ),
    }


def randomised(model: WorldModel, *names: str) -> WorldModel:
    """`model` with the parameters whose name ends so drawn at random."""
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name.endswith(names):
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


def test_the_first_prediction_is_zero() -> None:
    assert not built()(**inputs()).any()


def test_all_sites_start_at_the_same_numbers() -> None:
    outs = [randomised(built(site=site), "head.out.weight")(**inputs()) for site in SITES]
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0], atol=1e-6, rtol=0)


def test_the_four_sites_compute_four_things_once_actions_are_mapped() -> None:
    names = ("head.out.weight", "action.weight", "action.gate")
    outs = [randomised(built(site=site), *names)(**inputs()) for site in SITES]
    for index, out in enumerate(outs):
        assert all((out - other).abs().max() > 1e-4 for other in outs[:index])


def site_gradients(site: str) -> list[Tensor]:
    model = randomised(built(site=site), "head.out.weight")
    (model(**inputs()) - 1).square().mean().backward()
    return [p.grad for name, p in model.named_parameters() if ".action." in name and p.grad is not None]


@pytest.mark.parametrize("site", SITES)
def test_the_action_map_receives_a_gradient_at_its_start(site: str) -> None:
    assert any(gradient.any() for gradient in site_gradients(site))


def test_a_patch_comes_back_where_it_was_cut() -> None:
    model = built()
    x = torch.arange(2 * 3 * 3 * 4 * 8, dtype=torch.float32).view(2, 3, 3, 4, 8)
    with torch.no_grad():
        model.patch_embedding.weight.copy_(torch.eye(24, 12))
        model.patch_embedding.bias.zero_()
    assert torch.equal(model._unpatched(model._embedded(x)[..., :12]), x)


def test_target_tokens_do_not_depend_on_who_computes_the_last_block() -> None:
    """The last block leaves out what nothing reads; computing everything gives the same."""
    model, given = randomised(built(blocks=1), "head.out.weight"), inputs()
    block = model._blocks()[0]
    calls: list[int] = []
    attend = block.attend

    def everything(x: Tensor, modulation: Any, actions: Tensor, table: Tensor, bias: Any, queries: int) -> Tensor:
        calls.append(queries)
        return attend(x, modulation, actions, table, bias, x.shape[1])[:, :queries]

    expected = model(**given)
    block.__dict__["attend"] = everything
    torch.testing.assert_close(model(**given), expected, atol=1e-6, rtol=0)
    assert calls == [SHAPE.frames]


def test_a_parameter_depends_on_its_name_and_the_seed_alone() -> None:
    one, other = built("context"), built("hybrid")
    added = dict(other.named_parameters())
    assert all(torch.equal(p, added[name]) for name, p in one.named_parameters())
    assert not torch.equal(one.patch_embedding.weight, built(seed=1).patch_embedding.weight)


def test_modulation_starts_with_open_gates_and_nothing_else() -> None:
    modulation = built()._blocks()[0].modulation
    assert modulation.detach()[0].mean(1).tolist() == [0, 0, 1, 0, 0, 1]


def test_a_fused_map_starts_within_the_xavier_bound_of_each_of_its_parts() -> None:
    weight = built()._blocks()[0].self_attention.qkv.weight
    bound = (6 / 48) ** 0.5
    assert 0.9 * bound < float(weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("row", ROWS)
def test_weight_decay_spares_norms_biases_modulation_gates_and_decays(row: str) -> None:
    model = built(row, site="pre_qkv_gated")
    spared = [name for name, _ in model.named_parameters() if not decays(name)]
    for name, parameter in model.named_parameters():
        vector = parameter.dim() == 1 or "modulation" in name or "norm" in name
        assert (name in spared) == vector, name
    decayed, undecayed = decay_groups(model)
    assert len(decayed) + len(undecayed) == len(list(model.parameters()))


def test_parameters_added_are_those_of_the_published_modules() -> None:
    """At d = 24 with two recurrent blocks: block-wise 3 d^2 + 7 d + 1 each, read-out 4 d^2 + 6 d + 1."""
    d = 24
    assert parameters_added(built("context")) == 0
    assert parameters_added(built("text")) == 4 * 3
    assert parameters_added(built("block-wise")) == 2 * (3 * d * d + 6 * d + 1)
    assert parameters_added(built("readout")) == 4 * 3 + 2 * (4 * d * d + 6 * d + 1)
    assert parameters_added(built("hybrid")) == 2 * (4 * d * d + 13 * d + 1)


@pytest.mark.parametrize("row", ROWS)
def test_flops_are_those_that_torch_counts(row: str) -> None:
    model, given = built(row), inputs()
    # The fused attention of a CPU is not in torch's table of operations; its plain form is.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as written:
        state = model.write(None, given["slots"], given["text"])
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        model.denoise(**given, state=state)
    # Pooling evidence and the timestep, which a write embeds once for the batch, are beside the count.
    assert flops_denoise(model, 2, 4) == pytest.approx(counted.get_total_flops(), rel=0.01)
    assert flops_write(model, 2, 4) == pytest.approx(written.get_total_flops(), rel=0.02)


def test_tokens_are_counted_with_the_memory_that_attends() -> None:
    n = 2 * 4
    assert tokens_forward(built("context"), 4) == n * 7
    assert tokens_forward(built("pooled"), 4) == n * (3 + 1 + 2)
    assert tokens_forward(built("hybrid"), 4) == n * 4
    assert tokens_written(built("hybrid"), 4) == n * 4
    assert tokens_written(built("context"), 4) == 0


def test_a_recurrence_reports_its_share_and_a_readout_its_gates() -> None:
    model = randomised(built("block-wise"), "cells.0.out.weight", "cells.2.out.weight")
    model(**inputs())
    assert model.diagnostics()["recurrence_share"] > 1e-3
    assert {"gate_0", "gate_2"} <= set(built("readout").diagnostics())
    assert built("context").diagnostics() == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 12}, r"backbone\.width is 12, a patch has 12 values"),
        ({"heads": 5}, r"backbone\.heads 5"),
        ({"frequency_width": 7}, r"backbone\.frequency_width is 7; allowed: even numbers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        built(**change)


def test_an_odd_latent_and_an_unknown_site_are_refused() -> None:
    odd = LatentShape(channels=3, height=3, width=8, frames=3, text_tokens=2, text_width=5)
    with pytest.raises(BadInput, match="3 x 8 cannot be cut into patches"):
        build_model(BACKBONE, {"site": "pre_qkv"}, plain("context"), odd, 0)
    with pytest.raises(BadInput, match="allowed: post_attention, pre_norm, pre_qkv, pre_qkv_gated"):
        built(site="pre")


def described(row: str) -> dict[str, Any]:
    empty: dict[str, Any] = {key: {} for key in ("training", "evidence", "data", "codec")}
    return {"backbone": BACKBONE, "action": {"site": "pre_qkv"}, "row": plain(row), "seed": 0, **empty}


@pytest.mark.parametrize("row", ROWS)
def test_a_saved_model_comes_back_with_the_same_bits(row: str, tmp_path: Path) -> None:
    model = randomised(built(row), "weight")
    save_model(tmp_path, model, described(row))
    loaded, description = load_model(tmp_path)
    assert description["row"] == plain(row)
    with torch.no_grad():  # torch takes other kernels where no gradient is asked for
        torch.testing.assert_close(loaded(**inputs()), model(**inputs()), atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_masked_row_runs_on_the_weights_of_the_row_that_reads(tmp_path: Path) -> None:
    model = randomised(built("text"), "head.out.weight")
    save_model(tmp_path, model, described("text"))
    masked, _ = load_model(tmp_path, {**plain("text"), "masked": True})
    given = inputs()
    alone = {**given, "slots": given["slots"].anchor()}
    assert torch.equal(masked(**given), masked(**alone))
    assert not torch.allclose(masked(**given), model(**given))


@pytest.mark.parametrize("row", ["text", "readout"])
def test_weights_from_before_mechanisms_were_made_of_parts_are_read(row: str, tmp_path: Path) -> None:
    model = randomised(built(row), "head.out.weight")
    save_model(tmp_path, model, described(row))
    path = tmp_path / "weights.safetensors"
    now = load_file(path)
    save_file({name.replace("mechanism.memory.mixing", "mechanism.mixing"): now[name] for name in now}, path)
    loaded, _ = load_model(tmp_path)
    torch.testing.assert_close(loaded(**inputs()), model(**inputs()), atol=1e-5, rtol=0)


OTHER_ROWS = {
    "another family": ("hybrid", plain("context"), 'row.family is "ssm", this job\'s is "context"'),
    "another K": ("context", {"family": "context", "frames": 20}, "row.frames is 4, this job's is 20"),
    "another ratio": ("pooled", {**plain("pooled"), "ratio": 4}, "row.ratio is 2, this job's is 4"),
    "another read-out": ("text", plain("readout"), 'row.read is "text", this job\'s is "readout"'),
}


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_weights_of_another_row_are_refused_by_field(name: str, tmp_path: Path) -> None:
    trained_as, row, said = OTHER_ROWS[name]
    save_model(tmp_path, built(trained_as), described(trained_as))
    with pytest.raises(BadInput) as caught:
        load_model(tmp_path, row)
    assert f"{tmp_path / 'model.json'}: these weights are of another row: " in str(caught.value)
    assert said in str(caught.value) and "allowed: weights that were trained for this row" in str(caught.value)


def resaved(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> str:
    """What is said of weights that were changed on disk."""
    save_model(folder, built(), described("context"))
    save_file(change(load_file(folder / "weights.safetensors")), folder / "weights.safetensors")
    with pytest.raises(BadInput) as caught:
        load_model(folder)
    return str(caught.value)


def test_weights_that_do_not_fit_their_description_are_refused_by_name(tmp_path: Path) -> None:
    said = resaved(tmp_path, lambda tensors: {**tensors, "head.out.bias": torch.zeros(3)})
    assert f"{tmp_path / 'weights.safetensors'}: 1 parameters are missing, unknown or of another shape" in said
    assert "first head.out.bias: expected (12,), found (3,)" in said


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    said = resaved(tmp_path, lambda tensors: {**tensors, "head.out.bias": torch.full((12,), torch.nan)})
    assert f"{tmp_path / 'weights.safetensors'}: the tensor head.out.bias holds 12 values that are NaN" in said


def test_truncated_weights_and_a_pickle_in_their_place_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, built(), described("context"))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match=r"weights\.safetensors: not readable as safetensors"):
        load_model(tmp_path)
    torch.save(built().state_dict(), path)
    with pytest.raises(BadInput, match=r"weights\.safetensors: is a pickle"):
        load_model(tmp_path)


def test_a_folder_without_a_readable_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model\.json: not readable"):
        load_model(tmp_path)
    save_model(tmp_path, built(), described("context"))
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "extra": 1}))
    with pytest.raises(BadInput, match="needs exactly backbone"):
        load_model(tmp_path)
    whole = json.dumps(description)
    for damaged in (b"\xff" + whole[1:].encode(), b"[" * len(whole)):
        (tmp_path / "model.json").write_bytes(damaged)
        with pytest.raises(BadInput, match=r"model\.json: not readable as JSON: .*; train this row again"):
            load_model(tmp_path)
    (tmp_path / "model.json").write_text(whole)
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="not readable as safetensors"):
        load_model(tmp_path)


def test_an_incomplete_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing or unknown: codec"):
        save_model(tmp_path, built(), {key: value for key, value in described("context").items() if key != "codec"})
