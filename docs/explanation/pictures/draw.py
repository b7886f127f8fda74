"""Pictures of this folder's pages, in the colours of the report: `python docs/explanation/pictures/draw.py`.

Write, address and read: a world is a circle of 28 cells, in which a camera that sees 52.67 degrees turns on the spot;
its frames have four columns of tokens, as on the laptop. Stream: stream.csv, which tests/bench/test_bench_stream.py
writes. tests/docs/test_pictures.py compares the files with what is drawn here.
"""

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle, Wedge

from reports.figures.style import FAMILY_COLOURS, INK, LINE, PAPER, SOFT, VARIABLES, drawn
from workloads.data.geometry import HALF_VIEW_DEG
from workloads.study.memory.parts import CELLS

HERE = Path(__file__).parent
CSS = HERE.parents[2] / "reports" / "page" / "templates" / "report.css"
FONT = "system-ui, 'DejaVu Sans', sans-serif"

CONTEXT, COMPRESS, SPATIAL, SSM, THING = FAMILY_COLOURS[:5]
"""Families as in the report; and what is looked for."""
EDGES = [math.degrees(math.atan(x * math.tan(math.radians(HALF_VIEW_DEG)))) for x in (-1, -0.5, 0, 0.5, 1)]
"""Edges of a frame's columns, degrees from its middle."""
TURN, PLACE = 45.0, 22.0
"""Degrees that the camera turned, and where the thing stands."""


def pictures() -> Mapping[str, str]:
    """File name -> the SVG of each choice."""
    found = {"write": (9.2, 3.1, write), "address": (9.3, 3.5, address), "read": (9.25, 2.9, read)}
    flat = {f"{name}.svg": _alone(drawn(width, height, _flat(draw))) for name, (width, height, draw) in found.items()}
    return {**flat, "stream.svg": _alone(drawn(9.2, 2.7, stream))}


def write(axes: Any) -> None:
    """Three frames, and what four kinds of store keep of them."""
    seen = {-45.0: _columns(-TURN), 0.0: _columns(0), 45.0: _columns(TURN)}
    axes.text(0.15, 2.8, "evidence", fontsize=12)
    for i, (yaw, held) in enumerate(seen.items()):
        _strip(axes, 0.15, 2.05 - 0.55 * i, held)
        axes.text(
            1.3, 2.22 - 0.55 * i, f"{yaw:+.0f}°".replace("-", "−") if yaw else "0°", fontsize=9, color=SOFT, va="center"
        )
    _note(axes, 0.15, "the same thing,\nseen in the last\ncolumn and, after a\nturn, in the first")
    _arrow(axes, (1.72, 1.67), (1.95, 1.67))

    axes.text(2.05, 2.8, "tokens", fontsize=12, color=CONTEXT)
    for i, held in enumerate(seen.values()):
        _strip(axes, 2.05 + 0.1 * i, 2.0 - 0.22 * i, held)
    _note(axes, 2.05, "every frame as it is;\npooled: a mean of\nseveral; weighted:\nold ones count less")

    axes.text(3.7, 2.8, "grid", fontsize=12, color=SPATIAL)
    _strip(axes, 3.7, 1.6, [any(held[i] for held in seen.values()) for i in range(4)], faint=True)
    _note(axes, 3.7, "one image: the\nmean of all frames,\ncolumn over\ncolumn")

    axes.text(5.25, 2.8, "cells", fontsize=12, color=SPATIAL)
    _ring(axes, (5.9, 1.85), 0.66, looked=[0.0, TURN, -TURN])
    _note(axes, 5.25, "28 cells around the\nworld: the mean of\nwhat looked there;\ngrey was not seen")

    axes.text(7.05, 2.8, "state", fontsize=12, color=SSM)
    _strip(axes, 7.05, 2.05, [any(held[i] for held in seen.values()) for i in range(4)], faint=True, edge=SSM)
    axes.text(8.22, 2.23, "diagonal,\nconvolution", fontsize=9.5, color=SOFT, va="center")
    for i in range(16):
        axes.add_patch(Rectangle((7.05 + i % 4 * 0.17, 1.25 + i // 4 * 0.17), 0.17, 0.17, fc="none", ec=SSM, lw=0.8))
    axes.text(7.85, 1.59, "matrix, delta:\nkey × value", fontsize=9.5, color=SOFT, va="center")
    _note(axes, 7.05, "as large after a\nthousand frames as\nafter one; old ones\nfade")


def address(axes: Any) -> None:
    """A camera that turned by 45 degrees, and where three addresses look for what it sees."""
    middle, far = (1.25, 1.85), 0.95
    axes.text(0.15, 3.2, "from above", fontsize=12)
    for yaw, colour, label in ((0.0, SOFT, "then"), (TURN, INK, f"now, +{TURN:.0f}°")):
        axes.add_patch(
            Wedge(
                middle, far, 90 - yaw - HALF_VIEW_DEG, 90 - yaw + HALF_VIEW_DEG, fc=colour, alpha=0.13, ec=colour, lw=1
            )
        )
        x, y = _at(middle, far + 0.16, yaw - (12 if not yaw else -8))
        axes.text(x, y, label, fontsize=9.5, color=colour, ha="center" if not yaw else "left", va="center")
    axes.add_patch(Circle(middle, far, fc="none", ec=LINE))
    axes.add_patch(Circle(middle, 0.04, fc=INK, ec="none"))
    axes.plot(*_at(middle, far * 0.86, PLACE), "*", color=THING, markersize=13)
    _note(axes, 0.15, "the thing was in the last\ncolumn, and is in the first", 0.72)

    then, now = _columns(0), _columns(TURN)
    for x, name, colour in ((3.0, "none", SOFT), (5.05, "bearing", SPATIAL), (7.1, "place", SSM)):
        axes.text(x, 3.2, f"address: {name}", fontsize=12, color=colour)
        _strip(axes, x + 0.35, 2.5, then)
        _strip(axes, x + 0.35, 1.0, now)
        axes.text(x + 0.28, 2.67, "then", fontsize=9.5, color=SOFT, ha="right", va="center")
        axes.text(x + 0.28, 1.17, "now", fontsize=9.5, color=INK, ha="right", va="center")
    first, last = 0.14, 0.14 + 3 * 0.27
    _arrow(axes, (3.35 + first, 1.36), (3.35 + first, 2.48), SOFT)
    axes.text(3.63, 1.9, "the same column:\nsomething else", fontsize=9.5, color=SOFT, va="center")
    _note(axes, 3.0, "a location of the image\nreads the same location\nof the store", 0.72)

    _arrow(axes, (5.4 + first, 1.36), (5.4 + last, 2.48), SPATIAL)
    axes.text(5.4 + first - 0.1, 1.46, "θ = 25°", fontsize=9.5, color=SOFT, ha="right", va="bottom")
    axes.text(5.4 + last + 0.2, 2.32, "θ = 20°", fontsize=9.5, color=SOFT, va="top")
    _note(axes, 5.05, "queries and keys are\nturned by their θ:\nnear bearings match", 0.72)

    for i in range(5):
        cell = (7.45 + i * 0.3, 1.8)
        axes.add_patch(Rectangle(cell, 0.3, 0.24, fc=THING, ec="none", alpha={3: 0.9, 4: 0.3}.get(i, 0)))
        axes.add_patch(Rectangle(cell, 0.3, 0.24, fc="none", ec=SSM, lw=1))
    axes.text(9.0, 1.92, "…", fontsize=10, color=SSM, va="center")
    _arrow(axes, (7.45 + last, 2.48), (7.45 + 3.5 * 0.3, 2.06), SSM)
    _arrow(axes, (7.45 + 3.5 * 0.3 - 0.05, 1.78), (7.45 + first, 1.36), SSM)
    _note(axes, 7.1, "both columns belong to\nthe same two cells of\nthe world", 0.72)


def read(axes: Any) -> None:
    """One block of the backbone from left to right, and what enters where."""
    parts: Sequence[tuple[str, str, str, str]] = (
        ("self-\nattention", "context tokens", "self-attention", CONTEXT),
        ("recurrence", "state", "recurrence", SSM),
        ("text\nattention", "stored tokens", "text", SPATIAL),
        ("read-out", "stored tokens", "readout", SPATIAL),
        ("feed-\nforward", "", "", LINE),
    )
    wide, step, low = 1.16, 1.5, 0.95
    axes.text(0.15, low + 0.33, "target\ntokens", fontsize=9, va="center")
    for i, (label, kept, name, colour) in enumerate(parts):
        x = 1.15 + i * step
        _arrow(axes, (x - (step - wide) + 0.02, low + 0.33), (x - 0.03, low + 0.33))
        dashed = label in ("recurrence", "read-out")
        axes.add_patch(
            Rectangle((x, low), wide, 0.66, fc="none", ec=colour if kept else SOFT, lw=1.4, ls="--" if dashed else "-")
        )
        axes.text(x + wide / 2, low + 0.33, label, fontsize=10, ha="center", va="center")
        if kept:
            axes.add_patch(Rectangle((x, 2.05), wide, 0.36, fc=colour, ec="none", alpha=0.16))
            axes.text(x + wide / 2, 2.23, kept, fontsize=10, ha="center", va="center")
            _arrow(axes, (x + wide / 2, 2.03), (x + wide / 2, low + 0.69), colour)
            axes.text(x + wide / 2, 2.57, name, fontsize=12, color=colour, ha="center", va="center")
    end = 1.15 + 4 * step + wide
    _arrow(axes, (end + 0.03, low + 0.33), (end + 0.36, low + 0.33))
    axes.text(end + 0.42, low + 0.33, "next\nblock", fontsize=9, va="center")
    axes.text(
        1.15, 0.55, "solid: in every block; dashed: in every n-th block (recurrent_every)", fontsize=9.5, color=SOFT
    )
    axes.text(
        1.15, 0.25, "a row has one of the four (ssm-*-published the first two); the anchor is a context token in all",
        fontsize=9.5, color=SOFT,
    )  # fmt: skip


def _columns(yaw: float) -> list[bool]:
    """In which of the four columns of a frame the thing is."""
    return [low <= PLACE - yaw < high for low, high in pairwise(EDGES)]


def _strip(axes: Any, x: float, y: float, held: Sequence[bool], *, faint: bool = False, edge: str = INK) -> None:
    for i, thing in enumerate(held):
        axes.add_patch(Rectangle((x + i * 0.27, y), 0.27, 0.34, fc=PAPER, ec=edge, lw=0.9))
        if thing:
            axes.plot(x + (i + 0.5) * 0.27, y + 0.17, "*", color=THING, markersize=11, alpha=0.45 if faint else 1)


def _ring(axes: Any, middle: tuple[float, float], radius: float, looked: Sequence[float]) -> None:
    count = CELLS[1]
    for i in range(count):
        bearing = (i + 0.5) * 360 / count
        near = [abs((bearing - yaw + 180) % 360 - 180) <= HALF_VIEW_DEG for yaw in looked]
        axes.add_patch(
            Wedge(
                middle, radius, 90 - (i + 1) * 360 / count, 90 - i * 360 / count, width=0.24,
                fc=SPATIAL if any(near) else LINE, ec=PAPER, lw=1, alpha=0.55 if any(near) else 0.8,
            )
        )  # fmt: skip
    axes.plot(*_at(middle, radius - 0.12, PLACE), "*", color=THING, markersize=11)


def stream(figure: Figure) -> None:
    """Frames written, processor time and bytes held, chunk by chunk."""
    with (HERE / "stream.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    shown = (
        ("frames_written", "frames written"),
        ("write_ms", "processor time of the write, ms"),
        ("kib_held", "held beyond chunk 2, KiB"),
    )
    looks = (("stream", SSM, "-", "stream"), ("retrieved", CONTEXT, "--", "retrieved"))
    for axes, (column, title) in zip(figure.subplots(1, 3), shown, strict=True):
        for source, colour, dash, label in looks:
            values = [float(line[column]) for line in lines if line["write_from"] == source]
            axes.plot(range(2, len(values)), values[2:], dash, color=colour, lw=1.8, label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("chunk", fontsize=9)
        axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False, loc="upper left")


def _at(middle: tuple[float, float], radius: float, bearing: float) -> tuple[float, float]:
    turned = math.radians(bearing)
    return middle[0] + radius * math.sin(turned), middle[1] + radius * math.cos(turned)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = SOFT) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, lw=1.2, color=colour, shrinkA=0, shrinkB=0)
    )


def _note(axes: Any, x: float, text: str, y: float = 0.84) -> None:
    axes.text(x, y, text, fontsize=9.5, color=SOFT, va="top", linespacing=1.3)


def _flat(draw: Callable[[Any], None]) -> Callable[[Figure], None]:
    """One pair of axes over the whole figure, in inches."""

    def on(figure: Figure) -> None:
        figure.set_layout_engine("none")
        width, height = figure.get_size_inches()
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        draw(axes)

    return on


def _alone(svg: str) -> str:
    """With the colours of the report's page in light and dark, and its paper, for a file of its own."""
    themes = [
        "".join(f"--{name}: {value}; " for name, value in re.findall(r"--([\w-]+): (#\w+);", block) if name in used)
        for used in [set(VARIABLES.values())]
        for block in re.findall(r":root \{(.*?)\}", CSS.read_text(encoding="utf-8"), re.DOTALL)[:2]
    ]
    style = (
        f"<style>svg {{ {themes[0]}}} text {{ font-family: {FONT}; }}\n"
        f"@media (prefers-color-scheme: dark) {{ svg {{ {themes[1]}}} }}</style>\n"
        '<rect width="100%" height="100%" rx="6" style="fill: var(--paper)"/>\n'
    )
    head, end, rest = svg.partition(">\n")
    return head + end + style + rest


if __name__ == "__main__":
    for name, svg in pictures().items():
        (HERE / name).write_text(svg, encoding="utf-8")
