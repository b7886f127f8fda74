"""Gantt chart of a schedule: which device of which host was used when, as an SVG file of its own."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
"""Of Okabe and Ito: told apart without red and green."""
HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One attempt."""

    lane: str
    """Its host."""
    slots: Sequence[int]
    """Slots of the host that it uses, such as its devices."""
    begin_s: float
    end_s: float
    kind: str
    """What its colour tells."""


def gantt(lanes: Mapping[str, int], bars: Sequence[Bar]) -> str:
    """The SVG: a strip for each slot, hosts in the order given, time in hours.

    Args:
        lanes: host -> its slots.
        bars: what ran.
    """
    begins, total, end = {}, 0, max((bar.end_s for bar in bars), default=HOUR_S) / HOUR_S
    for lane, slots in lanes.items():
        begins[lane], total = total, total + slots
    colours = {kind: PALETTE[n % len(PALETTE)] for n, kind in enumerate(dict.fromkeys(bar.kind for bar in bars))}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gantt", "font.size": 9}):
        figure = Figure(figsize=(10, min(24, max(2.4, 0.11 * total + 1.2))), layout="constrained")
        axes = figure.subplots()
        for kind, colour in colours.items():
            strips = [
                Rectangle((bar.begin_s / HOUR_S, begins[bar.lane] + slot), (bar.end_s - bar.begin_s) / HOUR_S, 1)
                for bar in bars
                if bar.kind == kind
                for slot in bar.slots
            ]
            # A line around what is narrower than it would hide it.
            lines = [0.3 if strip.get_width() > end / 300 else 0.0 for strip in strips]
            axes.add_collection(PatchCollection(strips, facecolor=colour, edgecolor="white", linewidths=lines))
        axes.set_xlim(0, end)
        axes.set_ylim(total, 0)
        axes.set_yticks([begins[lane] + slots / 2 for lane, slots in lanes.items()], list(lanes))
        for at in list(begins.values())[1:]:
            axes.axhline(at, color="black", linewidth=0.6)
        axes.set_xlabel("hours")
        figure.legend(
            handles=[Patch(facecolor=colour, label=kind) for kind, colour in colours.items()],
            loc="outside upper center",
            ncols=max(1, min(6, len(colours))),
            frameon=False,
        )
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
