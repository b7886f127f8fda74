"""A longer training begins with the state of a shorter one and ends with the bits of one that began at step 0."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_ranks import train_by_two
from tiny_training import metrics, train_once, train_request, weights, zero

from workloads.contract.request import Finished, Request
from workloads.study.schedule import stable_steps, step_item
from workloads.training.checkpoint import Checkpoint
from workloads.training.spikes import LossMean, StepLimits, TrainingDiverged, check_rejected

Pool = dict[str, str]
KEEPS = {"keep_stable": True}
SHORT: dict[str, Any] = {"schedule": "wsd", "decay": 0.25, "steps": 8, "sample_every": 4}
LONG = {**SHORT, "steps": 13}
TOLD = ("loss", "grad_norm", "rate")


def finished(request: Request) -> list[Finished]:
    step = stable_steps(request.config["training"])
    assert step is not None
    return [Finished(folder=request.out, items=[step_item(step)], measured=False)]


def stable(request: Request) -> Path:
    return Path(request.out) / "stable" / f"step-{stable_steps(request.config['training'])}"


def made(folder: Path, pool: Pool, row: str, training: dict[str, Any], **changes: Any) -> Request:
    how = {**KEEPS, **changes.pop("how", {})}
    request = train_request(folder, pool, row, training=training, how=how, **changes)
    train_once(request)
    return request


def assert_the_same(found: Request, whole: Request) -> None:
    a, b = weights(found), weights(whole)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b)
    for name in TOLD:
        assert metrics(found, name) == metrics(whole, name)
    videos = {path.name: path.read_bytes() for path in (Path(whole.out) / "samples").iterdir()}
    assert {path.name: path.read_bytes() for path in (Path(found.out) / "samples").iterdir()} == videos
    one, other = Checkpoint.open(stable(found)), Checkpoint.open(stable(whole))
    for kind in (Checkpoint.weights, lambda checkpoint: checkpoint.moments(0)):
        left, right = kind(one), kind(other)
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in right)
    assert (one.state.step, one.state.loss, one.videos) == (other.state.step, other.state.loss, other.videos)


@pytest.mark.parametrize("row", ["context-k4", "ssm-blockwise"])
@pytest.mark.parametrize("schedule", ["wsd", "constant"])
def test_a_longer_training_that_continues_a_shorter_one_has_the_bits_of_one_at_once(
    pool: Pool, tmp_path: Path, row: str, schedule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short = made(tmp_path, pool, row, {**SHORT, "schedule": schedule})
    whole = made(tmp_path, pool, row, {**LONG, "schedule": schedule})
    capsys.readouterr()
    long = made(tmp_path, pool, row, {**LONG, "schedule": schedule}, fingerprint="2" * 64, finished=finished(short))
    step = {"wsd": 6, "constant": 8}[schedule]
    assert f"going on after step {step}, from {stable(short)}" in capsys.readouterr().out
    assert_the_same(long, whole)


def test_an_interruption_before_and_one_in_the_decay_change_nothing(pool: Pool, tmp_path: Path) -> None:
    short = made(tmp_path, pool, "ssm-blockwise", SHORT)
    whole = made(tmp_path, pool, "ssm-blockwise", LONG)  # 10 steps, then 3 of decay

    def part(resume: Path | None, stop_at: int | None) -> Request:
        own = {"finished": finished(short), "resume": resume and str(resume), "fingerprint": "2" * 64}
        request = train_request(tmp_path, pool, "ssm-blockwise", training=LONG, how=KEEPS, **own)
        train_once(request, stop_at)
        return request

    first = part(None, 7)
    second = part(Path(first.work) / "checkpoints" / "step-8", 10)
    last = part(Path(second.work) / "checkpoints" / "step-11", None)
    assert_the_same(last, whole)


def test_only_the_decay_is_paid_where_the_stable_part_is_the_same(pool: Pool, tmp_path: Path) -> None:
    short = made(tmp_path, pool, "context-k4", SHORT)
    whole = made(tmp_path, pool, "context-k4", {**SHORT, "floor": 0.5})
    other = made(tmp_path, pool, "context-k4", {**SHORT, "floor": 0.5}, finished=finished(short))
    assert_the_same(other, whole)


def test_what_cannot_be_used_is_said_and_the_training_begins_at_step_0(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = made(tmp_path, pool, "context-k4", SHORT)
    whole = made(tmp_path, pool, "context-k4", {**LONG, "rate": 1e-3})
    faster = made(tmp_path, pool, "context-k4", {**LONG, "rate": 1e-3}, finished=finished(short))
    said = capsys.readouterr().out
    assert f"{stable(short)}/state.json: training.rate is 0.002, this job's is 0.001" in said
    assert "allowed: a training that differs in steps, decay, floor alone" in said
    shutil.rmtree(stable(short))
    gone = made(tmp_path, pool, "context-k4", {**LONG, "rate": 1e-3}, finished=finished(short))
    assert "manifest.json cannot be read" in capsys.readouterr().out
    assert_the_same(faster, whole)
    assert_the_same(gone, whole)


def test_nothing_is_kept_unless_the_cluster_says_so_and_never_of_cosine_or_a_smoke_attempt(
    pool: Pool, tmp_path: Path
) -> None:
    requests = [
        train_request(tmp_path, pool, training=SHORT),
        train_request(tmp_path, pool, training={**SHORT, "schedule": "cosine"}, how=KEEPS),
        train_request(tmp_path, pool, training=SHORT, how=KEEPS, smoke=True),
    ]
    for request in requests:
        train_once(request)
        assert not (Path(request.out) / "stable").exists()


def test_a_training_that_rejected_more_steps_than_the_budget_that_continues_it_allows_has_diverged() -> None:
    seen = LossMean(rejected=6, first="step 3: its loss is nan")
    check_rejected(seen, StepLimits(ratio=15.0, steps=60, share=0.1))
    with pytest.raises(TrainingDiverged, match=r"6 of 50 steps were rejected \(12.0%\); allowed: 5 .*step 3: its loss"):
        check_rejected(seen, StepLimits(ratio=15.0, steps=50, share=0.1))


@pytest.mark.parametrize("stage", [2, pytest.param(1, marks=pytest.mark.long)])
def test_shards_of_two_ranks_are_continued_by_two(pool: Pool, tmp_path: Path, stage: int) -> None:
    how = {"deepspeed": zero(stage), **KEEPS}
    short, whole = (train_request(tmp_path, pool, training=training, how=how) for training in (SHORT, LONG))
    train_by_two([short, whole])
    long = train_request(tmp_path, pool, training=LONG, how=how, finished=finished(short), fingerprint="2" * 64)
    train_by_two([long])
    assert (stable(short) / "optimizer-rank1.safetensors").is_file()
    assert_the_same(long, whole)
    alone = train_request(tmp_path, pool, training=LONG, how=KEEPS, finished=finished(short), fingerprint="3" * 64)
    train_once(alone)
    for name, value in weights(alone).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)
