"""Matrix states: known answers of the sum and of the delta rule, and the precision they are computed in."""

import pytest
import torch
from torch import Tensor

from workloads.memory.address.bearing import Bearing
from workloads.memory.interface import Sizes, StatePass
from workloads.memory.write.delta import RIDGE, DeltaState, ridge_regression
from workloads.memory.write.matrix import MatrixState, Written
from workloads.model.initial import initialise
from workloads.study.memory.address.bearing import BearingSpec
from workloads.study.memory.write.matrix import MatrixSpec

SIZES = Sizes(width=16, blocks=1, heads=2, rows=1, columns=3, controls={})


def made(kind: type[MatrixState]) -> MatrixState:
    cell = kind(MatrixSpec(tau=(1e6, 1e7)), SIZES)  # nothing is forgotten
    initialise(cell, 0)
    return cell


@pytest.mark.parametrize(("tokens", "width"), [(1, 4), (3, 8), (8, 8), (9, 4)])
def test_both_forms_of_the_regression_are_equal(tokens: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(2, tokens, width, generator=generator, dtype=torch.float64) for _ in range(2))
    small = torch.linalg.solve(keys @ keys.mT + RIDGE * torch.eye(tokens, dtype=torch.float64), values)
    torch.testing.assert_close(ridge_regression(keys, values), keys.mT @ small)


def read_back(kind: type[MatrixState]) -> Tensor:
    """What a key gives after it was written twice, first with a value of 1, then of 3; of one token a frame."""
    key = torch.zeros(1, 2, 2, 1, 8)
    key[..., 0] = 1
    value = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 1, 8)
    written = Written(key, value, torch.ones(1, 2, 2, 1), None)
    with torch.no_grad():
        read, _ = made(kind)._recurred(key, written, torch.zeros(1, 2, 8, 8))
    assert read is not None
    return read[0, 0, :, 0, 0]


def test_the_delta_rule_replaces_what_a_key_gives_and_the_sum_does_not() -> None:
    assert read_back(MatrixState).tolist() == pytest.approx([1.0, 4.0], abs=1e-4)
    first = 1 / (1 + RIDGE)
    assert read_back(DeltaState).tolist() == pytest.approx([first, first + (3 - first) / (1 + RIDGE)], abs=1e-4)


@pytest.mark.parametrize("kind", [MatrixState, DeltaState])
def test_a_matrix_is_computed_in_float32_when_the_rest_is_not(kind: type[MatrixState]) -> None:
    cell, x = made(kind), torch.randn(1, 3, 3, 16, generator=torch.Generator().manual_seed(0))
    address = Bearing(BearingSpec(), SIZES)
    looks = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(1))
    seen: list[torch.dtype] = []
    inner = cell._recurred

    def watched(query: Tensor | None, written: Written | None, state: Tensor) -> tuple[Tensor | None, Tensor]:
        assert not torch.is_autocast_enabled("cpu") and written is not None
        read, after = inner(query, written, state)
        seen.extend(tensor.dtype for tensor in (written.key, written.value, written.beta, after))
        return read, after

    cell.__dict__["_recurred"] = watched
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        cell.run(x, None, StatePass(address=address, looks=looks, writes=True))
    assert set(seen) == {torch.float32}
