"""Masters, moments and gates stay float32 under bfloat16, and a slow gate opens (issue: memory at scale)."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workloads.contract.request import Execution, Rendezvous
from workloads.training.engine import Engine, join_ranks
from workloads.training.optimiser import make_optimiser, optimiser_groups
from workloads.training.settings import BatchShape

TRAINING: dict[str, Any] = {"clip": 1.0, "precision": "bfloat16", "weight_decay": 0.01}
ALONE = Rendezvous(world_size=1, rank=0, local_rank=0, address=None, port=None, listen_fd=None)


class Gated(nn.Module):
    """A map behind a gate that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.map = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.map(x).float().square()


def engine_of(model: nn.Module, stage: int) -> Engine:
    torch.set_num_threads(1)
    join_ranks(ALONE, "cpu")
    how = Execution(
        device="cpu", ranks=1, threads=1, micro_batch=None, accumulate=1,
        deepspeed={"zero_optimization": {"stage": stage, "reduce_bucket_size": 10000}}, checkpoint_every_s=30.0,
        keep="weights", grace_s=1.0, deterministic=True,
    )  # fmt: skip
    shape = BatchShape(global_batch=2, ranks=1, micro_batch=2, accumulate=1)
    return Engine(model, make_optimiser(optimiser_groups(model, TRAINING)), TRAINING, how, shape)


def step(engine: Engine, rate: float) -> None:
    engine.backward(-engine.forward(torch.ones(2, 4)).mean(), last=True)  # the gate's gradient is never positive
    engine.finish(take=True, rate=rate)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_parameters_and_moments_are_float32_under_bfloat16(stage: int) -> None:
    model = Gated()
    engine = engine_of(model, stage)
    step(engine, 1e-3)
    with engine.whole() as whole:
        assert {p.dtype for p in whole.parameters()} == {torch.float32}
    moments = engine.moments()
    assert moments and {value.dtype for value in moments.values()} == {torch.float32}


def test_a_gate_at_zero_passes_a_tenth_within_five_thousand_small_steps() -> None:
    # In bfloat16 a gate near 0.1 moves by 0.0005 at least: steps of 5e-5 would be rounded away.
    model = Gated()
    engine = engine_of(model, 0)
    for _ in range(5000):
        step(engine, 5e-5)
        if float(model.gate.detach()) > 0.1:
            break
    assert model.gate.dtype == torch.float32 and float(model.gate.detach()) > 0.1
