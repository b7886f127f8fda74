"""Rectified flow: known answers and identities."""

import pytest
import torch

from workloads.model.flow import noised, sigma_from_uniform, velocity


@pytest.mark.parametrize("shift", [1.0, 3.0, 15.0])
def test_the_shift_keeps_both_ends_and_never_turns_back(shift: float) -> None:
    levels = sigma_from_uniform(torch.linspace(0, 1, 11), shift)
    assert levels[0] == 0 and levels[-1] == 1
    assert (levels.diff() > 0).all()


def test_half_of_the_noise_levels_lie_above_three_quarters_at_shift_3() -> None:
    assert sigma_from_uniform(0.5, 3.0) == 0.75


def test_one_euler_step_along_the_velocity_ends_at_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.25, 1.0])
    z = noised(x0, eps, sigma)
    assert torch.equal(z[1], eps[1])
    torch.testing.assert_close(z - sigma[:, None, None] * velocity(x0, eps), x0)
