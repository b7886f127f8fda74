"""What holds for the rows that carry a state across chunks (study.md section 5, "State-space write")."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from toy_rows import (
    BACKBONE,
    BATCH,
    SHAPE,
    SLOTS,
    STATEFUL,
    awake,
    changed,
    each,
    evidence,
    rows_named,
    slots_of,
    target,
)

from workloads.memory.interface import Slots
from workloads.study.memory.base import MemoryRow


@pytest.fixture(params=each(STATEFUL))
def row(request: pytest.FixtureRequest) -> MemoryRow:
    return rows_named(request.param)


def matters(row: MemoryRow, missing: tuple[int, int], **backbone: int) -> list[set[int]]:
    """Of each sample, the slots whose change changes its target."""
    model, inputs, given = awake(row, **backbone), target(), evidence(SLOTS, missing=missing)
    found: list[set[int]] = [set(), set()]
    with torch.no_grad():
        out = model(**inputs, slots=given)
        for index in range(SLOTS):
            change = (model(**inputs, slots=changed(given, index)) - out).abs().amax((1, 2, 3, 4))
            for sample in range(2):
                if change[sample] > 1e-7:
                    found[sample].add(index)
    return found


@pytest.mark.parametrize(("blocks", "every"), [(1, 1), (2, 1), (4, 2), (3, 1)])
def test_the_hybrid_reads_the_last_two_slots_for_each_recurrent_block_and_no_others(blocks: int, every: int) -> None:
    missing = (0, 2)
    recurrent = len(range(0, blocks, every))
    found = matters(rows_named("ssm-hybrid"), missing, blocks=blocks, recurrent_every=every)
    for sample, lost in enumerate(missing):
        in_time = [*range(1, SLOTS - lost), 0]
        assert found[sample] == set(in_time[-2 * recurrent :])


def test_the_block_wise_row_reads_every_valid_slot_and_no_missing_one() -> None:
    found = matters(rows_named("ssm-blockwise"), (0, 4))
    assert found == [set(range(SLOTS)), set(range(SLOTS - 4))]


def test_what_was_written_last_weighs_most() -> None:
    """Slot 0 is the anchor and is written last; of the others the newest stands at the end."""
    row = rows_named("ssm-blockwise")
    model, inputs, given = awake(row), target(), evidence(SLOTS)
    with torch.no_grad():
        model.mechanism.cells["0"].log_tau.fill_(0.0)  # tau = 1 frame
        model.mechanism.cells["2"].log_tau.fill_(0.0)
        state = model.write(None, given, inputs["text"])
        assert state is not None
        moved = []
        for index in [*range(1, SLOTS), 0]:
            after = model.write(None, changed(given, index), inputs["text"])
            assert after is not None
            moved.append(float((after[0] - state[0]).norm()))
    assert moved == sorted(set(moved))


def test_history_reaches_the_target_through_the_recurrence_alone(row: MemoryRow) -> None:
    model, inputs, given = awake(row), target(), evidence(slots_of(row))
    read = given if row.context_slots(slots_of(row)) > 1 else given.anchor()  # frames that are tokens too
    with torch.no_grad():
        for name, parameter in model.mechanism.named_parameters():
            if "gate" in name or ".out." in name:
                parameter.zero_()
        closed = model(**inputs, slots=given, history=[evidence(slots_of(row), seed=4)])
        assert torch.equal(closed, model(**inputs, slots=read))


def watched_recur(row: MemoryRow, given: Slots) -> list[tuple[int, tuple[int, ...]]]:
    """Block and shape of the tokens of every recurrence in a denoising forward."""
    model, inputs = awake(row), target()
    seen: list[tuple[int, tuple[int, ...]]] = []
    inner = model.mechanism.recur

    def watched(block: int, x: torch.Tensor, state: Any, looks: Any) -> torch.Tensor:
        seen.append((block, tuple(x.shape)))
        return inner(block, x, state, looks)

    model.mechanism.__dict__["recur"] = watched
    model(**inputs, slots=given)
    return seen


def test_in_denoising_the_recurrence_runs_over_target_frames_without_the_anchors_token(row: MemoryRow) -> None:
    n = (SHAPE.height // 2) * (SHAPE.width // 2)
    shape = (2, SHAPE.frames, n, BACKBONE["width"])
    assert watched_recur(row, evidence(slots_of(row))) == [(0, shape), (2, shape)]


def test_a_cold_start_writes_the_anchor_onto_nothing_whatever_the_others_carry(row: MemoryRow) -> None:
    model, inputs = awake(row), target()
    count = slots_of(row)
    past, own = evidence(count, seed=7), evidence(count, missing=(count - 1, 0))
    past.valid[0] = False
    with torch.no_grad():
        together = model(**inputs, slots=own, history=[past])
        alone = model(**{key: value[:1] for key, value in inputs.items()}, slots=part_of(own, 0).anchor())
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)


def part_of(slots: Slots, sample: int) -> Slots:
    only = slice(sample, sample + 1)
    return Slots(slots.latents[only], slots.actions[only], slots.valid[only])


def test_two_segments_are_written_in_their_order(row: MemoryRow) -> None:
    model, text = awake(row), target()["text"]
    first, second = evidence(SLOTS, seed=1), evidence(SLOTS, seed=2)
    with torch.no_grad():
        here = model.write(model.write(None, first, text), second, text)
        there = model.write(model.write(None, second, text), first, text)
    assert here is not None and there is not None
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(here, there, strict=True))


def test_no_state_is_read_as_the_empty_state(row: MemoryRow) -> None:
    model, inputs, given = awake(row), target(), evidence(slots_of(row))
    empty = tuple(torch.zeros(shape) for shape in model.mechanism.state_shapes(BATCH))
    with torch.no_grad():
        nothing = model.denoise(**inputs, slots=given, state=None)
        torch.testing.assert_close(model.denoise(**inputs, slots=given, state=empty), nothing, atol=1e-6, rtol=0)


def test_gradients_pass_both_writes() -> None:
    """The preceding segment's newest frame and this segment's, and what wrote them, learn from one loss."""
    for name, kept in (("ssm-hybrid", SLOTS), ("ssm-blockwise", SLOTS)):
        model, inputs = awake(rows_named(name)), target()
        own, past = evidence(2), evidence(kept, seed=7)
        for slots in (own, past):
            slots.latents.requires_grad_()
        (model(**inputs, slots=own, history=[past]) - 1).square().mean().backward()
        assert past.latents.grad is not None and own.latents.grad is not None
        assert past.latents.grad.isfinite().all()
        assert past.latents.grad[:, 0].abs().amax((1, 2, 3)).gt(0).all(), name  # its anchor: written last
        assert own.latents.grad[:, 1].abs().amax((1, 2, 3)).gt(0).all(), name  # retrieved: no token of its own
        older = past.latents.grad[:, 1].abs().sum()
        assert bool(older > 0) is (name == "ssm-blockwise")


def test_the_gradient_of_both_writes_is_that_of_the_state_carried_by_hand(row: MemoryRow) -> None:
    inputs, own, past = target(), evidence(4), evidence(4, seed=7)
    together, by_hand = awake(row), awake(row)
    (together(**inputs, slots=own, history=[past]) - 1).square().mean().backward()
    state = by_hand.write(by_hand.write(None, past, inputs["text"]), own, inputs["text"])
    (by_hand.denoise(**inputs, slots=own, state=state) - 1).square().mean().backward()
    theirs = dict(by_hand.named_parameters())
    for name, parameter in together.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=2e-6, rtol=1e-3)


def test_a_retrieved_frame_says_the_same_wherever_padding_stands(row: MemoryRow) -> None:
    model, inputs = awake(row), target()
    count = slots_of(row)
    given = evidence(count, missing=(4, 4))
    kept = Slots(given.latents[:, : count - 4], given.actions[:, : count - 4], given.valid[:, : count - 4])
    longer = replace(given, latents=given.latents.masked_fill(~given.valid[:, :, None, None, None], 7.0))
    with torch.no_grad():
        assert torch.equal(model(**inputs, slots=longer), model(**inputs, slots=kept))
