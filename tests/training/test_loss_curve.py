"""Golden losses of one tiny training, and that every row learns."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
from tiny_training import INDEX_STEPS, ROWS, metrics, train_once, train_request

DIGITS = 3
"""Decimals that every processor agrees on."""


def test_the_first_losses_of_every_row_are_the_golden_ones(
    pool: dict[str, str], tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    curves = {}
    for row in ROWS:
        request = train_request(tmp_path, pool, row, training={"sample_every": 0})
        train_once(request)
        curves[row] = [f"{value:.{DIGITS}f}" for _, value in metrics(request, "loss")]
    golden("loss_curve.json", json.dumps(curves, indent=1) + "\n")


@pytest.mark.parametrize("row", ROWS)
def test_the_loss_falls(pool: dict[str, str], tmp_path: Path, row: str) -> None:
    request = train_request(tmp_path, pool, row, training={"sample_every": 0, "steps": INDEX_STEPS})
    train_once(request)
    losses = [value for _, value in metrics(request, "loss")]
    assert fmean(losses[-10:]) < 0.9 * fmean(losses[:10])
