"""Predicted activations against what autograd really keeps, and the rules of sharding."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from own_study import own_matrix

from orchestrator.spec.load import load_matrix
from workloads.model.check import BATCH, declared_bytes, kept_bytes, small_sizes
from workloads.study.footprint import GIB, activations, checkpoint_bytes, footprint, latents_and_pool, weights_bytes
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.context import Context
from workloads.study.sizes import ModelSizes, parameters_shared

ROWS: dict[str, MemoryRow] = {
    name: row.trained()
    for name, row in load_matrix(own_matrix()).rows.items()
    if isinstance(row, MemoryRow) and row.trained() == row
}
"""Every row of matrix.yaml that trains, and mechanisms of a user's own."""
PAPER = ModelSizes(
    row=Context(frames=5), slots=5, width=1536, blocks=30, heads=12, feed_forward=8960, frequency_width=256,
    recurrent_every=0, grid=0, grid_tokens=0, site="pre_qkv", channels=16, rows=22, columns=40, frames=21,
    text_tokens=512, text_width=4096,
)  # fmt: skip


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", ROWS)
def test_activations_are_those_that_autograd_keeps(row: str, precision: torch.dtype, recomputed: bool) -> None:
    sizes = small_sizes(ROWS[row])
    predicted = declared_bytes(sizes, precision, recomputed=recomputed)
    assert predicted == pytest.approx(kept_bytes(sizes, precision, recomputed=recomputed), rel=0.05)


@pytest.mark.parametrize("site", ["post_attention", "pre_norm", "pre_qkv_gated"])
def test_activations_of_the_other_action_sites(site: str) -> None:
    sizes = small_sizes(Context(frames=5), site)
    kept = kept_bytes(sizes, torch.float32, recomputed=False)
    assert BATCH * activations(sizes, 4, recomputed=False) == pytest.approx(kept, rel=0.05)


def states(ranks: int = 8, **zero: Any) -> tuple[int, int]:
    settings = {"zero_optimization": {"reduce_bucket_size": 0, "stage3_max_live_parameters": 0, **zero}}
    found = footprint(PAPER, micro_batch=1, ranks=ranks, precision="float32", deepspeed=settings)
    return found.states, found.host


def test_without_sharding_every_device_holds_sixteen_bytes_a_parameter() -> None:
    assert states(stage=0) == (16 * parameters_shared(PAPER), 0)


def test_each_zero_stage_holds_less_and_offloading_moves_it_to_the_host() -> None:
    held = [states(stage=stage, overlap_comm=False)[0] for stage in (0, 1, 2, 3)]
    assert held == sorted(held, reverse=True) and len(set(held)) == 4
    kept, host = states(stage=3, offload_optimizer={"device": "cpu"}, offload_param={"device": "cpu"})
    assert kept < held[3] and host == 2 * 8 * parameters_shared(PAPER) // 8


def test_more_devices_hold_less_each_only_where_something_is_sharded() -> None:
    assert states(ranks=2, stage=0) == states(ranks=8, stage=0)
    for stage in (1, 2, 3):
        assert states(ranks=8, stage=stage)[0] < states(ranks=2, stage=stage)[0]


def test_the_predictions_for_one_h100_are_within_a_twelfth_of_what_it_measured() -> None:
    # docs/benchmarks.md, "One H100": 64 x 64, 21 frames, batch 32, bfloat16; peak GiB without its context.
    measured = {
        "context-k1": 16.1,
        "context-k20": 28.6,
        "spatial-readout": 16.8,
        "ssm-hybrid": 38.3,
        "ssm-blockwise": 40.8,
    }
    for name, peak in measured.items():
        row = ROWS[name]
        sizes = ModelSizes(
            row=row, slots=row.evidence_frames({"frames": 20}), width=384, blocks=12, heads=6,
            feed_forward=1536, frequency_width=256, recurrent_every=4, grid=4, grid_tokens=16, site="pre_qkv",
            channels=48, rows=8, columns=8, frames=21, text_tokens=8, text_width=64,
        )  # fmt: skip
        found = footprint(sizes, micro_batch=32, ranks=1, precision="bfloat16", deepspeed={})
        assert (found.total - GIB) / GIB == pytest.approx(peak, rel=1 / 12), name


def test_recomputing_makes_the_paper_fit_where_it_did_not() -> None:
    kept, again = (
        footprint(PAPER, micro_batch=1, ranks=8, precision="bfloat16", deepspeed=settings).total / GIB
        for settings in ({}, {"activation_checkpointing": {}})
    )
    assert kept > 80 > again
    assert activations(replace(PAPER, blocks=60), 2, recomputed=True) < activations(PAPER, 2, recomputed=False)


def test_disk_of_the_real_pool_is_mostly_clips() -> None:
    data = {"source": "context-as-memory", "height": 352, "width": 640, "chunk_frames": 81}
    latents, pool, said = latents_and_pool(data, {"kind": "wan", "factor": 8})
    one = 16 * 44 * 80 * 2
    assert latents == 100 * (7601 + 1881 * 21) * one and pool == 0
    assert "100 scenes of 7601 frames" in said and "every 4th frame" in said


def test_disk_of_rendered_worlds_is_one_latent_a_frame() -> None:
    data = {
        "source": "worlds", "height": 8, "width": 16, "chunk_frames": 9, "train_scenes": 10, "held_out_scenes": 2,
        "open_prompts": 1, "open_variants": 3,
    }  # fmt: skip
    latents, pool, _ = latents_and_pool(data, {"kind": "space-to-depth", "factor": 2})
    assert latents == 15 * 33 * 12 * 4 * 8 * 4 and pool == 15 * 33 * 8 * 16 * 3


def test_checkpoints_hold_weights_and_two_moments_three_times_at_most() -> None:
    assert checkpoint_bytes(PAPER) == 9 * weights_bytes(PAPER) == 36 * parameters_shared(PAPER)
