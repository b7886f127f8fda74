"""The stage train at toy size: resuming, counting, publishing (study.md section 6)."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import ROWS, TRAINING, metrics, train_once, train_request, weights, zero

from workloads.contract.request import Request
from workloads.model.weights import load_model
from workloads.runtime.errors import BadInput
from workloads.training.spikes import TrainingDiverged
from workloads.training.train import check_weights

Pool = dict[str, str]


def newest_checkpoint(request: Request) -> Path:
    found = sorted((Path(request.work) / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    return found[-1]


def the_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("row", ["context-k4", "ssm-blockwise"])
def test_a_training_interrupted_twice_ends_with_the_same_bits_and_metrics(pool: Pool, tmp_path: Path, row: str) -> None:
    whole = train_request(tmp_path, pool, row)
    expected = train_once(whole)
    first = train_request(tmp_path, pool, row)
    assert train_once(first, stop_at=2).stopped
    second = train_request(tmp_path, pool, row, resume=str(newest_checkpoint(first)))
    stopped = train_once(second, stop_at=4)
    assert stopped.stopped and stopped.steps == 5
    last = train_request(tmp_path, pool, row, resume=str(newest_checkpoint(second)))
    ended = train_once(last)

    assert the_same(weights(last), weights(whole))
    for name in ("loss", "grad_norm", "rate"):
        assert metrics(last, name) == metrics(whole, name)
    assert [step for step, _ in metrics(last, "loss")] == list(range(1, TRAINING["steps"] + 1))
    assert ended.records == expected.records
    for video in ("step-4.mp4", "step-8.mp4"):
        assert (Path(last.out) / "samples" / video).read_bytes() == (Path(whole.out) / "samples" / video).read_bytes()


def test_sample_videos_do_not_disturb_training(pool: Pool, tmp_path: Path) -> None:
    with_videos = train_request(tmp_path, pool, training={"sample_every": 1, "steps": 4})
    without = train_request(tmp_path, pool, training={"sample_every": 0, "steps": 4})
    train_once(with_videos)
    train_once(without)
    assert the_same(weights(with_videos), weights(without))
    assert len(list((Path(with_videos.out) / "samples").iterdir())) == 4


def test_two_trainings_of_one_request_give_the_same_bits(pool: Pool, tmp_path: Path) -> None:
    first, second = (train_request(tmp_path, pool, "ssm-hybrid", training={"sample_every": 0}) for _ in range(2))
    train_once(first)
    train_once(second)
    assert the_same(weights(first), weights(second))


def test_all_rows_start_from_the_same_shared_weights_and_see_the_same_samples(pool: Pool, tmp_path: Path) -> None:
    short = {"steps": 1, "sample_every": 0}
    records = {row: train_once(train_request(tmp_path, pool, row, training=short)).records for row in ROWS}
    for name in ("initial_shared", "sample_order", "steps"):
        assert len({json.dumps(record[name]) for record in records.values()}) == 1, name
    compact = {row: record["evidence"] for row, record in records.items() if row != "context-k1"}
    assert len(set(compact.values())) == 1
    assert records["context-k1"]["evidence"] not in compact.values()


@pytest.mark.parametrize(("micro_batch", "accumulate"), [(2, 2), (1, 4)])
def test_a_smaller_micro_batch_accumulates_to_the_same_losses(
    pool: Pool, tmp_path: Path, micro_batch: int, accumulate: int
) -> None:
    training = {"sample_every": 0, "steps": 5}
    whole = train_request(tmp_path, pool, training=training)
    parts = train_request(tmp_path, pool, training=training, how={"micro_batch": micro_batch, "accumulate": accumulate})
    train_once(whole)
    train_once(parts)
    for name in ("loss", "grad_norm"):
        expected = dict(metrics(whole, name))
        for step, value in metrics(parts, name):
            assert math.isclose(value, expected[step], rel_tol=1e-6, abs_tol=1e-6), (name, step, value - expected[step])


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_gives_the_losses_of_the_plain_engine_and_resumes(pool: Pool, tmp_path: Path, stage: int) -> None:
    training = {"sample_every": 0, "steps": 5}
    how = {"deepspeed": zero(stage)}
    plain, whole, first = (train_request(tmp_path, pool, training=training, how=each) for each in (None, how, how))
    train_once(plain)
    train_once(whole)
    for (_, a), (_, b) in zip(metrics(plain, "loss"), metrics(whole, "loss"), strict=True):
        assert math.isclose(a, b, abs_tol=1e-5)
    train_once(first, stop_at=1)
    last = train_request(tmp_path, pool, training=training, how=how, resume=str(newest_checkpoint(first)))
    train_once(last)
    assert the_same(weights(last), weights(whole))


@pytest.mark.parametrize("again", [{}, {"activation_checkpointing": {}}], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    "row",
    [
        "context-k4", "compress-hybrid", "spatial-readout", "ssm-hybrid", "ssm-blockwise", "spatial-place", "ssm-place",
    ],
)  # fmt: skip
def test_weights_cut_over_ranks_train_sample_and_read_as_whole_ones(
    pool: Pool, tmp_path: Path, row: str, again: dict[str, object]
) -> None:
    training = {"sample_every": 2, "steps": 3}
    plain = train_request(tmp_path, pool, row, training=training)
    cut = train_request(tmp_path, pool, row, training=training, how={"deepspeed": {**zero(3), **again}})
    expected, outcome = train_once(plain), train_once(cut)
    names = {json.loads(line)["name"] for line in (Path(plain.work) / "metrics.jsonl").read_text().splitlines()}
    for name in names - {"samples_per_s", "tokens_per_s", "memory_mib"}:
        for (_, a), (_, b) in zip(metrics(plain, name), metrics(cut, name), strict=True):
            assert math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5), name
    a, b = weights(plain), weights(cut)
    assert a.keys() == b.keys() and all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)
    assert outcome.records == expected.records
    for what in ("parameters_added", "tokens", "flops"):
        assert outcome.cost[what] == expected.cost[what]
    assert len(list((Path(cut.out) / "samples").iterdir())) == 2


def test_the_published_model_loads_and_says_how_it_was_trained(pool: Pool, tmp_path: Path) -> None:
    request = train_request(tmp_path, pool, training={"sample_every": 0, "steps": 2})
    outcome = train_once(request)
    model, description = load_model(Path(request.out))
    assert the_same(dict(model.state_dict()), weights(request))
    assert description["row"] == request.row and description["seed"] == request.seed
    assert outcome.cost["parameters_added"] == 0
    assert {"device_s", "s_per_step", "tokens", "flops"} <= outcome.cost.keys()


def test_keep_full_publishes_the_optimiser_too(pool: Pool, tmp_path: Path) -> None:
    request = train_request(tmp_path, pool, training={"sample_every": 0, "steps": 2}, how={"keep": "full"})
    train_once(request)
    assert (Path(request.out) / "optimizer.safetensors").is_file()


def test_a_smoke_attempt_takes_two_steps_at_the_rates_of_the_full_training(pool: Pool, tmp_path: Path) -> None:
    whole, smoke = train_request(tmp_path, pool), train_request(tmp_path, pool, smoke=True)
    train_once(whole)
    outcome = train_once(smoke)
    assert outcome.steps == 2
    assert metrics(smoke, "rate") == metrics(whole, "rate")[:2]
    assert metrics(smoke, "loss") == metrics(whole, "loss")[:2]


def test_checkpoints_come_by_the_clock_and_the_two_newest_stay(pool: Pool, tmp_path: Path) -> None:
    request = train_request(tmp_path, pool, training={"sample_every": 0}, how={"checkpoint_every_s": 0.0})
    train_once(request)
    names = {path.name for path in (Path(request.work) / "checkpoints").iterdir()}
    assert names == {"step-6", "step-7"}


def refused(first: Request, other: Request) -> str:
    """What is said when `other` is to resume from the newest checkpoint of `first`."""
    with pytest.raises(BadInput) as caught:
        train_once(replace(other, resume=str(newest_checkpoint(first))))
    assert str(newest_checkpoint(first)) in str(caught.value)
    assert "a checkpoint of the same job; set resume to null to train anew" in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_of_another_job_is_refused_and_the_field_that_differs_is_named(pool: Pool, tmp_path: Path) -> None:
    first = train_request(tmp_path, pool)
    train_once(first, stop_at=0)
    again, one = train_request(tmp_path, pool), train_request(tmp_path, pool, "context-k1")
    action = {**again.config, "action": {"site": "post_attention"}}
    assert "state.json: seed is 0, this job's is 1; allowed" in refused(first, replace(again, seed=1))
    assert "state.json: row.frames is 4, this job's is 1; allowed" in refused(first, one)
    assert 'row.family is "context", this job\'s is "ssm"' in refused(
        first, train_request(tmp_path, pool, "ssm-hybrid")
    )
    assert 'state.json: action.site is "pre_qkv", this job\'s is "post_attention"; allowed' in refused(
        first, replace(again, config=action)
    )
    assert "fingerprint is 111111111111, this job's is 222222222222" in refused(
        first, replace(again, fingerprint="2" * 64)
    )


def test_a_sharded_checkpoint_is_not_resumed_by_another_world_size(pool: Pool, tmp_path: Path) -> None:
    how = {"deepspeed": {"zero_optimization": {"stage": 1}}}
    first = train_request(tmp_path, pool, how=how)
    train_once(first, stop_at=0)
    checkpoint = newest_checkpoint(first)
    with pytest.raises(BadInput, match="written by 1 ranks at ZeRO stage 1, resumed by 1 at stage 0"):
        train_once(train_request(tmp_path, pool, resume=str(checkpoint)))


def test_an_index_with_too_few_steps_is_refused(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the index has 60 steps of 4 samples, this training takes 61 of 4"):
        train_once(train_request(tmp_path, pool, training={"steps": 61}))


def test_a_loss_that_is_not_finite_leaves_no_trace_in_the_weights(pool: Pool, tmp_path: Path) -> None:
    # A shift so large that noise levels overflow: every loss is NaN, so every step is rejected.
    request = train_request(
        tmp_path, pool, training={"shift": math.inf, "sample_every": 0, "steps": 3, "rejected_share": 1.0}
    )
    outcome = train_once(request)
    assert outcome.records["skipped"] == 3
    assert metrics(request, "loss") == []
    assert all(bool(value.isfinite().all()) for value in weights(request).values())


def test_a_training_whose_rate_is_absurd_ends_as_diverged_and_publishes_nothing(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = train_request(tmp_path, pool, training={"rate": 1e6, "steps": 16, "sample_every": 0}, label="train/x/s0")
    words = (
        r"^train/x/s0: 2 of 16 steps were rejected \(12\.5%\); allowed: 1 \(controls\.training\.rejected_share 0\.1\); "
        r"the first was step \d+: its (loss|gradient's norm) is .*; try: lower controls\.training\.rate \(1e\+06\), "
    )
    with pytest.raises(TrainingDiverged, match=words):
        train_once(request)
    assert ", gradient norm nan\n" in capsys.readouterr().out
    assert list(Path(request.out).iterdir()) == []


def test_the_share_counts_rejections_before_an_interruption_too(pool: Pool, tmp_path: Path) -> None:
    training = {"shift": math.inf, "sample_every": 0, "steps": 8, "rejected_share": 0.5}
    first = train_request(tmp_path, pool, training=training)
    assert train_once(first, stop_at=2).stopped
    last = train_request(tmp_path, pool, training=training, resume=str(newest_checkpoint(first)))
    with pytest.raises(TrainingDiverged, match=r"5 of 8 steps were rejected .* the first was step 1: its loss is nan"):
        train_once(last)


def test_a_sample_video_of_a_broken_model_is_not_written_and_said(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One enormous step: its weights are finite, what they generate is not.
    training = {"rate": 1e12, "warmup_steps": 0, "steps": 1, "sample_every": 1}
    request = train_request(tmp_path, pool, training=training)
    train_once(request)
    assert "no sample video after step 1: case sample/" in capsys.readouterr().out
    assert metrics(request, "samples_broken") == [(1, 1.0)]
    assert not (Path(request.out) / "samples").exists()


def test_weights_that_the_last_step_made_infinite_are_not_published() -> None:
    layer = torch.nn.Linear(2, 2)
    check_weights(layer)
    with torch.no_grad():
        layer.weight[0, 0] = math.inf
    with pytest.raises(TrainingDiverged, match=r"^after the last step the weights of weight are not finite$"):
        check_weights(layer)
