"""The lines of the ranking are drawn in the order of the ranks, so that the same values give the same bytes."""

import numpy as np
from matplotlib.figure import Figure

from reports.figures.ranking import _slopes
from reports.figures.style import looks_of


def test_the_lines_are_drawn_in_the_order_of_the_first_branch() -> None:
    rows = [f"row-{i}" for i in range(12)]
    axes, look = Figure().subplots(), looks_of(["one"])["one"]
    _slopes(axes, [rows, list(reversed(rows[:-1]))], dict.fromkeys(rows, look), {"row-1"})
    ends = [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]
    assert ends == [[i, 10 - i] for i in range(11)]
