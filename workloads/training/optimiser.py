r"""AdamW with its parameter groups and its rate, equal in every row.

`RejectingAdamW` is `torch.optim.AdamW` that can be told to let one step pass without effect. A
rejected step then takes the ordinary way through DeepSpeed, whatever its ZeRO stage, which clears
gradients and buckets as always: only the update is missing.

Source: study.md section 6.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from workloads.model.initial import decay_groups
from workloads.study.schedule import stable_steps

BETAS = (0.9, 0.999)


class RejectingAdamW(torch.optim.AdamW):
    """AdamW whose next step has no effect while `rejecting` is set: no update, no decay, no moment."""

    rejecting = False

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters, or none of them while `rejecting`."""
        if self.rejecting:
            return None
        result: float | None = super().step(closure)
        return result


def optimiser_groups(model: nn.Module, training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two groups: with `training.weight_decay`, and without (norms, biases, modulation, gates, decays)."""
    decayed, plain = decay_groups(model)
    return [
        {"params": decayed, "weight_decay": float(training["weight_decay"])},
        {"params": plain, "weight_decay": 0.0},
    ]


def make_optimiser(groups: Sequence[Mapping[str, Any]]) -> RejectingAdamW:
    """AdamW of study.md section 6 over `groups` (`params` and `weight_decay` of each); the rate is set at every step.

    The kernel is torch's fused one, on a CPU too: one call a tensor in place of ten, which at laptop
    size is most of an optimiser step.
    """
    return RejectingAdamW([dict(group) for group in groups], lr=0.0, betas=BETAS, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Use learning rate `rate` from the next step on, in all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def rate_at(step: int, training: Mapping[str, Any]) -> float:
    r"""Learning rate of step `step`, counted from 0: linear warm-up, then as `training.schedule` says.

    With `w` warm-up steps and floor `f`, cosine is a half cosine: the first step after the warm-up has the full rate
    `r`, the last step `f` of it.

    $$ r \cdot \left(f + (1 - f)\,\tfrac12 (1 + \cos \pi p)\right),\quad p = \frac{step - w}{steps - 1 - w} $$

    constant stays at `r`, and so does wsd for `s` steps (`stable_steps`); then its root rises from the first step of
    the decay to the last, which has `f` of the rate (Hägele et al. 2024, arXiv:2405.18392, section 3: "1-sqrt").

    $$ r \cdot \left(f + (1 - f)(1 - \sqrt p)\right),\quad p = \frac{step + 1 - s}{steps - s} $$

    It reads `training.{steps,rate,warmup_steps,schedule,floor,decay}`, never how many steps are really taken, so that a
    smoke attempt trains at the rates of the full one.
    """
    rate, warmup = float(training["rate"]), int(training["warmup_steps"])
    if step < warmup:
        return rate * (step + 1) / warmup
    stable = stable_steps(training)
    if stable is not None and step < stable:
        return rate
    floor = float(training["floor"])
    if stable is not None:
        return rate * (
            floor + (1.0 - floor) * (1.0 - math.sqrt((step + 1 - stable) / (int(training["steps"]) - stable)))
        )
    share = min(1.0, (step - warmup) / max(1, int(training["steps"]) - 1 - warmup))
    return rate * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * share)))
