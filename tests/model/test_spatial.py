"""The spatial store: known answers for its average, its grid, its mix, and its read-out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from workloads.contract.rows import resolved
from workloads.memory.interface import Address, Sizes, Slots, Stored
from workloads.memory.mechanisms import make_mechanism
from workloads.memory.read.cross_attention import ReadByCrossAttention, Readout
from workloads.memory.write.cells import Cells
from workloads.memory.write.grid import DIAGONAL
from workloads.model.initial import initialise
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.runtime.errors import BadInput
from workloads.study.memory.address.none import NoAddressSpec
from workloads.study.memory.spatial import Spatial
from workloads.study.memory.write.cells import CellsSpec

NO_SLOTS = Slots(torch.zeros(1, 1, 1, 1, 1), torch.zeros(1, 1, 12), torch.ones(1, 1, dtype=torch.bool))
NOWHERE = Address(NoAddressSpec(), Sizes(width=8, blocks=1, heads=2, rows=1, columns=1, controls={}))


def store(rows: int, columns: int, grid: int, tokens: int, read: Any = "text") -> Any:
    controls = {"grid": grid, "grid_tokens": tokens, "recurrent_every": 2}
    sizes = Sizes(width=8, blocks=4, heads=2, rows=rows, columns=columns, controls=controls)
    made = make_mechanism(Spatial(write="grid", read=read), sizes)
    initialise(made, 0)
    return made


def pooled(made: Any, image: Tensor) -> Tensor:
    """Cells of one value a token, `image` (rows, columns)."""
    return made.memory.pooling @ image.flatten()


def test_cells_are_rectangles_of_the_image_and_not_runs_of_the_raster() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(8.0), indexing="ij")
    made = store(4, 8, 2, 4)
    assert pooled(made, rows).tolist() == [0.5, 0.5, 2.5, 2.5]
    assert pooled(made, columns).tolist() == [1.5, 5.5, 1.5, 5.5]  # runs of 8 tokens would give 3.5 everywhere


def test_a_grid_that_does_not_divide_the_image_overlaps_as_adaptive_pooling_does() -> None:
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing="ij")
    made = store(3, 5, 2, 4)
    # Rows 0..1 and 1..2, columns 0..2 and 2..4.
    assert pooled(made, rows).tolist() == pytest.approx([0.5, 0.5, 1.5, 1.5])
    assert pooled(made, columns).tolist() == pytest.approx([1.0, 3.0, 1.0, 3.0])


def test_the_grid_of_the_paper_pools_22_x_40_tokens_to_64_cells_of_equal_shares() -> None:
    made = store(22, 40, 8, 64)
    assert made.memory.pooling.shape == (64, 880)
    torch.testing.assert_close(made.memory.pooling.sum(1), torch.ones(64))
    columns = torch.arange(40.0).expand(22, 40)
    assert pooled(made, columns).view(8, 8)[0].tolist() == pytest.approx([2 + 5 * cell for cell in range(8)])


def test_a_token_starts_as_its_own_cell_with_the_softmax_of_five_on_the_diagonal() -> None:
    made = store(4, 4, 2, 3)
    logits = made.memory.mixing.detach()
    assert logits.shape == (4, 3)
    assert torch.equal(logits, DIAGONAL * torch.eye(4, 3)) and DIAGONAL == 5
    own = math.exp(5) / (math.exp(5) + 3)
    cells = torch.eye(4)
    tokens = made.store((torch.linalg.pinv(made.memory.pooling) @ cells)[None, None], NO_SLOTS).tokens[0].detach()
    assert tokens.argmax(1).tolist() == [0, 1, 2]
    assert [float(tokens[token, token]) for token in range(3)] == pytest.approx([own] * 3, rel=1e-4)
    torch.testing.assert_close(tokens.sum(1), torch.ones(3))


@pytest.mark.parametrize(("grid", "tokens"), [(1, 1), (2, 3), (2, 4), (4, 16), (8, 64)])
@pytest.mark.parametrize("spread", [0.0, 3.0, 30.0])
def test_every_token_is_an_average_of_cells_at_the_start_and_after_any_learning(
    grid: int, tokens: int, spread: float
) -> None:
    made = store(8, 8, grid, tokens)
    with torch.no_grad():
        made.memory.mixing += spread * torch.randn(made.memory.mixing.shape, generator=torch.Generator().manual_seed(0))
    cells = torch.eye(grid * grid)
    shares = made.store((torch.linalg.pinv(made.memory.pooling) @ cells)[None, None], NO_SLOTS).tokens[0].detach()
    assert shares.shape == (tokens, grid * grid)
    assert (shares >= -1e-5).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("grid", "tokens"), [(2, 4), (4, 16), (8, 64)])
def test_at_the_start_a_token_is_nearly_its_own_cell_and_the_rest_is_shared_equally(grid: int, tokens: int) -> None:
    made = store(8, 8, grid, tokens)
    shares = made.memory.mixing.detach().softmax(0)
    cells = grid * grid
    others = 1 / (math.exp(5) + cells - 1)
    expected = torch.full((cells, tokens), others) + (math.exp(5) - 1) * others * torch.eye(cells, tokens)
    torch.testing.assert_close(shares, expected)
    assert float(shares.diagonal().min()) > 0.7


@pytest.mark.parametrize("read", ["text", "readout"])
def test_what_is_stored_has_the_same_shape_however_many_frames_were_seen(read: str) -> None:
    made = store(2, 2, 2, 3, read)
    shapes = set()
    for frames in (1, 2, 5, 20):
        slots = Slots(
            torch.ones(1, frames, 1, 4, 4), torch.zeros(1, frames, 12), torch.ones(1, frames, dtype=torch.bool)
        )
        summary = made.summary(slots)
        assert summary is not None
        tokens = summary.flatten(2).mean(2)[:, :, None, None].expand(1, 1, 4, 8)  # in place of the patch embedding
        shapes.add((*summary.shape, *made.store(tokens, slots).tokens.shape))
    assert shapes == {(1, 1, 1, 4, 4, 1, 3, 8)}


def test_a_mixed_constant_is_the_constant_whatever_is_learned() -> None:
    made = store(3, 5, 2, 4)
    with torch.no_grad():
        made.memory.mixing.normal_(0, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made.store(torch.full((1, 1, 15, 8), 0.7), NO_SLOTS).tokens, torch.full((1, 4, 8), 0.7))


def test_the_average_is_over_each_samples_valid_evidence_the_anchor_included() -> None:
    latents = torch.tensor([2.0, 4.0, 9.0]).view(1, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    summary = store(2, 2, 1, 1).summary(Slots(latents, torch.zeros(2, 3, 12), valid))
    assert summary is not None and summary.shape == (2, 1, 1, 4, 4)
    assert summary[:, 0, 0, 0, 0].tolist() == pytest.approx([5.0, 3.0])


def test_averaging_latents_before_they_are_embedded_is_averaging_tokens() -> None:
    shape = LatentShape(channels=2, height=4, width=4, frames=2, text_tokens=1, text_width=4)
    backbone = {
        "width": 24, "blocks": 1, "heads": 2, "feed_forward": 16, "frequency_width": 8, "grid": 1, "grid_tokens": 1,
    }  # fmt: skip
    model = build_model(backbone, {"site": "pre_qkv"}, resolved(Spatial(write="grid", read="text")), shape, 0)
    with torch.no_grad():
        model.patch_embedding.bias.normal_(generator=torch.Generator().manual_seed(0))
        latents = torch.randn(1, 5, 2, 4, 4, generator=torch.Generator().manual_seed(1))
        summary = model.mechanism.summary(Slots(latents, torch.zeros(1, 5, 12), torch.ones(1, 5, dtype=torch.bool)))
        assert summary is not None
        torch.testing.assert_close(model._embedded(summary)[:, 0], model._embedded(latents).mean(1))


@pytest.mark.parametrize("gate", [0.0, 0.5, -0.5])
def test_a_read_out_adds_the_hyperbolic_tangent_of_its_gate_times_what_it_read(gate: float) -> None:
    reader = Readout(8, 2)
    initialise(reader, 0)
    generator = torch.Generator().manual_seed(0)
    x, stored = torch.randn(1, 2, 3, 8, generator=generator), torch.randn(1, 4, 8, generator=generator)
    with torch.no_grad():
        assert torch.equal(reader(x, Stored(stored), NOWHERE, None), x)
        reader.gate.fill_(100.0)
        read = reader(x, Stored(stored), NOWHERE, None) - x
        reader.gate.fill_(gate)
        torch.testing.assert_close(
            reader(x, Stored(stored), NOWHERE, None), x + float(torch.tensor(gate).tanh()) * read
        )


def test_a_read_out_of_equal_tokens_is_their_value_whatever_asks() -> None:
    reader = Readout(8, 2)
    initialise(reader, 0)
    token = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, 2, 3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        reader.gate.fill_(0.5)
        value = reader.out(reader.key_value(token).chunk(2, -1)[1])
        torch.testing.assert_close(
            reader(x, Stored(token.expand(1, 5, 8)), NOWHERE, None) - x,
            math.tanh(0.5) * value[:, None].expand(1, 2, 3, 8),
        )


def test_readers_stand_in_the_recurrent_blocks_alone() -> None:
    assert list(store(2, 2, 2, 2, "readout").readers) == ["0", "2"]
    assert not hasattr(store(2, 2, 2, 2, "text"), "readers")


def test_what_is_read_comes_after_text_attention_and_before_the_feed_forward() -> None:
    shape = LatentShape(channels=2, height=4, width=4, frames=2, text_tokens=1, text_width=4)
    backbone = {
        "width": 24, "blocks": 4, "heads": 2, "feed_forward": 16, "frequency_width": 8, "recurrent_every": 2,
        "grid": 2, "grid_tokens": 2,
    }  # fmt: skip
    row = resolved(Spatial(write="grid", read="readout"))
    model: WorldModel = build_model(backbone, {"site": "pre_qkv"}, row, shape, 0)
    seen: list[str] = []
    for index, block in enumerate(model._blocks()):
        block.self_attention.register_forward_hook(lambda *_, i=index: seen.append(f"attend {i}"))
        block.text_attention.register_forward_hook(lambda *_, i=index: seen.append(f"text {i}"))
        block.widen.register_forward_hook(lambda *_, i=index: seen.append(f"feed {i}"))
    assert isinstance(model.mechanism, ReadByCrossAttention)
    for name, reader in model.mechanism.readers.items():
        reader.register_forward_hook(lambda *_, i=name: seen.append(f"read {i}"))
    slots = Slots(torch.ones(1, 3, 2, 4, 4), torch.zeros(1, 3, 12), torch.ones(1, 3, dtype=torch.bool))
    model(torch.ones(1, 2, 2, 4, 4), torch.tensor([0.5]), torch.zeros(1, 2, 12), torch.ones(1, 1, 4), slots)
    expected = [[f"attend {i}", f"text {i}", *([f"read {i}"] if i in (0, 2) else []), f"feed {i}"] for i in range(4)]
    assert seen == [step for block in expected for step in block]


def test_cells_ask_an_address_for_bearings_and_say_so() -> None:
    sizes = Sizes(width=24, blocks=1, heads=2, rows=2, columns=4, controls={})
    slots = Slots(torch.zeros(1, 1, 1, 1, 1), torch.zeros(1, 1, 12), torch.ones(1, 1, dtype=torch.bool))
    cells = Cells(CellsSpec(cells=(8, 28)), sizes)
    with pytest.raises(BadInput, match=r"bearings from its address, \(b, f, 4\) in radians, which Address\.looks"):
        cells.stored(torch.zeros(1, 1, 8, 24), slots, Address(NoAddressSpec(), sizes))
