"""The checkpoint's format: whole or not there, and damage is seen (design, rule 5)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from workloads.errors import BadInput
from workloads.training.checkpoint import (
    TrainingState,
    check_resumable,
    complete_checkpoints,
    configuration_digest,
    read_moments,
    read_state,
    read_weights,
    restore_samples,
    write_checkpoint,
)
from workloads.training.spikes import LossMean

STATE = TrainingState(
    step=3, loss=LossMean(mean=0.1 + 0.2, rejected=1), metrics_bytes=77, fingerprint="f" * 64, configuration="c" * 64,
    world_size=2, zero_stage=1, seconds=1.5,
)  # fmt: skip
WEIGHTS = {"a": torch.tensor([1e-30, -0.0, 3.5]), "b": torch.arange(4.0).view(2, 2)}
MOMENTS = {"a/exp_avg": torch.ones(3), "a/step": torch.tensor(3.0)}


def write(folder: Path, state: TrainingState = STATE) -> Path:
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    (samples / "step-2.mp4").write_bytes(b"video")
    return write_checkpoint(
        folder / "checkpoints",
        state,
        rank=0,
        weights=WEIGHTS,
        moments=MOMENTS,
        samples=samples,
        wait_for_all=lambda: None,
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    assert read_state(checkpoint) == STATE
    assert {name: value.tolist() for name, value in read_weights(checkpoint).items()} == {
        name: value.tolist() for name, value in WEIGHTS.items()
    }
    assert torch.equal(read_moments(checkpoint, 0)["a/exp_avg"], MOMENTS["a/exp_avg"])
    restore_samples(checkpoint, tmp_path / "restored")
    assert (tmp_path / "restored" / "step-2.mp4").read_bytes() == b"video"


def test_the_manifest_lists_every_other_file_with_its_size(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["step"] == 3
    listed = {entry["path"]: entry["size"] for entry in manifest["files"]}
    assert listed == {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != "manifest.json"}


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    assert {path.suffix for path in write(tmp_path).iterdir()} == {".safetensors", ".json", ".mp4"}


def test_only_the_two_newest_stay_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        write(tmp_path, replace(STATE, step=step))
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-10", "step-11"]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"step-10", "step-11"}


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / "manifest.json").unlink()
    assert complete_checkpoints(tmp_path / "checkpoints") == []
    with pytest.raises(BadInput, match=r"state\.json cannot be read"):
        read_state(checkpoint)


def test_remains_of_a_killed_writer_are_in_nobodys_way(tmp_path: Path) -> None:
    torn = tmp_path / "checkpoints" / ".step-3.tmp"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    assert read_weights(write(tmp_path)).keys() == WEIGHTS.keys()
    assert not torn.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_one_flipped_bit_is_refused_by_file(tmp_path: Path, name: str) -> None:
    checkpoint = write(tmp_path)
    damaged = bytearray((checkpoint / name).read_bytes())
    damaged[-1] ^= 1
    (checkpoint / name).write_bytes(bytes(damaged))
    with pytest.raises(BadInput, match=rf"{name} is not what manifest\.json lists"):
        read_weights(checkpoint) if name == "model.safetensors" else read_state(checkpoint)


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="version is 99"):
        read_state(write(tmp_path, replace(STATE, version=99)))


@pytest.mark.parametrize("other", [{"world_size": 4}, {"zero_stage": 2}, {"zero_stage": 0}])
def test_shards_are_resumed_by_the_same_ranks_and_stage_only(tmp_path: Path, other: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="written by 2 ranks at ZeRO stage 1"):
        check_resumable(tmp_path, STATE, replace(STATE, **other))  # type: ignore[arg-type]


def test_a_whole_optimiser_is_resumed_at_any_world_size(tmp_path: Path) -> None:
    whole = replace(STATE, zero_stage=0)
    check_resumable(tmp_path, whole, replace(whole, world_size=4))


def test_the_configuration_digest_sees_every_value_and_no_order() -> None:
    config = {"training": {"rate": 1e-3, "steps": 4}}
    assert configuration_digest(config, None, 0) == configuration_digest(
        {"training": {"steps": 4, "rate": 1e-3}}, None, 0
    )
    assert configuration_digest(config, None, 0) != configuration_digest(config, None, 1)
    assert configuration_digest(config, None, 0) != configuration_digest(
        {"training": {"rate": 2e-3, "steps": 4}}, None, 0
    )
