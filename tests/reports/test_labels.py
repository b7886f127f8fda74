"""Names in figures: none lies over another one."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.figures.labels import Box, PlacedName, apart, names_beside, place, shortened
from reports.figures.style import drawn

AREA: Box = (0.0, 0.0, 400.0, 270.0)
"""The axes of a figure of the page, in points."""


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [1.0, 0.2, 0.0])
def test_names_of_25_random_rows_do_not_overlap(seed: int, spread: float) -> None:
    generator = np.random.Generator(np.random.Philox(key=seed))
    points = [
        (200 + spread * 400 * (float(x) - 0.5), 135 + spread * 270 * (float(y) - 0.5))
        for x, y in generator.uniform(size=(25, 2))
    ]
    sizes = [(float(width), 11.0) for width in generator.uniform(40, 110, size=25)]
    placed = [one.box for one in place(points, sizes, AREA, marker=9, gap=2) if one is not None]
    assert len(placed) == 25
    assert not [pair for pair in combinations(placed, 2) if overlap(*pair)]
    markers = [(x - 4.5, y - 4.5, x + 4.5, y + 4.5) for x, y in points]
    assert not [1 for box in placed for marker in markers if overlap(box, marker)]
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 400 and box[3] <= 270 for box in placed)


def test_a_name_stands_right_of_its_point_where_there_is_room() -> None:
    assert place([(100, 100)], [(50, 10)], AREA, marker=8, gap=2) == [PlacedName((106, 95, 156, 105), joined=False)]
    assert place([(390, 100)], [(50, 10)], AREA, marker=8, gap=2) == [PlacedName((334, 95, 384, 105), joined=False)]


def test_a_name_that_could_be_that_of_another_point_is_joined_to_its_own() -> None:
    generator = np.random.Generator(np.random.Philox(key=8))
    points = [(180 + float(x), 120 + float(y)) for x, y in generator.uniform(0, 60, size=(12, 2))]
    joined = 0
    for point, found in zip(points, place(points, [(60, 10)] * 12, AREA, marker=8, gap=2), strict=True):
        assert found is not None
        left, bottom, right, top = found.box
        away = {p: np.hypot(np.clip(p[0], left, right) - p[0], np.clip(p[1], bottom, top) - p[1]) for p in points}
        assert found.joined or away[point] < 0.7 * min(away[p] for p in points if p != point)
        joined += found.joined
    assert 0 < joined < 12


def test_a_name_without_room_is_left_out() -> None:
    assert place([(10, 10), (12, 10)], [(500, 10), (20, 10)], AREA, marker=8, gap=2)[0] is None
    assert place([], [], AREA, marker=8, gap=2) == []


def test_places_move_as_little_as_keeps_them_apart() -> None:
    assert apart([], 1) == []
    assert apart([1, 5, 9], 2) == [1, 5, 9]
    assert apart([5, 5, 5], 2) == [3, 5, 7]
    assert apart([0, 0.5, 10], 1) == [-0.25, 0.75, 10]
    assert apart([9.5, 0.2, 9.6], 1, low=0, high=10) == [9, 0.2, 10]
    assert apart([5, 5, 5], 4, low=0, high=4) == [0, 2, 4]


def test_places_that_are_apart_are_the_nearest_of_all() -> None:
    generator = np.random.Generator(np.random.Philox(key=3))
    at = sorted(map(float, generator.uniform(0, 10, size=9)))
    best = apart(at, 1.0, low=0, high=10)
    assert all(b - a >= 1 - 1e-9 for a, b in pairwise(best))
    cost = sum((a - b) ** 2 for a, b in zip(at, best, strict=True))
    for _ in range(2000):
        other = np.sort(np.asarray(best) + generator.normal(scale=0.3, size=9))
        if np.diff(other).min() >= 1 and other[0] >= 0 and other[-1] <= 10:
            assert ((np.asarray(at) - other) ** 2).sum() >= cost - 1e-9


def test_a_long_name_keeps_its_ends() -> None:
    assert shortened("context-k20", 11, len) == "context-k20"
    assert shortened("a-very-long-name  7", 11, len) == "a-ver…me  7"
    assert shortened("abc", 1, len) == "a…"


def test_a_figure_has_every_name_once() -> None:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        names_beside(axes, [(0.5, 0.5, "one <row>"), (0.5, 0.5, "another"), (float("nan"), 0.5, "without a value")])

    svg = drawn(4, 3, draw)
    assert svg.count("one &lt;row&gt;</text>") == 1
    assert svg.count("another</text>") == 1
    assert "without a value" not in svg
