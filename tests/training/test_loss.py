"""What a training step learns from: target latents alone, through what the row reads (study.md section 6)."""

from pathlib import Path

import pytest
import torch
from tiny_training import BACKBONE, CODEC, DATA, EVIDENCE, ROWS, TRAINING

from workloads.contract.rows import resolved
from workloads.data.index import Index
from workloads.data.latents import Latents
from workloads.model.flow import noised, sigma_from_uniform, velocity
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.families import row_from
from workloads.training.batches import Batches, TrainingBatch
from workloads.training.settings import BatchShape

F, B = int(DATA["chunk_frames"]), int(TRAINING["global_batch"])


def batches(pool: dict[str, str], row: str) -> Batches:
    return Batches(
        Latents.open(Path(pool["latents"])),
        Index.open(Path(pool["index"])),
        chunk_frames=F,
        evidence_frames=int(ROWS[row].get("frames", EVIDENCE["frames"])),
        rule="spread",
        carries_state=row_from(ROWS[row]).carries_state,
        shift=float(TRAINING["shift"]),
        seed=0,
    )


def model_of(row: str, batch: TrainingBatch) -> WorldModel:
    """Away from the start, so that nothing is hidden by a zero."""
    _, _, c, h, w = batch.target.shape
    shape = LatentShape(
        channels=c,
        height=h,
        width=w,
        frames=F,
        text_tokens=int(str(CODEC["text_tokens"])),
        text_width=int(str(CODEC["text_width"])),
    )
    model = build_model(BACKBONE, {"site": "pre_qkv"}, resolved(row_from(ROWS[row])), shape, 0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))), alpha=0.1)
    return model


def loss_of(model: WorldModel, batch: TrainingBatch) -> torch.Tensor:
    noisy = noised(batch.target, batch.noise, batch.sigma)
    said = model(noisy, batch.sigma, batch.actions, batch.text, batch.slots, batch.history)
    return torch.nn.functional.mse_loss(said, velocity(batch.target, batch.noise))


def step_with(pool: dict[str, str], row: str, *, dropped: bool) -> tuple[int, int]:
    """A step and a sample that is, or is not, a cold start (and has evidence beside its anchor)."""
    index, made = Index.open(Path(pool["index"])), batches(pool, row)
    for step in range(40):
        for number in range(B):
            if index.sample(step, number).dropped is dropped:
                batch = made.batch(step, [number])
                if dropped or int(batch.slots.valid.sum()) >= min(3, batch.slots.valid.shape[1]) > 1:
                    return step, number
    raise AssertionError("the tiny index has no such sample")


@pytest.mark.parametrize("row", ROWS)
def test_the_prediction_has_the_shape_of_the_target_so_memory_tokens_are_never_supervised(
    pool: dict[str, str], row: str
) -> None:
    batch = batches(pool, row).batch(0, range(B))
    assert (
        model_of(row, batch)(batch.target, batch.sigma, batch.actions, batch.text, batch.slots, batch.history).shape
        == batch.target.shape
        == velocity(batch.target, batch.noise).shape
    )


@pytest.mark.parametrize("row", [row for row in ROWS if row != "context-k1"])
def test_evidence_meets_the_loss_through_reading_alone(pool: dict[str, str], row: str) -> None:
    """Where target tokens cannot read memory, its latents have no gradient; where they can, they have one."""
    step, number = step_with(pool, row, dropped=False)
    batch = batches(pool, row).batch(step, [number])
    model = model_of(row, batch)
    batch.slots.latents.requires_grad_()
    loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
    assert batch.slots.latents.grad is not None
    assert batch.slots.latents.grad[batch.slots.valid].abs().sum() > 0

    batch.slots.latents.grad = None
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Nothing leaves attention, a recurrence or a read-out any more: only a supervised token would tell.
            if name.endswith((".out.weight", ".narrow.weight")) and not name.startswith("head"):
                parameter.zero_()
    loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
    assert batch.slots.latents.grad is None or not batch.slots.latents.grad.any()


@pytest.mark.parametrize("row", ROWS)
def test_a_dropped_step_is_a_cold_start_with_the_anchor_alone(pool: dict[str, str], row: str) -> None:
    step, number = step_with(pool, row, dropped=True)
    batch = batches(pool, row).batch(step, [number])
    assert batch.slots.valid.shape[1] == 1 and batch.history == ()
    model = model_of(row, batch)
    with torch.no_grad():
        noisy = noised(batch.target, batch.noise, batch.sigma)
        trained = model(noisy, batch.sigma, batch.actions, batch.text, batch.slots, batch.history)
        # What generation computes in its first chunk: a zero state, the anchor written, nothing retrieved.
        state = model.write(None, batch.slots, batch.text)
        generated = model.denoise(noisy, batch.sigma, batch.actions, batch.text, batch.slots, state)
    torch.testing.assert_close(trained, generated, atol=1e-6, rtol=0)


@pytest.mark.parametrize("carries_state", ["context-k4", "ssm-blockwise"])
@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (1, 2), (2, 1), (4, 1), (2, 2)])
def test_the_global_batch_is_the_same_however_many_ranks_share_it(
    pool: dict[str, str], carries_state: str, ranks: int, accumulate: int
) -> None:
    shape = BatchShape(global_batch=B, ranks=ranks, micro_batch=B // ranks // accumulate, accumulate=accumulate)
    whole = batches(pool, carries_state).batch(5, range(B))
    # In the order in which ranks may come to it: the last first, each with a maker of its own.
    parts = {
        (rank, part): batches(pool, carries_state).batch(5, shape.samples(rank, part))
        for rank in reversed(range(ranks))
        for part in reversed(range(accumulate))
    }
    for name in ("target", "noise", "sigma", "actions", "text"):
        joined = torch.cat([getattr(parts[key], name) for key in sorted(parts)])
        assert torch.equal(joined, getattr(whole, name)), name


def test_draws_do_not_depend_on_what_was_drawn_before(pool: dict[str, str]) -> None:
    resumed, straight = batches(pool, "context-k4"), batches(pool, "context-k4")
    for step in range(6):
        straight.batch(step, range(B))
    a, b = resumed.batch(6, range(B)), straight.batch(6, range(B))
    assert torch.equal(a.noise, b.noise) and torch.equal(a.sigma, b.sigma) and torch.equal(a.target, b.target)


def test_noise_levels_are_uniform_before_the_shift_and_follow_its_formula(pool: dict[str, str]) -> None:
    made = batches(pool, "context-k1")
    sigma = torch.cat([made.batch(step, range(B)).sigma for step in range(60)]).double()
    u = sigma / (3.0 - 2.0 * sigma)  # the inverse of 3 u / (1 + 2 u)
    torch.testing.assert_close(sigma_from_uniform(u, 3.0), sigma)
    assert float(u.min()) >= 0 and float(u.max()) < 1
    # 240 draws: a uniform mean of 1/2 and variance of 1/12 within four standard errors.
    assert abs(float(u.mean()) - 0.5) < 4 * (1 / 12 / 240) ** 0.5
    assert abs(float(u.var()) - 1 / 12) < 4 * (1 / 180 / 240) ** 0.5
