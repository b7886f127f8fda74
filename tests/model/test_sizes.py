"""The arithmetic of plans against the models themselves: every row of matrix.yaml, and mechanisms of a user's own."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from own_study import CHECKOUT, ROWS, own_matrix
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.spec.cell import Cell
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from workloads.contract.rows import RowError
from workloads.memory.interface import Slots
from workloads.model import cost, initial
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel
from workloads.study import sizes
from workloads.study.memory.context import Context
from workloads.study.memory.families import row_from
from workloads.study.memory.ssm import Ssm
from workloads.study.sizes import (
    flops_denoise,
    flops_write,
    full_step,
    latent_shape,
    model_sizes,
    parameters_added,
    parameters_shared,
    tokens_forward,
    tokens_written,
)
from workloads.study.workload import WORKLOAD

SMALL = ("controls.data.chunk_frames=5", "controls.evidence.frames=6", "controls.data.height=16")


def cells(profile: str, *overrides: str) -> dict[str, Cell]:
    """Every distinct computation of seed 0 that trains, by row."""
    found = expand(resolve_profile(load_matrix(own_matrix()), profile, overrides))
    return {cell.row: cell for cell in found if cell.alias_of is None and cell.seed == 0 and not cell.reference}


LAPTOP, PAPER = cells("laptop"), cells("paper")


def model_of(cell: Cell) -> WorldModel:
    """The real model of a cell, without storage."""
    controls: Any = cell.controls
    frames, channels, height, width = latent_shape(controls["data"], controls["codec"])
    text = {key: int(controls["codec"][key]) for key in ("text_tokens", "text_width")}
    shape = LatentShape(channels=channels, height=height, width=width, frames=frames, **text)
    with torch.device("meta"):
        return WorldModel(controls["backbone"], controls["action"], row_from(cell.trained), shape)


@pytest.mark.parametrize("row", LAPTOP)
@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_parameters_are_counted_as_the_model_has_them(profile: str, row: str) -> None:
    cell = (LAPTOP if profile == "laptop" else PAPER)[row]
    model, sizes = model_of(cell), model_sizes(cell.controls, row_from(cell.trained))
    assert parameters_shared(sizes) + parameters_added(sizes) == sum(p.numel() for p in model.parameters())
    assert parameters_added(sizes) == initial.parameters_added(model)


@pytest.mark.parametrize("row", LAPTOP)
def test_a_row_has_the_blocks_and_the_state_that_it_declares(row: str) -> None:
    cell = LAPTOP[row]
    mechanism, memory = model_of(cell).mechanism, row_from(cell.trained)
    sizes = model_sizes(cell.controls, memory)
    assert mechanism.carries_state == memory.carries_state
    assert mechanism.recurrent == sizes.recurrent
    written = sizes.recurrent if memory.carries_state else ()
    assert mechanism.state_shapes(2) == [(2, *memory.state_shape(sizes)) for _ in written]


@pytest.mark.parametrize("site", ["post_attention", "pre_norm", "pre_qkv_gated"])
def test_parameters_of_the_other_action_sites(site: str) -> None:
    cell = cells("laptop", f"controls.action.site={site}")["context-k5"]
    total = sum(p.numel() for p in model_of(cell).parameters())
    assert parameters_shared(model_sizes(cell.controls, row_from(cell.trained))) == total


@pytest.mark.parametrize("row", LAPTOP)
def test_flops_are_those_that_torch_counts_in_every_row(row: str) -> None:
    cell = cells("laptop", *SMALL)[row]
    sizes = model_sizes(cell.controls, row_from(cell.trained))
    model = model_of(cell).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for buffer in model.buffers():
            buffer.zero_()
    shape, k = model.shape, sizes.slots
    latent = (shape.channels, shape.height, shape.width)
    slots = Slots(torch.zeros(2, k, *latent), torch.zeros(2, k, 12), torch.ones(2, k, dtype=torch.bool))
    text = torch.zeros(2, shape.text_tokens, shape.text_width)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as written:
        state = model.write(None, slots, text)
    noisy, actions = torch.zeros(2, shape.frames, *latent), torch.zeros(2, shape.frames, 12)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        model.denoise(noisy, torch.zeros(2), actions, text, slots, state)
    assert flops_denoise(sizes, 2, k) == pytest.approx(counted.get_total_flops(), rel=0.01)
    assert flops_write(sizes, 2, k) == pytest.approx(written.get_total_flops(), rel=0.02)
    assert cost.flops_step(model, 2, k) == 3 * (flops_denoise(sizes, 2, k) + flops_write(sizes, 2, k))
    assert cost.tokens_forward(model, k) == tokens_forward(sizes, k)


def test_tokens_at_the_size_of_the_paper() -> None:
    sizes = {row: model_sizes(cell.controls, row_from(cell.trained)) for row, cell in PAPER.items()}
    found = {row: tokens_forward(s, s.slots) for row, s in sizes.items()}
    assert found["context-k5"] == 22_880
    assert found["context-k1"] == found["spatial"] == found["ssm-blockwise"] == 19_360
    assert found["context-k20"] == found["compress-weight"] == 36_080
    assert tokens_written(sizes["ssm-hybrid"], 20) == 17_600
    assert tokens_written(sizes["context-k20"], 20) == 0


def test_a_wan_backbone_with_the_action_maps_of_thirty_blocks() -> None:
    cell = PAPER["context-k1"]
    sizes = model_sizes(cell.controls, row_from(cell.trained))
    assert parameters_shared(sizes) - 30 * (13 * 1536) == 1_418_996_800


def test_the_table_of_the_documentation_is_the_codes() -> None:
    text = (CHECKOUT / "docs" / "explanation" / "sizes.md").read_text(encoding="utf-8")
    text = text.split("## Parameters added")[1].split("\n## ")[0]
    cells_of = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    table = {cells[1].strip(" `"): int(cells[2].replace(",", "")) for cells in cells_of}
    found = {row: parameters_added(model_sizes(cell.controls, row_from(cell.trained))) for row, cell in PAPER.items()}
    for row in ("spatial-masked", "context-k5-aa", *ROWS):  # spatial's weights; context-k5 again; not of the study
        del found[row]
    assert table == found


def test_the_papers_size_is_that_of_the_profile_paper() -> None:
    # Of rows that read every control; the others leave some of them out.
    readers = [model_sizes(PAPER[row].controls, row_from(PAPER[row].trained)) for row in ("spatial-readout", "spatial")]
    assert all(getattr(readers[0], f.name) == getattr(sizes.PAPER, f.name) for f in fields(sizes.PAPER))
    data, turns = PAPER["spatial"].controls["data"], PAPER["spatial"].branches["loop"]["turns_deg"]
    assert (len(turns) - 1) * (data["chunk_frames"] - 1) + 1 == sizes.PAPER_HISTORY


def test_what_each_row_reads_and_keeps_at_the_papers_size() -> None:
    # study.md, section 5: latents of K = 20 are 1.13 M, the block-wise state is 10.8 M; 241 frames are 13.6 M.
    shipped = [cell for cell in LAPTOP.values() if cell.row not in ROWS]
    found = {cell.row: WORKLOAD.sizes([cell])[cell.id] for cell in shipped}
    assert {row: (size["floats_read"] / 1e6, size["floats_kept"] / 1e6) for row, size in found.items()} == {
        row: (pytest.approx(read, rel=0.005), pytest.approx(kept, rel=0.005))
        for row, read, kept in [
            ("context-k1", 0.0563, 0.0563),
            ("context-k5", 0.282, 13.57),
            ("context-k20", 1.13, 13.57),
            ("context-k5-aa", 0.282, 13.57),
            ("context-k5-bearing", 0.282, 13.57),
            ("context-k20-bearing", 1.13, 13.57),
            ("context-k20-bearing-noyaw", 1.13, 13.57),
            ("context-k20-depths", 1.13, 13.57),
            ("context-k20-depths-noyaw", 1.13, 13.57),
            ("context-k20-ray", 1.13, 13.57),
            ("context-k20-ray-noyaw", 1.13, 13.57),
            ("compress-weight", 1.13, 13.57),
            ("compress-length-r2", 0.620, 13.57),
            ("compress-length-r4", 0.338, 13.57),
            ("compress-length-r8", 0.225, 13.57),
            ("compress-hybrid-r2", 0.620, 13.57),
            ("compress-hybrid-r4", 0.338, 13.57),
            ("spatial", 0.0983, 13.57),
            ("spatial-readout", 0.0983, 13.57),
            ("spatial-masked", 0.0563, 13.57),
            ("spatial-bearing", 0.344, 13.57),
            ("spatial-bearing-noyaw", 0.344, 13.57),
            ("spatial-place", 0.344, 13.57),
            ("spatial-place-noyaw", 0.344, 13.57),
            ("ssm-hybrid-published", 43.54, 56.83),
            ("ssm-blockwise-published", 11.095, 24.39),
            ("ssm-matrix-bearing", 1.573, 15.15),
            ("ssm-matrix-bearing-noyaw", 1.573, 15.15),
            ("ssm-matrix-learned", 1.573, 15.15),
            ("ssm-delta-bearing", 1.573, 15.15),
            ("ssm-delta-bearing-noyaw", 1.573, 15.15),
            ("ssm-hybrid", 43.25, 56.83),
            ("ssm-blockwise", 10.81, 24.39),
            ("ssm-hybrid-place", 11.01, 24.59),  # 2 registers of 8 x 28 cells in each of 8 blocks
            ("ssm-hybrid-place-noyaw", 11.01, 24.59),
            ("ssm-place", 2.754, 16.33),
            ("ssm-place-noyaw", 2.754, 16.33),
        ]
    }
    state = row_from(LAPTOP["ssm-blockwise"].trained).floats_read(sizes.PAPER, 20)
    kept = row_from(LAPTOP["ssm-blockwise"].trained).floats_kept(sizes.PAPER, 20, 0)
    assert state == kept == 880 * 1536 * 8


def test_rows_say_what_they_are_made_of_for_the_reports_factor_effects() -> None:
    made = {name: tuple(row.factors.values()) for name, row in load_matrix(own_matrix()).rows.items()}
    assert made["context-k5"] == made["context-k20"] == ("tokens", "none", "self-attention")
    assert made["context-k1"] == made["spatial-withheld"] == ("none", "none", "none")
    assert made["spatial"] == ("grid", "none", "text") and made["ssm-hybrid"] == ("convolution", "none", "recurrence")
    # A trained reader whose store is masked, and ceiling and floor, are no choices to compare.
    assert made["spatial-masked"] == made["bound-truth"] == ()
    # Cells that are fixed in the world, and what they are found by.
    assert made["spatial-bearing"] == ("cells", "bearing", "text")
    assert made["spatial-place-noyaw"] == ("cells", "bearing without yaw", "readout")
    assert made["ssm-delta-bearing"] == ("delta", "bearing", "recurrence")
    assert made["ssm-matrix-learned"] == ("matrix", "learned", "recurrence")
    # Two stores are no row of either.
    assert made["ssm-blockwise-published"] == (
        "tokens and diagonal",
        "none",
        "self-attention and recurrence",
    )
    assert made["compress-hybrid-r2"] == ("pooled and weighted", "none", "self-attention")
    blind, seeing = (Context(frames=5, address="bearing", yaw=yaw).factors["address"] for yaw in (False, True))
    assert (blind, seeing) == ("bearing without yaw", "bearing")


def test_a_stream_writes_a_chunk_at_a_time_and_keeps_no_history() -> None:
    retrieved, stream = (
        Ssm(tau=(1.0, 128.0), rho=(0.1, 0.2), address="place", write_from=name) for name in ("retrieved", "stream")
    )
    controls = PAPER["ssm-place"].controls
    worlds = {**controls, "data": {**controls["data"], "source": "worlds"}}
    found = [model_sizes(worlds, row) for row in (retrieved, stream)]
    assert [s.written for s in found] == [20, 80]
    assert [s.trained for s in found] == [40, 3 * 80 + 1]  # the last of four chunks: all frames before it, its anchor
    assert model_sizes(controls, stream).trained == 7601 - 80  # of a scene of the published pool
    assert "evidence.frames" in retrieved.reads and "evidence.frames" not in stream.reads
    state = 8 * 8 * 28 * 1537
    frame = 16 * 44 * 80
    for history in (241, 2**20):
        assert stream.floats_kept(sizes.PAPER, 1, history) == state + frame
        assert retrieved.floats_kept(sizes.PAPER, 20, history) == state + history * frame
    # A step's write costs what its frames cost.
    shortest = replace(found[1], streamed=(80, 1))
    assert full_step(found[1], 1) - full_step(shortest, 1) == 3 * flops_write(found[1], 1, 240)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"write_from": "all"}, "write_from is 'all'; allowed: retrieved, stream"),
        ({"write_from": "stream", "context": 5}, "context is 5, but write_from: stream retrieves none; allowed: 1"),
    ],
)
def test_what_a_stream_cannot_be_is_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(RowError, match=re.escape(said)):
        Ssm(tau=(1.0, 128.0), rho=(0.1, 0.2), **parameters)
