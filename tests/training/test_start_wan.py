"""`backbone.start: wan`: the shared backbone starts from the weights on this machine's `paths.wan`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file
from tiny_training import BACKBONE, CODEC, train_once, train_request, weights

from workloads.contract.request import Request
from workloads.model.weights import load_model
from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import complete_checkpoints

CHANNELS = 3 * int(CODEC["factor"]) ** 2


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of Wan's shape and the tiny training's sizes."""
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=BACKBONE["heads"],
        attention_head_dim=BACKBONE["width"] // BACKBONE["heads"],
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=int(CODEC["text_width"]),
        freq_dim=BACKBONE["frequency_width"],
        ffn_dim=BACKBONE["feed_forward"],
        num_layers=BACKBONE["blocks"],
    )
    folder = tmp_path_factory.mktemp("wan")
    model.save_pretrained(folder / "transformer")
    return folder


def request(
    folder: Path, pool: dict[str, str], paths: dict[str, str], row: str = "context-k4", **changes: Any
) -> Request:
    made = train_request(folder, pool, row, training={"sample_every": 0, "steps": 3}, how={"paths": paths}, **changes)
    config: dict[str, Any] = {**made.config, "backbone": {**BACKBONE, "start": "wan"}}
    return Request(**{**vars(made), "config": config})


def test_training_starts_from_wan_in_every_row_and_ends_in_an_ordinary_model(
    pool: dict[str, str], tmp_path: Path, wan: Path
) -> None:
    paths = {"wan": str(wan)}
    first = request(tmp_path, pool, paths)
    outcome, other = train_once(first), train_once(request(tmp_path, pool, paths, "ssm-hybrid"))
    scratch = train_once(train_request(tmp_path, pool, training={"sample_every": 0, "steps": 3}))
    assert outcome.records["initial_shared"] == other.records["initial_shared"]
    assert outcome.records["initial_shared"] != scratch.records["initial_shared"]
    model, description = load_model(Path(first.out))
    assert description["backbone"]["start"] == "wan"
    assert model.state_dict().keys() == weights(first).keys()


def test_where_the_weights_lie_and_how_they_are_cut_changes_no_bit(
    pool: dict[str, str], tmp_path: Path, wan: Path
) -> None:
    whole = request(tmp_path, pool, {"wan": str(wan)})
    [file] = (wan / "transformer").glob("*.safetensors")
    alone = request(tmp_path, pool, {"wan": str(file)})
    assert train_once(whole).records == train_once(alone).records
    left, right = weights(whole), weights(alone)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_an_interrupted_training_from_wan_ends_with_the_same_bits_and_records(
    pool: dict[str, str], tmp_path: Path, wan: Path
) -> None:
    paths = {"wan": str(wan)}
    whole, first = request(tmp_path, pool, paths), request(tmp_path, pool, paths)
    expected = train_once(whole)
    train_once(first, stop_at=0)
    [checkpoint] = complete_checkpoints(Path(first.work) / "checkpoints")
    last = request(tmp_path, pool, paths, resume=str(checkpoint))
    assert train_once(last).records == expected.records
    left, right = weights(whole), weights(last)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_machine_without_the_weights_is_told_what_to_add(pool: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"paths\.wan is not given; add to cluster/\*\.yaml under paths: wan:"):
        train_once(request(tmp_path, pool, {}))


def test_weights_of_other_sizes_are_refused_before_the_first_step(pool: dict[str, str], tmp_path: Path) -> None:
    save_file({"patch_embedding.weight": torch.zeros(4, 4)}, tmp_path / "small.safetensors")
    asked = request(tmp_path, pool, {"wan": str(tmp_path / "small.safetensors")})
    with pytest.raises(BadInput, match=r"small\.safetensors: \d+ tensors do not fit the backbone"):
        train_once(asked)
    assert list(Path(asked.out).iterdir()) == []
