"""Style of the figures: SVG that takes its colours from the page.

matplotlib draws with placeholder colours; `_themed` turns them into the page's CSS variables, so
that one drawing serves light and dark. The bytes depend on the values alone.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER = "#0a0b05", "#0a0b06", "#0a0b07", "#0a0b08"
FAMILY_COLOURS = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b09", "#0a0b0a", "#0a0b0b", "#0a0b0c")
VARIABLES: Mapping[str, str] = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    PAPER: "paper",
    **{colour: f"family-{i}" for i, colour in enumerate(FAMILY_COLOURS, 1)},
}
"""Placeholder -> the CSS variable that it becomes."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (9, 3)),
    (0, (3, 1.5)),
    (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)),
    (0, (1, 3)),
)
"""Of lines: nothing is told by colour alone."""

STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "echo-matrix",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
}

Spread = tuple[float, float, float, float]
"""Distances from a point to its limits: left, right, down, up."""


@dataclass(frozen=True, kw_only=True)
class FamilyLook:
    """How rows of a family are drawn."""

    css: str
    """Classes of the page that set its colour and the shape of its mark."""
    colour: str
    """Placeholder."""
    marker: str
    dash: Any = "solid"
    """Line style."""


def looks_of(families: Iterable[str]) -> dict[str, FamilyLook]:
    """Family -> colour, marker and dash by its place, the same colour and marker for no two of 64.

    After eight families colours repeat, each with another marker and dash.
    """
    found = {}
    for i, family in enumerate(dict.fromkeys(families)):
        place, turn = i % len(FAMILY_COLOURS), i // len(FAMILY_COLOURS)
        shape = (place + turn) % len(MARKERS)
        found[family] = FamilyLook(
            css=f"family-{place + 1} mark-{shape + 1}",
            colour=FAMILY_COLOURS[place],
            marker=MARKERS[shape],
            dash=DASHES[shape],
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure that can be drawn again, in another form than that of the page."""

    name: str
    """Of the function that draws it."""
    width: float
    """Inches."""
    height: float
    draw: Callable[[Figure], None]


_DRAWINGS: ContextVar[list[Drawing] | None] = ContextVar("drawings", default=None)


@contextmanager
def recorded() -> Iterator[list[Drawing]]:
    """Collects every figure that is drawn inside, in order."""
    found: list[Drawing] = []
    token = _DRAWINGS.set(found)
    try:
        yield found
    finally:
        _DRAWINGS.reset(token)


def drawn(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """An inline `<svg>` of `width` × `height` inches with what `draw` puts on the figure."""
    drawings = _DRAWINGS.get()
    if drawings is not None:
        name = draw.__qualname__.partition(".")[0]
        drawings.append(Drawing(name=name, width=width, height=height, draw=draw))
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(out.getvalue())


FEW = 60
"""Points whose limits may be drawn as strongly as those of one: those of more would hide the points."""


def point(axes: Any, x: float, y: float, look: FamilyLook, spread: Spread | None) -> None:
    """One row's marker, with its limits where they are known."""
    points(axes, [(x, y, look, spread)])


def points(axes: Any, of: Sequence[tuple[float, float, FamilyLook, Spread | None]]) -> None:
    """The markers of rows, (x, y, look, limits where they are known): those of one look together, as there may be many.

    Args:
        axes: what they stand in.
        of: in the data's units.
    """
    for look in dict.fromkeys(look for _, _, look, _ in of):
        own = [(x, y, spread) for x, y, its, spread in of if its == look]
        barred = [(x, y, spread) for x, y, spread in own if spread is not None]
        if barred:
            left, right, down, up = np.array([spread for _, _, spread in barred], dtype=np.float64).T
            axes.errorbar(
                [x for x, _, _ in barred],
                [y for _, y, _ in barred],
                xerr=[left, right],
                yerr=[down, up],
                fmt="none",
                ecolor=look.colour,
                elinewidth=1.1,
                alpha=0.4 * min(1.0, FEW / len(of)),
            )
        axes.plot(
            [x for x, _, _ in own],
            [y for _, y, _ in own],
            look.marker,
            color=look.colour,
            markersize=8,
            markeredgecolor=PAPER,
            zorder=3,
        )


def _themed(svg: str) -> str:
    """The `<svg>` element alone, with CSS variables for colours and the page's font."""
    svg = svg[svg.index("<svg") :]
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    # Several drawings share one page: group ids would be doubled, and nothing refers to them.
    svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)
    svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    return re.sub(r"(<svg[^>]*?) width=\"[\d.]+pt\"", r"\1", svg, count=1)
