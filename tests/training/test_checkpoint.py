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


ASKED = {
    "action": {"site": "pre_qkv"}, "row": {"family": "ssm", "tau": [1.0, 128.0]}, "seed": 0, "shape": {"height": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": {"height": 8}}, r"shape\.height is 4, this job's is 8"),
        ({"row": {"family": "context", "frames": 20}}, r'row\.family is "ssm", .*; row\.frames is absent, .* is 20'),
        ({"action": {"site": "pre_norm"}}, r'action\.site is "pre_qkv", this job\'s is "pre_norm"'),
    ],
)
def test_what_was_asked_is_compared_field_by_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=rf"state\.json: {said}"):
        check_resumable(tmp_path, replace(STATE, asked=ASKED), replace(STATE, asked={**ASKED, **change}))


def test_many_differences_are_counted(tmp_path: Path) -> None:
    old, new = ({"training": dict.fromkeys("abcde", value)} for value in (1, 2))
    with pytest.raises(BadInput, match=r"training\.c is 1, this job's is 2; and 2 more; allowed"):
        check_resumable(tmp_path, replace(STATE, asked=old), replace(STATE, asked=new))


def test_what_was_asked_comes_back_and_tuples_are_the_lists_that_they_are_written_as(tmp_path: Path) -> None:
    state = read_state(write(tmp_path, replace(STATE, asked=ASKED)))
    pairs = {**ASKED, "row": {"family": "ssm", "tau": (1.0, 128.0)}}
    check_resumable(tmp_path, state, replace(STATE, asked=pairs))


def test_a_checkpoint_that_knows_only_its_digest_is_compared_by_it(tmp_path: Path) -> None:
    check_resumable(tmp_path, STATE, replace(STATE, asked=ASKED))
    with pytest.raises(BadInput, match="configuration is cccccccccccc, this job's is dddddddddddd"):
        check_resumable(tmp_path, STATE, replace(STATE, asked=ASKED, configuration="d" * 64))


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
