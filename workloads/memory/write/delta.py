r"""Write `delta`: a matrix of keys and values that is corrected, not added to (the delta rule).

As `matrix`, but what a key already gives is taken out of what is written for it; over the tokens of a frame together,

$$ S_t = a\,S_{t-1} + K^\top (K K^\top + 0.1\,I)^{-1} \sqrt\beta\,(V - a\,K_0 S_{t-1}), \qquad K = \sqrt\beta\,K_0 $$

with $K_0, V$ the frame's keys and values: the ridge regression of what the state gives wrong. Target frames read the
state and do not write. Source: study.md section 5, "matrix states", row `ssm-delta-bearing`.
"""

import torch
from torch import Tensor

from workloads.memory.write.matrix import MatrixState, Written

RIDGE = 0.1
"""Of the regression within a frame (study.md section 5)."""


class DeltaState(MatrixState):
    """Keys and values of everything that was written, the newest value for a key."""

    keeps_targets = False

    def _recurred(self, query: Tensor | None, written: Written | None, state: Tensor) -> tuple[Tensor | None, Tensor]:
        """What each token (b, heads, f, n, e) reads after its frame was written, and the state after the last."""
        if written is None:
            return (None if query is None else torch.einsum("bhfne,bhev->bhfnv", query, state)), state
        key, value, beta, valid = written
        kept = torch.exp(-torch.exp(-self.log_tau))[None, :, None, None]  # (1, heads, 1, 1)
        # What is masked weighs 0, where a root has no gradient.
        root = torch.where(beta > 0, beta, 1.0).sqrt()[..., None] * (beta > 0)[..., None]
        read = []
        for frame in range(key.shape[2]):
            decay = kept if valid is None else torch.where(valid[:, frame, None, None, None], kept, 1.0)
            state = decay * state
            wrong = root[:, :, frame] * (value[:, :, frame] - key[:, :, frame] @ state)
            state = state + ridge_regression(root[:, :, frame] * key[:, :, frame], wrong)
            if query is not None:
                read.append(query[:, :, frame] @ state)
        return (torch.stack(read, 2) if read else None), state


def ridge_regression(keys: Tensor, values: Tensor) -> Tensor:
    """The map (..., e, v) from `keys` (..., n, e) to `values` (..., n, v): of two equal forms the smaller."""
    n, e = keys.shape[-2:]
    penalty = RIDGE * torch.eye(min(n, e), device=keys.device, dtype=keys.dtype)
    if n <= e:
        return keys.mT @ _solved(keys @ keys.mT + penalty, values)
    return _solved(keys.mT @ keys + penalty, keys.mT @ values)


def _solved(matrix: Tensor, values: Tensor) -> Tensor:
    # Not `solve`: it waits for the device to say that no matrix is singular, which the penalty prevents.
    solved: Tensor = torch.linalg.solve_ex(matrix, values).result
    return solved
