"""A stage that takes one plain optimiser step: what remains of a job's time is orchestration."""

from pathlib import Path

import torch

from workloads.contract.request import Request
from workloads.runtime.progress import Progress, StageOutcome


def step() -> float:
    """One AdamW step of a small network; the loss."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(64, 64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = model(torch.randn(8, 64, generator=generator)).square().mean()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def run(request: Request, progress: Progress) -> StageOutcome:
    """Take the step and write the loss."""
    (Path(request.out) / "loss.txt").write_text(repr(step()), encoding="utf-8")
    return StageOutcome(steps=1)
