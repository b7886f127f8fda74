"""The chart of the ranking: lines in the order of the ranks, so that equal values give equal bytes; empty sides."""

import numpy as np
from matplotlib.figure import Figure

from reports.figures.ranking import _ends, _slopes
from reports.figures.style import looks_of
from reports.ranking import RankedBranch


def test_the_lines_are_drawn_in_the_order_of_the_first_branch() -> None:
    rows = [f"row-{i}" for i in range(12)]
    axes, look = Figure().subplots(), looks_of(["one"])["one"]
    _slopes(axes, [rows, list(reversed(rows[:-1]))], dict.fromkeys(rows, look), {"row-1"})
    ends = [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]
    assert ends == [[i, 10 - i] for i in range(11)]


def test_a_branch_on_which_no_row_has_a_score_leaves_its_side_empty() -> None:
    axes = Figure().subplots()
    empty = RankedBranch(
        branch="loop", metric="loop/psnr", name="PSNR", unit="dB", better="high", decimals=2, scores={}, limits={},
        floor=1.0, ceiling=2.0,
    )  # fmt: skip
    _ends(axes, empty, empty.order)
    assert not axes.get_lines() and not axes.texts
