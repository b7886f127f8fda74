"""Quality against the sizes of rows, with the Pareto frontier."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from reports.figures.labels import names_beside
from reports.figures.style import PAPER, SOFT, FamilyLook, drawn
from reports.formats import shown_unit
from reports.frontier import Frontier

LOG_FROM = 30
"""Ratio of the largest to the smallest size from which on the axis is logarithmic."""


def quality_against_size(found: Frontier, looks: Mapping[str, FamilyLook]) -> str:
    """A panel for each size: rows on the frontier filled, named and joined by steps; the others hollow."""

    def draw(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(1, len(found.spec.sizes), sharey=True))
        for axes, size in zip(panels, found.spec.sizes, strict=True):
            sizes = [one.sizes[size.key] for one in found.rows]
            if min(sizes) > 0 and max(sizes) >= LOG_FROM * min(sizes):
                axes.set_xscale("log")
            edge = [(one.sizes[size.key], one.mean) for one in found.rows if one.on[size.key]]
            edge.sort(key=lambda point: point[0])
            edge.append((max(sizes), edge[-1][1]))
            axes.step([x for x, _ in edge], [y for _, y in edge], where="post", color=SOFT, linewidth=1.0)
            for one in found.rows:
                look, on, x = looks[one.row], one.on[size.key], one.sizes[size.key]
                if one.low is not None and one.high is not None:
                    axes.plot([x, x], [one.low, one.high], color=look.colour, linewidth=1.1, alpha=0.4)
                axes.plot(
                    [x],
                    [one.mean],
                    look.marker,
                    markersize=9 if on else 6,
                    markerfacecolor=look.colour if on else PAPER,
                    markeredgecolor=PAPER if on else look.colour,
                    zorder=4 if on else 3,
                )
            axes.margins(0.16)
            places = [(one.sizes[size.key], one.mean, one.row, one.on[size.key]) for one in found.rows]
            names_beside(
                axes,
                [(x, y, row) for x, y, row, on in places if on],
                [(x, y) for x, y, _, on in places if not on],
            )
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(size.name)
        panels[0].set_ylabel(f"{found.spec.metric}" + (f" ({shown_unit(found.unit)})" if found.unit else ""))

    return drawn(4.6 * len(found.spec.sizes), 3.9, draw)
