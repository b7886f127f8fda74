import numpy as np
import pytest

from workloads.evaluation.solver import sigma_grid
from workloads.runtime.errors import BadInput


def test_the_grid_falls_from_pure_noise_to_none() -> None:
    grid = sigma_grid(8, 3.0)
    assert grid[0] == 1.0
    assert grid[-1] == 0.0
    assert (np.diff(grid) < 0).all()
    assert len(grid) == 9


def test_without_shift_steps_are_equal_and_the_shift_is_the_formula_of_training() -> None:
    np.testing.assert_allclose(np.diff(sigma_grid(4, 1.0)), -0.25)
    assert sigma_grid(2, 3.0)[1] == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_no_steps_are_refused() -> None:
    with pytest.raises(BadInput, match=r"sampler\.steps"):
        sigma_grid(0, 3.0)
