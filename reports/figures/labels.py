"""Places of names in figures, so that no two of them overlap.

`apart` and `place` are pure. `names_beside` and `names_in_column` add artists to a figure, which place their names when
they are drawn: only then, after the layout, is it known where everything stands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from reports.figures.style import INK, SOFT

Item = TypeVar("Item")

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

FONT = 9.0
MARKER = 9.0
"""Width of a point's marker, in points."""
GAP = 2.0
"""Between two names, and between a name and a marker, in points."""
STEP = 4.0
"""Of the grid of places that are tried where a name has no room beside its point, in points."""
MOST_SEARCHED = 60
"""Points of a figure for which room farther away is searched; with more, the figure would be names alone."""
MOST_NAMED = 40
"""Points of a figure that have names."""
MOST_LETTERS = 28
"""Of a name beside an axis (`shortened`)."""
WIDEST = 0.4
"""Of the axes: a name beside a point."""
LINE_HEIGHT = 1.3
"""Of a column of names, in heights of its letters."""
LEADER = 10.0
"""A name farther than this from its point is joined to it by a line, in points."""
CLEARLY = 0.6
"""A name belongs clearly to a point if no other point is nearer than its distance divided by this."""
UNCLEAR = 15.0
"""How much farther away a name may stand to belong clearly to its point, in points."""


@dataclass(frozen=True)
class PlacedName:
    """Where a name stands."""

    box: Box
    joined: bool
    """Whether a line joins it to its point."""


def apart(at: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """The places nearest to `at`, in least squares, that are at least `gap` apart and lie from `low` to `high`.

    Equal ones keep their order. Pool adjacent violators: sorted places less `gap` times their index need only be
    non-decreasing, and clipping such a fit keeps it best (Best and Chakravarti 1990, Mathematical Programming 47).
    Where the range has no room for all, the gap is what fits.
    """
    if not at:
        return []
    if len(at) > 1:
        gap = min(gap, (high - low) / (len(at) - 1))
    order = sorted(range(len(at)), key=lambda i: at[i])
    blocks: list[tuple[float, int]] = []
    for place, i in enumerate(order):
        mean, count = at[i] - place * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    fitted = np.clip(np.repeat([m for m, _ in blocks], [n for _, n in blocks]), low, high - (len(at) - 1) * gap)
    found = [0.0] * len(at)
    for place, i in enumerate(order):
        found[i] = float(fitted[place] + place * gap)
    return found


def ends(ordered: Sequence[Item], most: int) -> list[Item]:
    """All of them, or as many from both ends, half from each."""
    return list(ordered) if len(ordered) <= most else [*ordered[: most // 2], *ordered[len(ordered) - most // 2 :]]


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    marker: float,
    gap: float,
    unnamed: Sequence[tuple[float, float]] = (),
) -> list[PlacedName | None]:
    """A place for the name of each point: beside it where there is room, else the nearest room in `area`.

    No box is nearer than `gap` to another one or to a marker, and one that could be taken for the name of another point
    is joined to its own. None: there is no room left for this name.

    Args:
        points: (x, y) of each marker's middle.
        sizes: (width, height) of each name.
        area: what all boxes lie in.
        marker: width of a marker.
        gap: the least distance.
        unnamed: markers without a name.
    """
    middle, half = np.asarray([*points, *unnamed], dtype=np.float64).reshape(-1, 2), marker / 2
    taken = np.concatenate([middle - half, middle + half], axis=1)
    found: list[PlacedName | None] = [None] * len(points)
    crowd = np.hypot(*(middle[:, None] - middle[None]).transpose(2, 0, 1))
    # Who has the least room chooses first.
    for i in sorted(range(len(points)), key=lambda i: (np.partition(crowd[i], min(3, len(points) - 1))[:4].sum(), i)):
        for corners, far in ((_beside(points[i], sizes[i], half + gap), False), (_grid(sizes[i], area), True)):
            if far and len(middle) > MOST_SEARCHED:
                break
            boxes = np.concatenate([corners, corners + np.asarray(sizes[i])], axis=1)
            inside = (boxes[:, :2] >= area[:2]).all(axis=1) & (boxes[:, 2:] <= area[2:]).all(axis=1)
            boxes = boxes[inside & ~_touches(boxes, taken, gap).any(axis=1)]
            away = _distances(boxes, middle)
            own, others = away[:, i], np.delete(away, i, axis=1).min(axis=1, initial=np.inf)
            unclear = own > CLEARLY * others
            order = np.argsort(own + UNCLEAR * unclear, kind="stable") if far else np.flatnonzero(~unclear)
            if len(order):
                best = order[0]
                left, bottom, right, top = map(float, boxes[best])
                found[i] = PlacedName((left, bottom, right, top), joined=bool(own[best] > LEADER or unclear[best]))
                taken = np.vstack([taken, boxes[best]])
                break
    return found


def shortened(text: str, room: float, width_of: Callable[[str], float]) -> str:
    """`text`, or as many of its first and last letters around `…` as fit into `room`; `width_of`: of a text."""
    if width_of(text) <= room:
        return text
    fits, too_many = 1, len(text)
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        fits, too_many = (kept, too_many) if width_of(_around(text, kept)) <= room else (fits, kept)
    return _around(text, fits)


def _around(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def _touches(boxes: NDArray[np.float64], others: NDArray[np.float64], gap: float) -> NDArray[np.bool_]:
    """(boxes, others): nearer than `gap` in both directions."""
    a, b, near = boxes[:, None], others[None], gap * (1 - 1e-9)
    return (
        (a[..., 0] < b[..., 2] + near)
        & (b[..., 0] < a[..., 2] + near)
        & (a[..., 1] < b[..., 3] + near)
        & (b[..., 1] < a[..., 3] + near)
    )


def _beside(point: tuple[float, float], size: tuple[float, float], away: float) -> NDArray[np.float64]:
    """(8, 2) lower left corners around the point, the best one first: right, left, above, below, then diagonally."""
    (x, y), (width, height) = point, size
    right, left, centre = x + away, x - away - width, x - width / 2
    above, below, level = y + away, y - away - height, y - height / 2
    return np.array(
        [
            (right, level), (left, level), (centre, above), (centre, below),
            (right, above), (left, above), (right, below), (left, below),
        ]
    )  # fmt: skip


def _grid(size: tuple[float, float], area: Box) -> NDArray[np.float64]:
    """(n, 2) lower left corners all over the area."""
    xs, ys = np.arange(area[0], area[2] - size[0], STEP), np.arange(area[1], area[3] - size[1], STEP)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _distances(boxes: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(boxes, points): from each point to the nearest place of each box."""
    nearest = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.asarray(np.hypot(*(nearest - points[None]).transpose(2, 0, 1)), dtype=np.float64)


class NamesBeside(Artist):
    """Names beside the points of one pair of axes."""

    def __init__(self, points: Sequence[tuple[float, float, str]], unnamed: Sequence[tuple[float, float]]) -> None:
        """Of points in the data's units."""
        super().__init__()
        self._points, self._unnamed = points, unnamed
        self.set_in_layout(False)
        self.set_zorder(5)

    def draw(self, renderer: Any) -> None:
        """Place and draw the names; a name for which there is no room is left out."""
        axes: Any = self.axes
        area, pixel = axes.get_window_extent(renderer), renderer.points_to_pixels(1.0)
        texts = [
            Text(0, 0, name, fontsize=FONT, color=INK, va="bottom", figure=self.figure) for *_, name in self._points
        ]
        for text, (*_, name) in zip(texts, self._points, strict=True):
            text.set_text(shortened(name, WIDEST * area.width, _width(text, renderer)))
        boxes = [text.get_window_extent(renderer) for text in texts]
        at = [self._pixels(x, y) for x, y, _ in self._points]
        found = place(
            at,
            [(box.width, box.height) for box in boxes],
            (area.x0, area.y0, area.x1, area.y1),
            MARKER * pixel,
            GAP * pixel,
            [self._pixels(x, y) for x, y in self._unnamed],
        )
        for (x, y), text, named in zip(at, texts, found, strict=True):
            if named is None:
                continue
            box = named.box
            if named.joined:
                end = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
                Line2D([x, end[0]], [y, end[1]], color=SOFT, linewidth=0.6, figure=self.figure).draw(renderer)
            text.set_position(box[:2])
            text.draw(renderer)

    def _pixels(self, x: float, y: float) -> tuple[float, float]:
        axes: Any = self.axes
        across, up = axes.transData.transform((x, y))
        return float(across), float(up)


class NamesInColumn(Artist):
    """Names one above the other at the side of one pair of axes."""

    def __init__(self, x: float, names: Sequence[tuple[float, str]], style: Mapping[str, Any], above: bool) -> None:
        """Of (y, name) in the data's units; `style`: of the texts; `above`: on a line at y."""
        super().__init__()
        self._x, self._names, self._style, self._above = x, names, dict(style), above
        self.set_in_layout(False)
        self.set_zorder(5)

    def draw(self, renderer: Any) -> None:
        """Draw the names, each as near to its place as the others leave."""
        axes: Any = self.axes
        across, box = axes.transData, axes.get_window_extent(renderer)
        height = renderer.points_to_pixels(LINE_HEIGHT * float(self._style["fontsize"]))
        lifted = height / 2 if self._above else 0.0
        at = [float(across.transform((self._x, y))[1]) + lifted for y, _ in self._names]
        x = float(across.transform((self._x, self._names[0][0]))[0])
        room = x - box.x0 if self._style["ha"] == "right" else box.x1 - x
        places = apart(at, height, box.y0 + height / 2, box.y1 - height / 2)
        text = Text(0, 0, "", va="center", figure=self.figure, **self._style)
        for y, (_, name) in zip(places, self._names, strict=True):
            text.set_text(shortened(name, room, _width(text, renderer)))
            text.set_position((x, y))
            text.draw(renderer)


def _width(text: Text, renderer: Any) -> Callable[[str], float]:
    """The width of words written as `text` is."""

    def width(words: str) -> float:
        text.set_text(words)
        return float(text.get_window_extent(renderer).width)

    return width


def names_beside(
    axes: Any, points: Sequence[tuple[float, float, str]], unnamed: Sequence[tuple[float, float]] = ()
) -> None:
    """Names beside their points, none over another one or over a marker; points that are not finite have none.

    Of more than `MOST_NAMED` points those at the top and at the bottom have names.
    """
    known = [(float(x), float(y), name) for x, y, name in points if np.isfinite(x) and np.isfinite(y)]
    if known:
        named = ends(sorted(known, key=lambda point: point[1]), MOST_NAMED)
        others = [] if len(named) == len(known) else [point[:2] for point in known if point not in named]
        axes.add_artist(NamesBeside(known if not others else named, [*unnamed, *others]))


def names_in_column(
    axes: Any,
    x: float,
    names: Sequence[tuple[float, str]],
    *,
    side: Literal["left", "right"],
    size: float,
    color: str,
    above: bool = False,
) -> None:
    """Names at `x`, each as near as may be to its y, none over another one.

    Args:
        axes: what they stand in.
        x: in the data's units.
        names: (y, name); those that are not finite have none.
        side: of `x`, on which they stand.
        size: of the letters, in points.
        color: of the letters.
        above: they stand on lines at y, not at their height.
    """
    known = [(float(y), name) for y, name in names if np.isfinite(y)]
    if known:
        style = {"fontsize": size, "color": color, "ha": "left" if side == "right" else "right"}
        axes.add_artist(NamesInColumn(x, known, style, above))
