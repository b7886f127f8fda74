"""The checkpoint's format: whole or not there, and damage is seen (design, rule 5)."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import Damaged, complete_checkpoints
from workloads.training.checkpoint import (
    Checkpoint,
    TrainingState,
    check_resumable,
    configuration_digest,
    write_checkpoint,
)
from workloads.training.spikes import LossMean

STATE = TrainingState(
    step=3, loss=LossMean(mean=0.1 + 0.2, rejected=1), metrics_bytes=77, fingerprint="f" * 64, configuration="c" * 64,
    world_size=2, zero_stage=1, seconds=1.5,
)  # fmt: skip
WEIGHTS = {"a": torch.tensor([1e-30, -0.0, 3.5]), "b": torch.arange(4.0).view(2, 2)}
METRICS = b'{"step":3}\n' * 7
MOMENTS = {"a/exp_avg": torch.ones(3), "a/step": torch.tensor(3.0)}


def write(folder: Path, state: TrainingState = STATE) -> Path:
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    (samples / "step-2.mp4").write_bytes(b"video")
    (folder / "metrics.jsonl").write_bytes(METRICS + b"not of this step")
    return write_checkpoint(
        folder / "checkpoints",
        state,
        rank=0,
        weights=WEIGHTS,
        moments=MOMENTS,
        metrics=folder / "metrics.jsonl",
        samples=samples,
        wait_for_all=lambda: None,
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    found = Checkpoint.open(checkpoint)
    assert found.state == STATE
    assert {name: value.tolist() for name, value in found.weights().items()} == {
        name: value.tolist() for name, value in WEIGHTS.items()
    }
    assert torch.equal(found.moments(0)["a/exp_avg"], MOMENTS["a/exp_avg"])
    assert found.moments(1) == {}
    assert found.metrics.read_bytes() == METRICS
    found.restore_samples(tmp_path / "restored")
    assert (tmp_path / "restored" / "step-2.mp4").read_bytes() == b"video"


def test_the_manifest_lists_every_other_file_with_its_size(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["step"] == 3
    listed = {entry["path"]: entry["size"] for entry in manifest["files"]}
    assert listed == {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != "manifest.json"}


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    assert {path.suffix for path in write(tmp_path).iterdir()} == {".safetensors", ".json", ".jsonl", ".mp4"}


def test_only_the_two_newest_stay_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        write(tmp_path, replace(STATE, step=step))
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-10", "step-11"]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"step-10", "step-11"}


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / "manifest.json").unlink()
    assert complete_checkpoints(tmp_path / "checkpoints") == []
    with pytest.raises(Damaged, match=r"step-3: manifest\.json cannot be read"):
        Checkpoint.open(checkpoint)


def test_remains_of_a_killed_writer_are_in_nobodys_way(tmp_path: Path) -> None:
    torn = tmp_path / "checkpoints" / ".step-3.tmp"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    assert Checkpoint.open(write(tmp_path)).weights().keys() == WEIGHTS.keys()
    assert not torn.exists()


FILES = ["model.safetensors", "state.json", "optimizer-rank0.safetensors", "metrics.jsonl", "step-2.mp4"]


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_seen_in_whatever_file(tmp_path: Path, name: str) -> None:
    checkpoint = write(tmp_path)
    damaged = bytearray((checkpoint / name).read_bytes())
    damaged[-1] ^= 1
    (checkpoint / name).write_bytes(bytes(damaged))
    with pytest.raises(Damaged, match=rf"step-3: {name} is not what manifest\.json lists"):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_or_gone_is_seen(tmp_path: Path, name: str) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:-1])
    with pytest.raises(Damaged, match=rf"{name} is not what manifest\.json lists"):
        Checkpoint.open(checkpoint)
    (checkpoint / name).unlink()
    with pytest.raises(Damaged, match=rf"{name} cannot be read: No such file"):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('{"step": 3, "fil', r"cannot be read: ValueError\(.*not JSON"),
        ("[" * 100_000, r"cannot be read: ValueError\(.*nested too deep"),
        ('{"step": 3}', r"cannot be read: KeyError\('files'\)"),
        ('{"step": 4, "files": []}', r"is that of step 4"),
        ('{"step": 3, "files": [{"path": "../other"}]}', r"names '\.\./other', which is outside"),
        ('{"step": 3, "files": []}', r"state\.json is not listed"),
        ('{"step": 1e999, "files": []}', r"cannot be read: OverflowError"),
        ('{"step": 3, "files": [{"path": "a\\u0000b"}]}', r"names 'a\\x00b', which is outside"),
    ],
)
def test_a_manifest_that_is_none_is_seen(tmp_path: Path, manifest: str, said: str) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(Damaged, match=said):
        Checkpoint.open(checkpoint)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    checkpoint = write(tmp_path)
    path = checkpoint / "metrics.jsonl"
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(Damaged, match=r"step-3: metrics\.jsonl is not a regular file"):
        Checkpoint.open(checkpoint)


def test_another_rank_answers_for_its_own_part_alone(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    assert Checkpoint.open(checkpoint, rank=1).state == STATE


def test_metrics_that_are_shorter_than_they_were_are_seen(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"metrics\.jsonl: is shorter than the 1000 bytes"):
        write(tmp_path, replace(STATE, metrics_bytes=1000))


def without_metrics(folder: Path) -> Path:
    """A checkpoint as earlier code wrote it: its metrics are those of the attempt."""
    checkpoint = write(folder)
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"] = [entry for entry in manifest["files"] if entry["path"] != "metrics.jsonl"]
    (checkpoint / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (checkpoint / "metrics.jsonl").unlink()
    return checkpoint


def test_a_checkpoint_without_metrics_of_its_own_has_those_of_its_attempt(tmp_path: Path) -> None:
    checkpoint = without_metrics(tmp_path)
    assert Checkpoint.open(checkpoint).metrics.read_bytes().startswith(METRICS)
    (tmp_path / "metrics.jsonl").write_bytes(METRICS[:-1])
    with pytest.raises(Damaged, match=r"metrics\.jsonl: is shorter than the 77 bytes that .*step-3 records"):
        Checkpoint.open(checkpoint)


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="version is 99"):
        Checkpoint.open(write(tmp_path, replace(STATE, version=99)))


@pytest.mark.parametrize("other", [{"world_size": 4}, {"zero_stage": 2}, {"zero_stage": 0}])
def test_shards_are_resumed_by_the_same_ranks_and_stage_only(tmp_path: Path, other: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="written by 2 ranks at ZeRO stage 1") as refused:
        check_resumable(tmp_path, STATE, replace(STATE, **other))  # type: ignore[arg-type]
    ranks, stage = other.get("world_size", 2), other.get("zero_stage", 1)
    assert f"`echo-matrix reshard JOB --ranks {ranks} --zero-stage {stage}`" in str(refused.value)
    by_hand = f"`python -m workloads.training.reshard {tmp_path} --ranks {ranks} --zero-stage {stage} --out FOLDER`"
    assert by_hand in str(refused.value)


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
    state = Checkpoint.open(write(tmp_path, replace(STATE, asked=ASKED))).state
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
