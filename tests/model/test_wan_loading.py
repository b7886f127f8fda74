"""Reading Wan 2.1's weights: every way a file can be wrong is said by name, and nothing is written or unpickled."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_wan import Case, original, ours, save, theirs
from torch import Tensor

from workloads.model.initial import initial_shared_digest
from workloads.model.shards import Shards
from workloads.model.wan import load_wan
from workloads.model.world_model import WorldModel
from workloads.runtime.errors import BadInput

CASE = Case(blocks=1)
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return {name: value.detach() for name, value in theirs(CASE).state_dict().items()}


def loaded(path: Path) -> WorldModel:
    model = ours(CASE)
    load_wan(model, str(path))
    return model


def digest(path: Path) -> str:
    return initial_shared_digest(loaded(path))


def refusal(path: Path | None) -> str:
    with pytest.raises(BadInput) as caught:
        load_wan(ours(CASE), None if path is None else str(path))
    return str(caught.value)


def test_every_way_to_lay_the_same_weights_down_gives_the_same_bits(state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = save(tmp_path / "whole", state)
    expected = digest(whole)
    assert digest(whole / FILE) == expected
    assert digest(save(tmp_path / "original", original(state))) == expected
    assert digest(save(tmp_path / "sharded", state, 3)) == expected
    assert digest(save(tmp_path / "without-index", original(state), 2, index=False)) == expected
    save(tmp_path / "pipeline" / "transformer", state)
    assert digest(tmp_path / "pipeline") == expected
    assert initial_shared_digest(ours(CASE)) != expected


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_to_float32(state: dict[str, Tensor], tmp_path: Path, kind: torch.dtype) -> None:
    model = loaded(save(tmp_path, {name: value.to(kind) for name, value in state.items()}))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    key_value = model._blocks()[0].text_attention.key_value.weight
    value = state["blocks.0.attn2.to_v.weight"].to(kind).float()
    assert torch.equal(key_value[CASE.width :], value)


def test_actions_and_memory_keep_their_own_start_and_files_stay_as_they_are(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = save(tmp_path, state, 2)
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    row = {"family": "ssm", "kernel": 3, "expand": 2}
    scratch, model = ours(CASE, row, "pre_qkv_gated"), ours(CASE, row, "pre_qkv_gated")
    load_wan(model, str(folder))
    start = dict(scratch.named_parameters())
    for name, parameter in model.named_parameters():
        own = name.startswith("mechanism.") or ".action." in name
        assert torch.equal(parameter, start[name]) == own, name
    assert before == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert initial_shared_digest(loaded(folder)) != initial_shared_digest(scratch)


def test_a_path_that_is_not_given_or_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert "start is wan, but this machine's paths.wan is not given; add to cluster/*.yaml" in refusal(None)
    assert f"{tmp_path / 'nowhere'}: does not exist; allowed: a .safetensors file, or a folder" in refusal(
        tmp_path / "nowhere"
    )
    assert f"{tmp_path}: holds no diffusion_pytorch_model*.safetensors; fetch" in refusal(tmp_path)


def test_missing_unknown_and_misshapen_tensors_are_named_with_their_file_and_counted(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = dict(state)
    del changed["blocks.0.attn1.to_q.bias"]
    changed["blocks.0.attn1.added.weight"] = torch.zeros(2)
    changed["blocks.0.attn1.norm_k.weight"] = torch.ones(CASE.width + 1)
    changed["proj_out.bias"] = torch.zeros(3)
    changed["proj_out.weight"] = state["proj_out.weight"].to(torch.float64)
    said = refusal(save(tmp_path, changed))
    assert f"{tmp_path}: 5 tensors do not fit the backbone (names of the diffusers layout)" in said
    assert f"blocks.0.attn1.added.weight in {FILE} is unknown" in said
    assert f"blocks.0.attn1.norm_k.weight in {FILE} has the shape (97,) and not (96,)" in said
    assert "blocks.0.attn1.to_q.bias is missing" in said
    assert "and 2 more; allowed: weights of Wan 2.1 text-to-video with 1 blocks of width 96" in said


def test_the_original_layout_is_recognised_by_its_names_also_when_it_does_not_fit(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = original(state)
    changed["img_emb.proj.0.weight"] = torch.zeros(2)
    said = refusal(save(tmp_path, changed))
    assert f"1 tensors do not fit the backbone (names of the original layout): img_emb.proj.0.weight in {FILE}" in said


def test_weights_of_another_depth_or_of_a_smaller_float_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    deeper = save(tmp_path / "deeper", dict(theirs(Case(blocks=2)).state_dict()))
    assert "27 tensors do not fit the backbone" in refusal(deeper)
    eight = {name: value.to(torch.float8_e4m3fn) if name.endswith("weight") else value for name, value in state.items()}
    assert "holds F8_E4M3 and not F32, F16, BF16" in refusal(save(tmp_path / "eight", eight))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_by_file_and_tensor(
    state: dict[str, Tensor], tmp_path: Path, value: float
) -> None:
    bad = state["blocks.0.ffn.net.2.weight"].clone()
    bad[3, 4] = value
    said = refusal(save(tmp_path, {**state, "blocks.0.ffn.net.2.weight": bad}))
    assert f"{tmp_path / FILE}: the tensor blocks.0.ffn.net.2.weight holds 1 values that are NaN or infinite" in said


def test_large_finite_values_are_not_taken_for_infinite_ones(state: dict[str, Tensor], tmp_path: Path) -> None:
    large = torch.full_like(state["blocks.0.ffn.net.2.weight"], 3e38)  # their sum overflows
    assert loaded(save(tmp_path, {**state, "blocks.0.ffn.net.2.weight": large}))


def test_a_truncated_file_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = save(tmp_path, state) / FILE
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: not readable as safetensors" in refusal(tmp_path)
    path.write_bytes(b"")
    assert f"{path}: not readable as safetensors" in refusal(tmp_path)


def test_a_pickle_is_refused_whatever_its_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    pickle = tmp_path / "diffusion_pytorch_model.bin"
    torch.save(state, pickle)
    assert f"{pickle}: is a pickle, which can run code when it is read; allowed: safetensors" in refusal(pickle)
    assert f"{tmp_path}: holds no diffusion_pytorch_model*.safetensors but the pickle {pickle.name}" in refusal(
        tmp_path
    )
    disguised = pickle.rename(tmp_path / FILE)
    assert f"{disguised}: is a pickle" in refusal(tmp_path)
    torch.save(state, disguised, _use_new_zipfile_serialization=False)
    assert f"{disguised}: is a pickle" in refusal(tmp_path)


def test_a_shard_that_is_missing_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = save(tmp_path, state, 3)
    second = folder / "diffusion_pytorch_model-00002-of-00003.safetensors"
    second.unlink()
    assert f"{second}: cannot be read: No such file" in refusal(folder)
    (folder / f"{FILE}.index.json").unlink()
    assert "holds 2 shards of 3: diffusion_pytorch_model-00001-of-00003.safetensors, " in refusal(folder)


def test_an_index_that_does_not_agree_with_its_shards_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = save(tmp_path, state, 2)
    index = folder / f"{FILE}.index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))
    first = "diffusion_pytorch_model-00001-of-00002.safetensors"
    moved = next(name for name, file in listed["weight_map"].items() if file != first)
    index.write_text(json.dumps({"weight_map": {**listed["weight_map"], moved: first}}), encoding="utf-8")
    assert f"{index}: lists {moved} in {first}, which does not hold it (1 such tensors)" in refusal(folder)
    outside = {**listed["weight_map"], moved: "../elsewhere.safetensors"}
    index.write_text(json.dumps({"weight_map": outside}), encoding="utf-8")
    assert f"{index}: weight_map names '../elsewhere.safetensors'; allowed: names of files beside it" in refusal(folder)
    index.write_text("[]", encoding="utf-8")
    assert f"{index}: has no readable weight_map" in refusal(folder)


def test_a_tensor_in_two_shards_and_a_whole_file_among_shards_are_refused(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = save(tmp_path, state, 2, index=False)
    second = folder / "diffusion_pytorch_model-00002-of-00002.safetensors"
    save_file(state, second)
    assert f"{second}: the tensor " in refusal(folder) and "is also in diffusion_pytorch_model-00001" in refusal(folder)
    save(folder, state)
    assert f"{folder}: holds diffusion_pytorch_model.safetensors and numbered shards of it" in refusal(folder)


def test_other_files_of_the_original_repository_are_left_alone(state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = save(tmp_path, original(state))
    torch.save({}, folder / "Wan2.1_VAE.pth")
    (folder / "diffusion_pytorch_model_notes.safetensors").write_bytes(b"not weights")
    assert Shards.open(folder, "diffusion_pytorch_model").entries.keys() == original(state).keys()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_attention_heads": 8}, "num_attention_heads is 8, the backbone's is 4"),
        ({"num_heads": 12}, "num_heads is 12, the backbone's is 4"),
        ({"eps": 1e-5}, "eps is 1e-05, the backbone's is 1e-06"),
        ({"patch_size": [2, 2, 2]}, r"patch_size is [2, 2, 2], the backbone's is [1, 2, 2]"),
        ({"qk_norm": None}, "qk_norm is None, the backbone's is 'rms_norm_across_heads'"),
    ],
)
def test_what_no_shape_shows_is_read_from_config_json(
    state: dict[str, Tensor], tmp_path: Path, config: dict[str, object], message: str
) -> None:
    folder = save(tmp_path, state)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert f"{folder / 'config.json'}: {message}; allowed: the same" in refusal(folder)


def test_the_config_of_the_same_model_passes_in_both_layouts(state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = save(tmp_path / "own", original(state))
    config = {"model_type": "t2v", "num_heads": 4, "eps": 1e-06, "dim": 96, "qk_norm": True, "text_len": 512}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs(CASE).save_pretrained(tmp_path / "pretrained")
    assert digest(folder) == digest(tmp_path / "pretrained")
