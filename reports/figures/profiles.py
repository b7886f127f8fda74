"""Performance profiles: the share of a row's runs above each score."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from reports.figures.style import FamilyLook, drawn
from reports.scale import PerformanceProfile

DASHES = ("-", "--", ":", "-.")
"""Rows of one family differ in their dashes; after four they repeat."""
MOST_DRAWN = 40
"""Rows up to which all are drawn; of more, the named ones alone."""
MOST_NAMED = 8
"""Rows that are named at the curves: the ones that are above others for longest."""


def performance_profiles(profile: PerformanceProfile, looks: Mapping[str, FamilyLook]) -> str:
    """One step curve a row; the rows with the largest areas are named at the end of the axis."""
    of_family: dict[str, int] = {}
    area = {row: sum(shares) for row, shares in profile.shares.items()}
    named = sorted(profile.shares, key=lambda row: -area[row])[:MOST_NAMED]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row in profile.shares if len(profile.shares) <= MOST_DRAWN else named:
            shares = profile.shares[row]
            look = looks[row]
            place = of_family[look.css] = of_family.get(look.css, -1) + 1
            axes.plot(
                profile.thresholds,
                shares,
                DASHES[place % len(DASHES)],
                color=look.colour,
                linewidth=1.8 if row in named else 1.1,
                alpha=1.0 if row in named else 0.45,
                label=row,
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("score on the common scale: 0 floor, 1 ceiling")
        axes.set_ylabel("share of runs above it")
        handles, labels = axes.get_legend_handles_labels()
        order = [labels.index(row) for row in named]
        axes.legend([handles[i] for i in order], named, frameon=False, fontsize=9, handlelength=2.6)

    return drawn(6.4, 4.3, draw)
