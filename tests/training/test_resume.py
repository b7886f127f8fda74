"""A damaged checkpoint costs the steps since the one before it, never the job; the log says so (design, rule 5)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_ranks import train_by_two
from tiny_training import metrics, train_once, train_request, weights, zero

from workloads.contract.request import Request
from workloads.runtime.errors import BadInput
from workloads.runtime.step_folders import entry

Pool = dict[str, str]
TRAINING = {"sample_every": 4, "steps": 6}
EVERY_STEP = {"checkpoint_every_s": 0.0}


def checkpoint(request: Request, step: int) -> Path:
    return Path(request.work) / "checkpoints" / f"step-{step}"


def flip(file: Path) -> None:
    """Change one bit; the size stays."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


@pytest.fixture(scope="module")
def whole(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Request:
    request = train_request(tmp_path_factory.mktemp("whole"), pool, training=TRAINING)
    train_once(request)
    return request


def stopped_after_four(folder: Path, pool: Pool) -> Request:
    """A training that was stopped after step 4, with checkpoints of steps 3 and 4."""
    first = train_request(folder, pool, training=TRAINING, how=EVERY_STEP)
    assert train_once(first, stop_at=3).stopped
    assert sorted(path.name for path in checkpoint(first, 4).parent.iterdir()) == ["step-3", "step-4"]
    return first


def assert_the_same(ended: Request, whole: Request) -> None:
    a, b = weights(ended), weights(whole)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b)
    for name in ("loss", "grad_norm", "rate", "skipped"):
        assert metrics(ended, name) == metrics(whole, name)
    for video in ("step-4.mp4", "step-6.mp4"):
        assert (Path(ended.out) / "samples" / video).read_bytes() == (Path(whole.out) / "samples" / video).read_bytes()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: flip(folder / "model.safetensors"), "model.safetensors is not what manifest.json lists"),
        (lambda folder: flip(folder / "optimizer-rank0.safetensors"), "optimizer-rank0.safetensors is not what"),
        (lambda folder: flip(folder / "metrics.jsonl"), "metrics.jsonl is not what manifest.json lists"),
        (lambda folder: flip(folder / "step-4.mp4"), "step-4.mp4 is not what manifest.json lists"),
        (lambda folder: cut(folder / "state.json"), "state.json is not what manifest.json lists"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be read: FileNotFoundError"),
        (lambda folder: cut(folder / "manifest.json"), "manifest.json cannot be read: ValueError"),
        (shutil.rmtree, "manifest.json cannot be read: FileNotFoundError"),
    ],
    ids=["weights", "moments", "metrics", "video", "state", "half-removed", "manifest", "gone"],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it_and_the_log_says_so(
    pool: Pool,
    tmp_path: Path,
    whole: Request,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    said: str,
) -> None:
    first = stopped_after_four(tmp_path, pool)
    newest = checkpoint(first, 4)
    damage(newest)
    last = train_request(tmp_path, pool, training=TRAINING, resume=str(newest))
    train_once(last)
    output = capsys.readouterr().out
    assert f"checkpoint passed over: {newest}: {said}" in output
    assert f"going on after step 3, from {checkpoint(first, 3)}" in output
    assert_the_same(last, whole)


def test_another_attempts_checkpoint_serves_too_and_the_highest_step_is_taken(
    pool: Pool, tmp_path: Path, whole: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    first = stopped_after_four(tmp_path, pool)
    second = train_request(tmp_path, pool, training=TRAINING, resume=str(checkpoint(first, 3)))
    train_once(second, stop_at=4)
    flip(checkpoint(second, 5) / "model.safetensors")
    last = train_request(tmp_path, pool, training=TRAINING, resume=str(checkpoint(second, 5)))
    train_once(last)
    assert f"going on after step 4, from {checkpoint(first, 4)}" in capsys.readouterr().out
    assert_the_same(last, whole)


def test_where_no_checkpoint_is_intact_the_training_begins_anew_and_says_so(
    pool: Pool, tmp_path: Path, whole: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    first = stopped_after_four(tmp_path, pool)
    for step in (3, 4):
        flip(checkpoint(first, step) / "model.safetensors")
    last = train_request(tmp_path, pool, training=TRAINING, resume=str(checkpoint(first, 4)))
    train_once(last)
    assert f"{checkpoint(first, 4)}: no checkpoint of this job is intact; it begins anew" in capsys.readouterr().out
    assert_the_same(last, whole)


def test_another_jobs_checkpoint_beside_it_is_no_substitute(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = train_request(tmp_path, pool, training=TRAINING, fingerprint="2" * 64)
    train_once(other, stop_at=1)
    first = train_request(tmp_path, pool, training=TRAINING)
    train_once(first, stop_at=2)
    flip(checkpoint(first, 3) / "model.safetensors")
    train_once(train_request(tmp_path, pool, training=TRAINING, resume=str(checkpoint(first, 3))))
    output = capsys.readouterr().out
    assert f"checkpoint passed over: {checkpoint(other, 2)}: is of another job" in output
    assert "it begins anew" in output


def test_a_path_where_there_is_no_checkpoint_at_all_is_refused(pool: Pool, tmp_path: Path) -> None:
    mistyped = tmp_path / "elsewhere" / "checkpoints" / "step-4"
    with pytest.raises(BadInput, match=r"step-4: cannot be resumed from: no such checkpoint, nor another one"):
        train_once(train_request(tmp_path / "here", pool, training=TRAINING, resume=str(mistyped)))


def test_a_checkpoint_before_the_first_step_that_was_taken_is_resumed(pool: Pool, tmp_path: Path) -> None:
    training = {"shift": float("inf"), "sample_every": 0, "steps": 4, "rejected_share": 1.0}  # every loss is NaN
    first = train_request(tmp_path, pool, training=training)
    train_once(first, stop_at=1)
    last = train_request(tmp_path, pool, training=training, resume=str(checkpoint(first, 2)))
    assert train_once(last).records["skipped"] == 4


def test_shards_in_another_order_than_the_engines_are_refused(pool: Pool, tmp_path: Path) -> None:
    how = {"deepspeed": zero(2)}
    first = train_request(tmp_path, pool, training=TRAINING, how=how)
    train_once(first, stop_at=2)
    folder = checkpoint(first, 3)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state["parameters"][0].reverse()  # as round_robin_gradients would have it at more ranks
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"] = [entry(folder / line["path"]) for line in manifest["files"]]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BadInput, match=r"step-3: its shards hold the parameters in another order than this engine"):
        train_once(train_request(tmp_path, pool, training=TRAINING, how=how, resume=str(folder)))


def test_what_one_of_two_ranks_cannot_read_has_both_pass_the_checkpoint_over(pool: Pool, tmp_path: Path) -> None:
    """Its moments are damaged, or the manifest lists none of it."""
    how = {"deepspeed": zero(2), **EVERY_STEP}
    whole, damaged, unlisted = (train_request(tmp_path, pool, training=TRAINING, how=how) for _ in range(3))
    train_by_two([whole, damaged, unlisted], stops={damaged.attempt: 3, unlisted.attempt: 3})
    flip(checkpoint(damaged, 4) / "optimizer-rank1.safetensors")
    file = checkpoint(unlisted, 4) / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["files"] = [line for line in manifest["files"] if line["path"] != "optimizer-rank1.safetensors"]
    file.write_text(json.dumps(manifest), encoding="utf-8")
    lasts = [
        train_request(tmp_path, pool, training=TRAINING, how=how, resume=str(checkpoint(first, 4)))
        for first in (damaged, unlisted)
    ]
    train_by_two(lasts)
    for last in lasts:
        assert_the_same(last, whole)
