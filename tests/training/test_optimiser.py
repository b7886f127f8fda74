"""The rate's course and AdamW that can let a step pass (study.md section 6)."""

from typing import Any

import pytest
import torch
from torch import nn

from workloads.study.schedule import stable_steps
from workloads.training.optimiser import BETAS, make_optimiser, optimiser_groups, rate_at, set_rate

COSINE = {"steps": 400, "rate": 2e-3, "warmup_steps": 40, "schedule": "cosine", "floor": 0.05}


def test_the_rate_rises_linearly_to_the_full_rate_at_the_end_of_the_warm_up() -> None:
    assert rate_at(0, COSINE) == pytest.approx(2e-3 / 40)
    assert rate_at(19, COSINE) == pytest.approx(1e-3)
    assert rate_at(39, COSINE) == pytest.approx(2e-3)


def test_the_cosine_begins_at_the_full_rate_and_ends_at_the_floor() -> None:
    assert rate_at(40, COSINE) == pytest.approx(2e-3)
    assert rate_at(399, COSINE) == pytest.approx(0.05 * 2e-3)


def test_the_cosine_never_rises_after_the_warm_up() -> None:
    rates = [rate_at(step, COSINE) for step in range(40, 400)]
    assert rates == sorted(rates, reverse=True)


def test_a_constant_schedule_stays_at_the_rate_after_the_warm_up() -> None:
    constant = {**COSINE, "schedule": "constant"}
    assert {rate_at(step, constant) for step in (40, 200, 399)} == {2e-3}


def test_wsd_is_constant_before_its_decay_and_ends_at_the_floor() -> None:
    wsd = {**COSINE, "schedule": "wsd"}
    assert {rate_at(step, wsd) for step in (40, 200, 359)} == {2e-3}
    decay = [rate_at(step, wsd) for step in range(359, 400)]
    assert decay == sorted(decay, reverse=True) and len(set(decay)) == 41
    assert decay[10] == pytest.approx(2e-3 * (0.05 + 0.95 * 0.5))  # a quarter of the decay is half of the way
    assert decay[-1] == pytest.approx(0.05 * 2e-3)


def test_the_rates_before_the_decay_are_those_of_every_longer_wsd_training() -> None:
    short, long = ({**COSINE, "schedule": "wsd", "steps": steps, "decay": 0.25} for steps in (400, 800))
    assert stable_steps(short) == 300 and stable_steps(long) == 600
    assert [rate_at(step, short) for step in range(300)] == [rate_at(step, long) for step in range(300)]


@pytest.mark.parametrize(("steps", "decay", "stable"), [(100, 0.29, 71), (5, 0.1, 4), (1, 1.0, 0), (10, 0.1, 9)])
def test_the_decay_has_the_whole_steps_of_its_share_and_at_least_one(steps: int, decay: float, stable: int) -> None:
    assert stable_steps({"schedule": "wsd", "steps": steps, "decay": decay}) == stable


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert rate_at(0, {**COSINE, "warmup_steps": 0}) == pytest.approx(2e-3)


def _model() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    return model


def _step(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    model(torch.linspace(0, 1, 8).view(2, 4)).square().sum().backward()
    optimiser.step()
    optimiser.zero_grad()


def test_every_parameter_is_in_exactly_one_group_and_biases_do_not_decay() -> None:
    model = _model()
    decayed, plain = optimiser_groups(model, {"weight_decay": 0.01})
    assert decayed["weight_decay"] == 0.01 and plain["weight_decay"] == 0.0
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))
    assert any(p is model[0].bias for p in plain["params"])


def test_updates_are_those_of_adamw() -> None:
    ours, theirs = _model(), _model()
    optimiser = make_optimiser(optimiser_groups(ours, {"weight_decay": 0.01}))
    set_rate(optimiser, 1e-2)
    groups: list[dict[str, Any]] = optimiser_groups(theirs, {"weight_decay": 0.01})
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=BETAS)
    for _ in range(3):
        _step(ours, optimiser)
        _step(theirs, reference)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_rejected_step_changes_neither_parameters_nor_moments() -> None:
    model = _model()
    optimiser = make_optimiser(optimiser_groups(model, {"weight_decay": 0.01}))
    set_rate(optimiser, 1e-2)
    _step(model, optimiser)
    before = [p.detach().clone() for p in model.parameters()]
    moments = [{k: v.clone() for k, v in optimiser.state[p].items()} for p in model.parameters()]
    optimiser.rejecting = True
    _step(model, optimiser)
    for parameter, old, state in zip(model.parameters(), before, moments, strict=True):
        assert torch.equal(parameter, old)
        assert all(torch.equal(optimiser.state[parameter][key], value) for key, value in state.items())
