"""Batches against the definitions of study.md sections 2, 3 and 6."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import DATA, EVIDENCE, TRAINING

from workloads.data.geometry import action_vectors
from workloads.data.index import Index
from workloads.data.latents import Latents
from workloads.memory.interface import Slots
from workloads.training.batches import Batches

F = int(DATA["chunk_frames"])
K = int(EVIDENCE["frames"])
STEPS, B = int(TRAINING["steps"]), int(TRAINING["global_batch"])


def opened(pool: dict[str, str]) -> tuple[Latents, Index]:
    return Latents.open(Path(pool["latents"])), Index.open(Path(pool["index"]))


def make(
    pool: dict[str, str],
    *,
    frames: int = K,
    carries_state: bool = False,
    seed: int = 0,
    write_from: str = "retrieved",
) -> Batches:
    return Batches(
        *opened(pool),
        chunk_frames=F,
        evidence_frames=frames,
        rule="spread",
        carries_state=carries_state,
        shift=3.0,
        seed=seed,
        write_from=write_from,
    )


def test_targets_are_the_frames_of_the_segment_and_the_anchor_is_their_first(pool: dict[str, str]) -> None:
    latents, index = opened(pool)
    for step in range(STEPS):
        batch = make(pool).batch(step, range(B))
        for row in range(B):
            sample = index.sample(step, row)
            expected = torch.from_numpy(np.array(latents.latents(sample.scene)[sample.start : sample.start + F]))
            assert torch.equal(batch.target[row], expected)
            assert torch.equal(batch.slots.latents[row, 0], expected[0])
            assert bool(batch.slots.valid[row, 0])


def test_evidence_comes_before_the_segment_oldest_first_with_its_pose_relative_to_the_segment(
    pool: dict[str, str],
) -> None:
    latents, index = opened(pool)
    seen = 0
    for step in range(STEPS):
        batch = make(pool).batch(step, range(B))
        for row in range(B):
            sample = index.sample(step, row)
            count = int(batch.slots.valid[row].sum())
            assert bool(batch.slots.valid[row, :count].all())
            scene, poses = latents.latents(sample.scene), latents.poses(sample.scene)
            shown = []
            for slot in range(1, count):
                action = batch.slots.actions[row, slot].numpy()
                [frame] = [
                    j
                    for j in range(sample.start)
                    if np.array_equal(scene[j], batch.slots.latents[row, slot].numpy())
                    and np.array_equal(action_vectors(poses[j], poses[sample.start])[0], action)
                    and j > (shown[-1] if shown else -1)
                ][:1]
                shown.append(frame)
            assert count <= K and (not sample.dropped or count == 1)
            seen += len(shown)
    assert seen > 0


def test_actions_begin_with_the_identity_and_no_movement(pool: dict[str, str]) -> None:
    batch = make(pool).batch(0, range(B))
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    assert torch.equal(batch.actions[:, 0], identity.expand(B, 12))
    assert torch.equal(batch.slots.actions[:, 0], identity.expand(B, 12))


def test_a_sample_does_not_depend_on_which_others_share_its_micro_batch(pool: dict[str, str]) -> None:
    together = make(pool, carries_state=True).batch(3, range(B))
    for row in range(B):
        alone = make(pool, carries_state=True).batch(3, [row])
        for name in ("target", "noise", "sigma", "actions", "text"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[row]), name
        count = alone.slots.valid.shape[1]
        assert torch.equal(alone.slots.latents[0], together.slots.latents[row, :count])
        assert not bool(together.slots.valid[row, count:].any())


@pytest.mark.parametrize("other", [{"frames": 1}, {"carries_state": True}])
def test_draws_and_targets_do_not_depend_on_the_row(pool: dict[str, str], other: dict[str, int]) -> None:
    a, b = make(pool).batch(2, range(B)), make(pool, **other).batch(2, range(B))  # type: ignore[arg-type]
    for name in ("target", "noise", "sigma", "actions", "text"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_noise_differs_between_samples_steps_and_seeds(pool: dict[str, str]) -> None:
    first = make(pool).batch(0, range(B)).noise
    others = (make(pool).batch(1, range(B)).noise, make(pool, seed=1).batch(0, range(B)).noise, first.roll(1, 0))
    assert all(not bool((first == other).any()) for other in others)


def test_history_is_the_evidence_of_the_preceding_segment(pool: dict[str, str]) -> None:
    latents, index = opened(pool)
    with_history = 0
    for step in range(STEPS):
        batch = make(pool, carries_state=True).batch(step, range(B))
        for row in range(B):
            sample = index.sample(step, row)
            exists = sample.start >= F - 1 and not sample.dropped
            valid = bool(batch.history) and bool(batch.history[0].valid[row].any())
            assert valid is exists
            if exists:
                before = latents.latents(sample.scene)[sample.start - (F - 1)]
                assert np.array_equal(batch.history[0].latents[row, 0].numpy(), before)
                with_history += 1
    assert with_history > 0


def test_the_base_is_the_segments_pose_as_seen_from_the_first_frame_of_its_history(pool: dict[str, str]) -> None:
    latents, index = opened(pool)
    moved = 0
    for step in range(STEPS):
        batch = make(pool, carries_state=True).batch(step, range(B))
        if not batch.history:
            assert batch.slots.base is None
            continue
        assert batch.slots.base is not None and batch.history[0].base is not None
        there = batch.history[0].valid.any(1)
        assert torch.equal(batch.history[0].base[there], batch.actions[there, 0])  # no turn: where the history starts
        for row in range(B):
            sample, poses = index.sample(step, row), latents.poses(index.sample(step, row).scene)
            has_history = sample.start >= F - 1 and not sample.dropped
            origin = sample.start - (F - 1) if has_history else sample.start
            expected = action_vectors(poses[sample.start], poses[origin])[0]
            np.testing.assert_array_equal(batch.slots.base[row].numpy(), expected)
            moved += abs(expected[3]) > 0.01
    assert moved > 0


def test_a_stream_writes_every_frame_before_a_segment_as_at_generation(pool: dict[str, str]) -> None:
    latents, index = opened(pool)
    batches, seen = make(pool, frames=1, carries_state=True, write_from="stream"), set()
    for step in range(STEPS):
        batch = batches.batch(step, range(B))
        for row in range(B):
            sample, poses = index.sample(step, row), latents.poses(index.sample(step, row).scene)
            written = []
            for slots in [*batch.history, batch.slots]:
                count = int(slots.valid[row].sum())
                # The anchor is slot 0, and is written last.
                written += [slots.latents[row, slot] for slot in [*range(1, count), 0][: count or 0]]
            first = sample.start if sample.dropped else 0
            expected = latents.latents(sample.scene)[first : sample.start + 1]
            np.testing.assert_array_equal(torch.stack(written).numpy(), expected)
            if batch.slots.base is not None:
                there = action_vectors(poses[sample.start], poses[first])[0]
                np.testing.assert_array_equal(batch.slots.base[row].numpy(), there)
            seen.add(len(expected))
    assert len(seen) > 2


def test_a_stream_of_nothing_but_the_anchor_is_what_is_retrieved_at_the_beginning(pool: dict[str, str]) -> None:
    _, index = opened(pool)
    found = 0
    for step in range(STEPS):
        for number in range(B):
            if index.sample(step, number).start == 0:
                one = make(pool, carries_state=True).batch(step, [number])
                other = make(pool, frames=1, carries_state=True, write_from="stream").batch(step, [number])
                assert one.history == other.history == ()
                assert torch.equal(one.slots.latents, other.slots.latents)
                assert torch.equal(one.slots.actions, other.slots.actions)
                found += 1
    assert found > 0


def test_the_digest_of_what_is_written_tells_a_stream_and_that_of_evidence_does_not(pool: dict[str, str]) -> None:
    steps = range(STEPS)
    alone, stream = make(pool, frames=1), make(pool, frames=1, carries_state=True, write_from="stream")
    assert stream.evidence_digest(steps) == alone.evidence_digest(steps)
    retrieved = make(pool, frames=1, carries_state=True)
    assert stream.written_digest(steps) != retrieved.written_digest(steps)


def test_rows_without_a_state_get_no_history(pool: dict[str, str]) -> None:
    batches = [make(pool).batch(step, range(B)) for step in range(STEPS)]
    assert all(batch.history == () and batch.slots.base is None for batch in batches)


def test_the_evidence_digest_tells_rows_of_different_k_apart_and_nothing_else(pool: dict[str, str]) -> None:
    steps = range(STEPS)
    assert make(pool).evidence_digest(steps) == make(pool, carries_state=True, seed=5).evidence_digest(steps)
    assert make(pool).evidence_digest(steps) != make(pool, frames=1).evidence_digest(steps)


def test_what_a_state_is_written_from_has_a_digest_of_its_own_with_the_preceding_segments_frames(
    pool: dict[str, str],
) -> None:
    steps, stateful = range(STEPS), make(pool, carries_state=True)
    assert stateful.written_digest(steps) == make(pool, carries_state=True, seed=5).written_digest(steps)
    assert stateful.written_digest(steps) != make(pool, carries_state=True, frames=1).written_digest(steps)
    assert stateful.written_digest(steps) != stateful.evidence_digest(steps)
    assert any(stateful.batch(step, range(B)).history for step in steps)
    assert make(pool).written_digest(steps) == make(pool).evidence_digest(steps)  # without a state nothing precedes


def test_all_tensors_are_float32_and_contiguous(pool: dict[str, str]) -> None:
    batch = make(pool, carries_state=True).batch(STEPS - 1, range(B))
    found: list[torch.Tensor] = []
    for field in fields(batch):
        value = getattr(batch, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            found += [part.latents, part.actions] if isinstance(part, Slots) else [part]
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in found)
