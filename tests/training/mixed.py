"""A tiny model of odd sizes, with a buffer and two parameter groups, trained and saved by DeepSpeed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tiny_training import EXECUTION, TRAINING, zero
from torch import Tensor, nn

from workloads.contract.request import Rendezvous
from workloads.training.engine import Engine, join_ranks
from workloads.training.optimiser import make_optimiser, optimiser_groups
from workloads.training.settings import BatchShape


class Mixed(nn.Module):
    """Sizes that no number of ranks divides, names in another order than the groups, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.gate = nn.Parameter(torch.tensor([0.25]))
        self.first = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.second = nn.Linear(5, 7, bias=False)
        self.register_buffer("seen", torch.randn(3, generator=generator))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x + self.seen))) * self.gate


def engine_at(stage: int, meeting: Rendezvous) -> Engine:
    """An engine over `Mixed` at a ZeRO stage, this process being the rank of `meeting`."""
    join_ranks(meeting, "cpu")
    shape = BatchShape(global_batch=2, ranks=meeting.world_size, micro_batch=2 // meeting.world_size, accumulate=1)
    execution = replace(EXECUTION, ranks=meeting.world_size, deepspeed=zero(stage) if stage else {})
    model = Mixed()
    groups = optimiser_groups(model, {"weight_decay": 0.01})
    return Engine(model, make_optimiser(groups), {**TRAINING, "global_batch": 2}, execution, shape)


def step(engine: Engine) -> None:
    """One update, on samples that differ between ranks."""
    loss = engine.forward(torch.arange(3.0)[None] + engine.rank).square().mean()
    engine.backward(loss, last=True)
    engine.finish(take=True, rate=0.01)


def live(engine: Engine) -> dict[str, Tensor]:
    """The whole weights as they are."""
    with engine.whole() as whole:
        return {name: value.detach().clone() for name, value in whole.state_dict().items()}


def saved(folder: Path, stage: int, meeting: Rendezvous) -> dict[str, Tensor]:
    """Train `Mixed` for two steps, let DeepSpeed save it in `folder`; the weights as they are."""
    engine = engine_at(stage, meeting)
    step(engine)
    step(engine)
    deepspeed_engine(engine).save_checkpoint(str(folder), tag="step-2")
    return live(engine)


def deepspeed_engine(engine: Engine) -> Any:
    """DeepSpeed's own, for its own checkpoints."""
    return engine._engine


def written(meeting: Rendezvous) -> dict[str, Any]:
    """`meeting` for a JSON file."""
    return asdict(meeting)
