"""Figures of the page as files: SVG or PDF in the colours of the page on paper, and the data of each as CSV."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.style import STYLE, VARIABLES, Drawing
from reports.input import ReportInput
from reports.page.answer import behind
from reports.page.data_links import Behind
from reports.page.figure_data import of_branches, of_cost, of_curves
from reports.page.figures import price_of_all
from reports.page.page import TEMPLATES
from reports.ranking import ranking

COLOURS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
METADATA: Mapping[str, Mapping[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Left out, so that equal values give equal bytes."""


def figure_files(
    given: ReportInput, analysis: Analysis, drawings: Sequence[Drawing], forms: Sequence[str]
) -> dict[str, bytes]:
    """`NAME.svg`, `NAME.pdf` and `NAME.csv` of each figure; a second one of a name is `NAME-2`.

    Args:
        given: of the report.
        analysis: of the report.
        drawings: the figures of its page.
        forms: `svg`, `pdf`.
    """
    found: dict[str, bytes] = {}
    palette, counts = page_palette(), dict[str, int]()
    known = _known_data(given, analysis)
    for drawing in drawings:
        count = counts[drawing.name] = counts.get(drawing.name, 0) + 1
        name = drawing.name.replace("_", "-") + (f"-{count}" if count > 1 else "")
        with mpl.rc_context({**STYLE, "pdf.fonttype": 42}):
            figure = Figure(figsize=(drawing.width, drawing.height), layout="constrained")
            drawing.draw(figure)
            # The published tables' figures have the same names, and come second.
            data = known.get(drawing.name) if count == 1 else None
            found[f"{name}.csv"] = (data or drawn_data(figure, name)).csv.encode("utf-8")
            figure.draw_without_rendering()  # some parts are made only then
            _recolour(figure, palette)
            for form in forms:
                out = io.BytesIO()
                figure.savefig(out, format=form, metadata=dict(METADATA[form]))
                found[f"{name}.{form}"] = _coloured(out.getvalue(), palette) if form == "svg" else out.getvalue()
    return found


def page_palette() -> dict[str, str]:
    """Placeholder colour -> colour of the page in light: the first one that its style sheet gives the variable."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    found = {}
    for placeholder, name in VARIABLES.items():
        colour = re.search(rf"--{name}:[^;]*?(#[0-9a-fA-F]{{6}})\b", css)
        found[placeholder] = colour.group(1) if colour else "#000000"
    return {**found, next(p for p, name in VARIABLES.items() if name == "paper"): "#ffffff"}


def drawn_data(figure: Figure, name: str) -> Behind:
    """What is drawn, for figures that name no other data: panel, series, x and y of every line."""
    lines: list[Sequence[str | float]] = []
    for number, axes in enumerate(figure.axes, 1):
        panel = axes.get_title() or axes.get_title(loc="left") or axes.get_ylabel() or number
        for line in axes.get_lines():
            label = str(line.get_label())
            series = "" if label.startswith("_") else label
            lines += [(panel, series, float(x), float(y)) for x, y in np.asarray(line.get_xydata()).tolist()]
    return Behind(name=name, headings=["panel", "series", "x", "y"], lines=lines)


def _known_data(given: ReportInput, analysis: Analysis) -> dict[str, Behind]:
    """Name of a drawing -> its data, with the names of rows: that of the page, with every point of the curves."""
    found: dict[str, Behind] = {}
    if given.curves:
        found["loss_curves"] = of_curves(given, most=None)
    ranked, branches = ranking(analysis), of_branches(analysis)
    if ranked is not None:
        found["ranking_chart"] = behind(ranked)
        found["quality_against_cost"] = of_cost(ranked.last, *price_of_all(analysis, ranked))
    if branches is not None:
        found |= dict.fromkeys(("scatter", "rank_slopes", "normalised_branches"), branches)
    return found


def _recolour(figure: Figure, palette: Mapping[str, str]) -> None:
    """Give every part of a drawn figure the colours of the page in place of the placeholders."""
    for artist in figure.findobj():
        for kind in COLOURS:
            read, write = getattr(artist, f"get_{kind}", None), getattr(artist, f"set_{kind}", None)
            if read is None or write is None:
                continue
            colour = read()
            changed = _replaced(colour, palette)
            if changed is not None:
                write(changed)


def _coloured(svg: bytes, palette: Mapping[str, str]) -> bytes:
    """The SVG with the colours of the page for what is coloured while it is drawn."""
    for placeholder, colour in palette.items():
        svg = svg.replace(placeholder.encode(), colour.encode())
    return svg


def _replaced(colour: Any, palette: Mapping[str, str]) -> Any:
    """The colour, or colours, with placeholders replaced; None: there is none."""
    if isinstance(colour, str) or (isinstance(colour, tuple) and len(colour) in (3, 4)):
        return _one(colour, palette)
    if isinstance(colour, Iterable):
        each = list(colour)
        new = [_one(one, palette) for one in each]
        if any(one is not None for one in new):
            return [one if one is not None else old for one, old in zip(new, each, strict=True)]
    return None


def _one(colour: Any, palette: Mapping[str, str]) -> Any:
    try:
        name = to_hex(colour)
    except (TypeError, ValueError):  # "none", "auto"
        return None
    if name not in palette:
        return None
    opacity = mpl.colors.to_rgba(colour)[3]
    return mpl.colors.to_rgba(palette[name], opacity)
