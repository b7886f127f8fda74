"""A finite loss whose gradient is not finite: the step has no effect at any ZeRO stage (study.md section 6)."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_training import ALONE, EXECUTION, TRAINING, zero
from torch import Tensor, nn

from workloads.training.engine import Engine, join_ranks
from workloads.training.optimiser import make_optimiser, optimiser_groups
from workloads.training.settings import BatchShape

ONE = BatchShape(global_batch=1, ranks=1, micro_batch=1, accumulate=1)


class Root(nn.Module):
    """The square root of a product: its value is finite at 0, its derivative is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[2.0, 3.0]]))
        self.other = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ x).abs().sqrt().sum() + self.other.square().sum()


def made(stage: int) -> Engine:
    join_ranks(ALONE, "cpu")
    model = Root()
    execution = replace(EXECUTION, deepspeed=zero(stage) if stage else {})
    optimiser = make_optimiser(optimiser_groups(model, {"weight_decay": 0.01}))
    return Engine(model, optimiser, {**TRAINING, "global_batch": 1}, execution, ONE)


def stepped(engine: Engine, x: Tensor, *, take: bool = True) -> tuple[float, float]:
    loss = engine.forward(x)
    engine.backward(loss, last=True)
    return float(loss.detach()), engine.finish(take=take, rate=0.1)


def values(engine: Engine) -> list[Tensor]:
    with engine.whole() as model:
        return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_step_whose_gradient_is_not_finite_leaves_no_trace(stage: int) -> None:
    engine = made(stage)
    stepped(engine, torch.ones(2))
    before, moments = values(engine), engine.moments()
    loss, norm = stepped(engine, torch.zeros(2))
    assert math.isfinite(loss) and not math.isfinite(norm)
    assert all(torch.equal(one, other) for one, other in zip(values(engine), before, strict=True))
    after = engine.moments()
    assert after.keys() == moments.keys()
    assert all(torch.equal(after[key], moments[key]) for key in moments)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_step_after_it_is_that_of_a_training_that_never_met_it(stage: int) -> None:
    engine, straight = made(stage), made(stage)
    for seen in (engine, straight):
        stepped(seen, torch.ones(2))
    stepped(engine, torch.zeros(2))
    for seen in (engine, straight):
        stepped(seen, torch.tensor([1.0, 2.0]))
    assert all(torch.equal(one, other) for one, other in zip(values(engine), values(straight), strict=True))


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_rejected_step_of_a_finite_gradient_tells_its_norm_and_changes_nothing(stage: int) -> None:
    engine = made(stage)
    before = values(engine)
    _, norm = stepped(engine, torch.ones(2), take=False)
    assert math.isfinite(norm) and norm > 0
    assert all(torch.equal(one, other) for one, other in zip(values(engine), before, strict=True))
