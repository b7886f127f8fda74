"""Rectified flow: known answers and identities."""

import pytest
import torch

from workloads.evaluation.solver import sigma_grid
from workloads.model.flow import noised, sigma_from_uniform, velocity


@pytest.mark.parametrize("shift", [1.0, 3.0, 15.0])
def test_the_shift_keeps_both_ends_and_never_turns_back(shift: float) -> None:
    levels = sigma_from_uniform(torch.linspace(0, 1, 11), shift)
    assert levels[0] == 0 and levels[-1] == 1
    assert (levels.diff() > 0).all()


SHIFTS = [1.0, 3.0, 5.0, 15.0]


@pytest.mark.parametrize("shift", SHIFTS)
def test_at_its_borders_the_shift_stays_between_none_and_pure_noise(shift: float) -> None:
    last = 1 - 2**-24  # the largest number that is drawn
    u = torch.tensor([0.0, 1e-45, 1e-30, 2**-24, 2**-12, 0.5, 1 - 2**-12, last, 1.0])
    levels = sigma_from_uniform(u, shift)
    assert ((levels >= 0) & (levels <= 1)).all() and (levels.diff() >= 0).all()
    assert levels[0] == 0 and levels[-1] == 1
    # s u at the one end, 1 - (1 - u) / s at the other.
    assert float(levels[3]) == pytest.approx(shift * 2**-24, rel=1e-5)
    assert 1 - float(levels[6]) == pytest.approx(2**-12 / shift, rel=1e-3)
    grid = sigma_grid(20, shift)
    assert grid[0] == 1.0 and grid[-1] == 0.0 and (grid[1:-1] > 0).all() and (grid[1:-1] < 1).all()


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_undone_by_its_inverse_and_two_are_their_product(shift: float) -> None:
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(sigma_from_uniform(sigma_from_uniform(u, shift), 1 / shift), u)
    torch.testing.assert_close(
        sigma_from_uniform(sigma_from_uniform(u, shift), 2.0), sigma_from_uniform(u, 2.0 * shift)
    )


def test_half_of_the_noise_levels_lie_above_three_quarters_at_shift_3() -> None:
    assert sigma_from_uniform(0.5, 3.0) == 0.75


def test_one_euler_step_along_the_velocity_ends_at_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.25, 1.0])
    z = noised(x0, eps, sigma)
    assert torch.equal(z[1], eps[1])
    torch.testing.assert_close(z - sigma[:, None, None] * velocity(x0, eps), x0)
