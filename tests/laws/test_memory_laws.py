"""What holds for every row of matrix.yaml, at toy size (study.md section 5, "Laws")."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_rows import (
    BATCH,
    BLOCKS,
    NAMES,
    ROWS,
    SLOTS,
    STATEFUL,
    awake,
    changed,
    each,
    evidence,
    history_of,
    rows_named,
    slots_of,
    target,
    toy,
)

from workloads.memory.interface import Slots
from workloads.model.initial import initial_shared_digest, trainable_shared_digest
from workloads.model.world_model import WorldModel
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.context import Context


@pytest.fixture(params=each(NAMES))
def row(request: pytest.FixtureRequest) -> MemoryRow:
    return rows_named(request.param)


@pytest.fixture(params=each(STATEFUL))
def state_row(request: pytest.FixtureRequest) -> MemoryRow:
    return rows_named(request.param)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_row_starts_the_shared_parameters_at_the_same_bits(row: MemoryRow) -> None:
    assert initial_shared_digest(toy(row)) == initial_shared_digest(toy(rows_named("context-k1")))


def test_every_row_trains_the_same_shared_parameters_and_one_that_freezes_any_is_told(row: MemoryRow) -> None:
    model = toy(row)
    assert trainable_shared_digest(model) == trainable_shared_digest(toy(rows_named("context-k1")))
    model.patch_embedding.bias.requires_grad_(requires_grad=False)
    assert trainable_shared_digest(model) != trainable_shared_digest(toy(row))


def test_another_initialisation_stream_starts_elsewhere_and_0_is_none(row: MemoryRow) -> None:
    digests = [initial_shared_digest(toy(replace(row, init_stream=stream))) for stream in (0, 1, 2)]
    assert digests[0] == initial_shared_digest(toy(row)) and len(set(digests)) == 3
    other, seeded = (dict(one.named_parameters()) for one in (toy(replace(row, init_stream=1)), toy(row, 1)))
    for name, parameter in toy(row).named_parameters():  # the mechanism's own too: all that another seed draws anew
        assert torch.equal(parameter, other[name]) == torch.equal(parameter, seeded[name]), name


def test_another_seed_starts_elsewhere(row: MemoryRow) -> None:
    assert initial_shared_digest(toy(row, 1)) != initial_shared_digest(toy(row, 0))


def with_head(row: MemoryRow) -> WorldModel:
    """The true start, but for a head that says something: at the start it is zero and would hide everything."""
    model = toy(row)
    with torch.no_grad():
        model.head.out.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(9))
    return model


@pytest.mark.parametrize("name", each([n for n in NAMES if rows_named(n).context_slots(slots_of(rows_named(n))) == 1]))
def test_a_row_starts_as_the_anchor_only_row_bit_for_bit(name: str) -> None:
    row = rows_named(name)
    if getattr(row, "read", None) == "text":
        row = replace(row, masked=True)  # what is read beside the text is masked: the same token sequence
    given = evidence(slots_of(row))
    out = with_head(row)(**target(), slots=given, history=history_of(row))
    expected = with_head(rows_named("context-k1"))(**target(), slots=given.anchor())
    assert torch.equal(out, expected)


def test_with_its_retrieved_slots_masked_a_row_starts_as_the_anchor_only_row(row: MemoryRow) -> None:
    if getattr(row, "read", None) == "text":
        row = replace(row, masked=True)
    count = slots_of(row)
    given = evidence(count, missing=(count - 1, max(0, count - 2)))
    out = with_head(row)(**target(), slots=given, history=history_of(row))
    # An address of context tokens is the target's and the anchor's too.
    alone = replace(row, frames=1) if isinstance(row, Context) else rows_named("context-k1")
    expected = with_head(alone)(**target(), slots=given.anchor())
    torch.testing.assert_close(out[0], expected[0], atol=1e-5, rtol=0)


def test_masked_slots_have_no_influence(row: MemoryRow) -> None:
    model, count = awake(row), slots_of(row)
    given = evidence(count, missing=(3, 0))
    out = model(**target(), slots=given, history=history_of(row))
    garbage = given.latents.clone()
    garbage[~given.valid] = 1e3
    actions = given.actions.clone()
    actions[~given.valid] = -1e3
    again = model(**target(), slots=replace(given, latents=garbage, actions=actions), history=history_of(row))
    torch.testing.assert_close(again, out, atol=1e-6, rtol=0)


def test_a_result_does_not_depend_on_the_padding_of_others(row: MemoryRow) -> None:
    model, count = awake(row), slots_of(row)
    longer = evidence(count, missing=(3, 0))
    kept = max(1, count - 3)
    shorter = Slots(longer.latents[:, :kept], longer.actions[:, :kept], longer.valid[:, :kept])
    out = model(**target(), slots=longer, history=history_of(row))
    again = model(**target(), slots=shorter, history=history_of(row))
    torch.testing.assert_close(again[0], out[0], atol=2e-5, rtol=0)


def test_one_sample_never_leaks_into_another(row: MemoryRow) -> None:
    model, count = awake(row), slots_of(row)
    given, inputs, history = evidence(count, missing=(2, 0)), target(), history_of(row)
    out = model(**inputs, slots=given, history=history)
    other = {key: torch.cat([value[:1], value[1:] * 0.5]) for key, value in inputs.items()}
    moved = given
    for index in range(count):
        moved = changed(moved, index, sample=1)
    past = [changed(slots, 0, sample=1) for slots in history]
    again = model(**other, slots=moved, history=past)
    torch.testing.assert_close(again[0], out[0], atol=1e-6, rtol=0)
    assert not torch.allclose(again[1], out[1])


def test_two_cases_in_one_batch_are_the_same_two_apart(row: MemoryRow) -> None:
    """With evidence of unequal length, a history, and the state carried into a second chunk."""
    model, count = awake(row), slots_of(row)
    given, later, inputs = evidence(count, missing=(0, 4)), evidence(count, seed=3, missing=(2, 0)), target()

    def two_chunks(sample: slice) -> Tensor:
        chosen = {key: value[sample] for key, value in inputs.items()}
        state: Any = None
        said = []
        for slots in (given, later):
            own = Slots(slots.latents[sample], slots.actions[sample], slots.valid[sample]).trimmed()
            state = model.write(state, own, chosen["text"])
            said.append(model.denoise(**chosen, slots=own, state=state))
        return torch.stack(said)

    with torch.inference_mode():
        together = two_chunks(slice(None))
        apart = torch.cat([two_chunks(slice(i, i + 1)) for i in range(BATCH)], dim=1)
    torch.testing.assert_close(apart, together, atol=1e-5, rtol=0)


def test_reading_changes_nothing(row: MemoryRow) -> None:
    model, inputs = awake(row), target()
    given = evidence(slots_of(row), missing=(1, 0))
    kept = Slots(given.latents.clone(), given.actions.clone(), given.valid.clone())
    with torch.no_grad():
        state = model.write(None, given, inputs["text"])
        before = None if state is None else [tensor.clone() for tensor in state]
        first = model.denoise(**inputs, slots=given, state=state)
        second = model.denoise(**inputs, slots=given, state=state)
    assert torch.equal(first, second)
    assert torch.equal(given.latents, kept.latents) and torch.equal(given.actions, kept.actions)
    if state is not None and before is not None:
        assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))


def test_the_forward_of_training_is_write_and_denoise(row: MemoryRow) -> None:
    model, inputs = awake(row), target()
    given, history = evidence(slots_of(row), missing=(2, 0)), history_of(row)
    state = None
    for slots in [*history, given]:
        state = model.write(state, slots, inputs["text"])
    out = model.denoise(**inputs, slots=given, state=state)
    torch.testing.assert_close(model(**inputs, slots=given, history=history), out, atol=2e-5, rtol=0)


def test_a_state_is_as_large_as_declared_however_much_is_written(row: MemoryRow) -> None:
    model, text = awake(row), target()["text"]
    declared = model.mechanism.state_shapes(BATCH)
    for count in (1, slots_of(row)):
        state = model.write(None, evidence(count), text)
        assert [tuple(tensor.shape) for tensor in state or ()] == declared
        assert all(tensor.dtype == torch.float32 for tensor in state or ())
    assert bool(declared) == row.carries_state


def part(slots: Slots, *order: int) -> Slots:
    """These slots as a segment of their own; slot 0 of a segment is written last."""
    index = list(order)
    return Slots(slots.latents[:, index], slots.actions[:, index], slots.valid[:, index])


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_writing_in_pieces_equals_writing_at_once(state_row: MemoryRow, cut: int) -> None:
    model, text, given = awake(state_row), target()["text"], evidence(SLOTS)
    at_once = model.write(None, given, text)
    oldest = list(range(1, cut + 1))
    first = model.write(None, part(given, oldest[-1], *oldest[:-1]), text)
    pieces = model.write(first, part(given, 0, *range(cut + 1, SLOTS)), text)
    assert at_once is not None and pieces is not None
    for one, other in zip(pieces, at_once, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


def test_a_masked_slot_leaves_the_state_untouched(state_row: MemoryRow) -> None:
    model, text = awake(state_row), target()["text"]
    first = model.write(None, evidence(SLOTS), text)
    nothing = evidence(SLOTS, seed=3)
    nothing.valid[0] = False
    after = model.write(first, nothing, text)
    assert first is not None and after is not None
    for one, other in zip(after, first, strict=True):
        assert torch.equal(one[0], other[0])
        assert not torch.allclose(one[1], other[1])


def test_the_future_never_changes_what_was_written_before(state_row: MemoryRow) -> None:
    model, text = awake(state_row), target()["text"]
    given = evidence(SLOTS)
    tokens: list[list[Tensor]] = []
    for slots in (given, changed(given, 5)):
        seen: list[Tensor] = []
        inner = model.mechanism.write_block

        def watched(block: int, x: Tensor, *rest: Any, inner: Any = inner, seen: Any = seen) -> Any:
            y, after = inner(block, x, *rest)
            seen.extend([x, y])
            return y, after

        model.mechanism.__dict__["write_block"] = watched
        model.write(None, slots, text)
        del model.mechanism.__dict__["write_block"]
        tokens.append(seen)
    for one, other in zip(*tokens, strict=True):
        # Written order: slots 1, 2, ..., the anchor; the changed slot 5 stands at place 4.
        torch.testing.assert_close(one[:, :4], other[:, :4], atol=1e-6, rtol=0)
    assert not torch.allclose(tokens[0][-1][:, 4:], tokens[1][-1][:, 4:])


def test_a_later_chunk_does_not_change_what_an_earlier_one_says(row: MemoryRow) -> None:
    model, inputs, given = awake(row), target(), evidence(slots_of(row))
    state = model.write(None, given, inputs["text"])
    before = model.denoise(**inputs, slots=given, state=state)
    model.write(state, evidence(slots_of(row), seed=11), inputs["text"])
    assert torch.equal(model.denoise(**inputs, slots=given, state=state), before)


def slots_that_matter(model: WorldModel, row: MemoryRow) -> set[int]:
    given, inputs = evidence(slots_of(row)), target()
    with torch.no_grad():
        out = model(**inputs, slots=given)
        return {
            index
            for index in range(slots_of(row))
            if (model(**inputs, slots=changed(given, index)) - out).abs().max() > 1e-6
        }


@pytest.mark.parametrize("name", each(NAMES))
def test_a_changed_frame_changes_the_target_exactly_in_the_rows_that_claim_to_read_it(name: str) -> None:
    row = ROWS[name].evaluated()
    everything, claimed = set(range(slots_of(row))), set(range(slots_of(row)))
    if name == "spatial-masked":
        claimed = {0}
    if name == "ssm-hybrid":
        claimed = set(sorted(everything - {0})[-(2 * BLOCKS - 1) :]) | {0}
    assert slots_that_matter(awake(row), row) == claimed


def test_history_reaches_the_target_in_rows_with_a_state(state_row: MemoryRow) -> None:
    model, given, past = awake(state_row), evidence(1), evidence(SLOTS, seed=7)
    out = model(**target(), slots=given, history=[past])
    again = model(**target(), slots=given, history=[changed(past, 0)])
    assert (again - out).abs().max() > 1e-5


def loss(model: WorldModel, row: MemoryRow) -> Tensor:
    given = evidence(slots_of(row), missing=(2, 0))
    return (model(**target(), slots=given, history=history_of(row)) - 1).square().mean()


def test_every_gradient_is_finite_and_not_zero_once_gates_are_open(row: MemoryRow) -> None:
    model = awake(row)
    loss(model, row).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_memory_learns_from_the_true_start(row: MemoryRow) -> None:
    model = toy(row)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss(model, row).backward()
    optimiser.step()
    optimiser.zero_grad()
    loss(model, row).backward()
    added = dict(model.mechanism.named_parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in added.values())
    if added:
        assert any(p.grad is not None and p.grad.any() for p in added.values())
    optimiser.step()
    optimiser.zero_grad()
    loss(model, row).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_under_autocast_gates_decays_and_the_state_stay_float32(row: MemoryRow) -> None:
    model, inputs, given = awake(row), target(), evidence(slots_of(row), missing=(2, 0))
    exact = model(**inputs, slots=given, history=history_of(row))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = model.write(None, given, inputs["text"])
        out = model(**inputs, slots=given, history=history_of(row))
    assert out.dtype == torch.float32
    assert all(tensor.dtype == torch.float32 for tensor in state or ())
    assert (out - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("key", ["noisy", "sigma", "actions", "text"])
def test_a_wrong_shape_is_refused(row: MemoryRow, key: str) -> None:
    inputs = target()
    inputs[key] = inputs[key][..., :1].repeat_interleave(7, -1)
    with pytest.raises(ValueError, match=f"{key} has the shape .* the model expects"):
        toy(row)(**inputs, slots=evidence(slots_of(row)))


def test_evidence_of_a_wrong_shape_is_refused(row: MemoryRow) -> None:
    given = evidence(slots_of(row))
    short = replace(given, actions=given.actions[..., :9])
    with pytest.raises(ValueError, match=r"slots\.actions has the shape .* the model expects"):
        toy(row)(**target(), slots=short)
    with pytest.raises(ValueError, match=r"slots\.base has the shape .* the model expects"):
        toy(row)(**target(), slots=replace(given, base=given.actions[:1, 0]))
