"""Addresses, cells and matrix states a second time, from study.md section 5: lists and loops, float64.

A spot is where a token stands: its row, and the bearing along which it looks.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from slow_cameras import bearing, whole_turns
from torch import Tensor

CELLS = 28

Spot = tuple[float, float]


def spots(poses: Sequence[Tensor], rows: int, columns: int, turned_by: float = 0.0) -> list[Spot]:
    """Of all tokens of frames, row by row."""
    every = [(pose, row, column) for pose in poses for row in range(rows) for column in range(columns)]
    return [(row, turned_by + bearing(pose, column, columns)) for pose, row, column in every]


def turned(x: Tensor, at: Sequence[Spot], columns: int) -> Tensor:
    """One head (l, e): a quarter of the pairs turned by row, the others by bearing."""
    pairs = x.shape[1] // 2
    by_row = pairs // 4
    turns = whole_turns(pairs - by_row, columns)
    angles = torch.tensor(
        [
            [row * math.pi / 2 * (pair + 1) / by_row for pair in range(by_row)] + [turn * bearing for turn in turns]
            for row, bearing in at
        ],
        dtype=x.dtype,
    )
    a, b = x[:, 0::2], x[:, 1::2]
    return torch.stack([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1).flatten(1)


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()


def share(bearing: float, cell: int) -> float:
    """Linear weight of a cell for a bearing, around the circle."""
    width = 2 * math.pi / CELLS
    apart = abs(math.remainder(bearing - (cell + 0.5) * width, 2 * math.pi)) / width
    return max(0.0, 1 - apart)


def cells(tokens: Tensor, at: Sequence[Spot]) -> tuple[Tensor, list[Spot]]:
    """Means of `tokens` (l, d) in the cells that something looked at, and where these are."""
    kept, places = [], []
    for row in sorted({row for row, _ in at}):
        for cell in range(CELLS):
            weights = [share(bearing, cell) if mine == row else 0.0 for mine, bearing in at]
            if sum(weights) > 1e-6:
                kept.append(sum(w * token for w, token in zip(weights, tokens, strict=True)) / sum(weights))
                places.append((row, (cell + 0.5) * 2 * math.pi / CELLS))
    return torch.stack(kept), places  # type: ignore[arg-type]


def stepped(
    p: Mapping[str, Tensor], y: Tensor, state: Tensor | None, places: Mapping[str, Tensor], *, delta: bool, writes: bool
) -> tuple[Tensor, Tensor]:
    """What the tokens of a frame read, through the gate, and the state (heads, e, e) after it.

    Args:
        p: parameters of the block's cell.
        y: normalised tokens (n, d).
        state: before them.
        places: `turn` (n, e, e) that multiplies queries and keys, or `added` (n, d), what is added to them.
        delta: the delta rule.
        writes: evidence; otherwise target frames.
    """
    d, heads = y.shape[1], len(p["log_tau"])
    e = d // heads
    q, k, v, o, beta = (y @ p["project.weight"].T + p["project.bias"]).split((d, d, d, d, heads), -1)
    after, read = [], []
    for head in range(heads):
        mine = slice(head * e, (head + 1) * e)
        query = 0.3 * q[:, mine] + p["turns.query_bias"][head]
        key = 0.3 * k[:, mine] + p["turns.key_bias"][head]
        if "added" in places:
            query, key = query + places["added"][:, mine], key + places["added"][:, mine]
        else:
            query, key = (torch.einsum("nij,nj->ni", places["turn"], x) for x in (query, key))
        query, key, value, strength = unit(query), unit(key), v[:, mine], torch.sigmoid(beta[:, head])
        old = torch.zeros(e, e, dtype=y.dtype) if state is None else state[head]
        if writes or not delta:
            old = torch.exp(-1 / torch.exp(p["log_tau"][head])) * old
        if delta and writes:
            scaled = strength.sqrt()[:, None] * key
            inverse = torch.linalg.inv(scaled @ scaled.T + 0.1 * torch.eye(len(key), dtype=y.dtype))
            old = old + scaled.T @ inverse @ (strength.sqrt()[:, None] * (value - key @ old))
        elif not delta:
            old = old + sum(b * torch.outer(one, other) for b, one, other in zip(strength, key, value, strict=True))
        found = query @ old
        read.append(found / (found.square().mean(-1, keepdim=True) + 0.05).sqrt())
        after.append(old)
    return torch.cat(read, -1) * 2 * torch.sigmoid(o), torch.stack(after)
