"""The page's colours, light and dark: families told apart by colour-blind eyes, and text that can be read."""

import re
from collections.abc import Mapping
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.figures.style import looks_of
from reports.page.page import TEMPLATES

SEEN_BY: Mapping[str, NDArray[np.float64]] = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)]
    ),
    "no green cones": np.array(
        [(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)]
    ),
    "no blue cones": np.array(
        [(1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)]
    ),
}
"""Linear RGB -> as it is seen: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15(6), severity 1."""
TO_XYZ = np.array(
    [(0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)]
)
"""Linear sRGB -> XYZ (D65)."""
WHITE = TO_XYZ.sum(axis=1)
APART = 12.0
"""Least distance of two families in CIELAB; 2.3 can just be seen."""
STUDY = 20.0
"""Of the first four families."""


def schemes() -> dict[str, dict[str, str]]:
    """Light and dark: variable -> `#rrggbb`."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, dark = re.split(r"@media screen and \(prefers-color-scheme: dark\)", css, maxsplit=1)
    found = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", part)) for part in (light, dark.split("\n}\n")[0])]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def linear(colour: str) -> NDArray[np.float64]:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """As WCAG 2.2 defines it, of linear colours."""
    dark, light = sorted(float(TO_XYZ[1] @ rgb) for rgb in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("scheme", "eyes"), [*product(("light", "dark"), SEEN_BY)])
def test_families_are_told_apart(scheme: str, eyes: str) -> None:
    colours = [schemes()[scheme][f"family-{i}"] for i in range(1, 9)]
    seen = [lab(SEEN_BY[eyes] @ linear(colour)) for colour in colours]
    near = {(i + 1, j + 1): float(np.linalg.norm(seen[i] - seen[j])) for i, j in combinations(range(8), 2)}
    assert {pair: gap for pair, gap in near.items() if gap < (STUDY if max(pair) <= 4 else APART)} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_drawn_and_written_stands_out(scheme: str) -> None:
    found = {name: linear(colour) for name, colour in schemes()[scheme].items()}
    grounds = ("paper", "card", "faint")
    drawn = {f"family-{i}": 3.0 for i in range(1, 9)}
    written = dict.fromkeys(("ink", "soft", "good", "bad", "open", "link"), 4.5)
    weak = {
        (name, ground): contrast(found[name], found[ground])
        for (name, least), ground in product({**drawn, **written}.items(), grounds)
        if contrast(found[name], found[ground]) < least
    }
    assert weak == {}


def test_families_differ_in_more_than_colour() -> None:
    looks = list(looks_of(f"family {i}" for i in range(64)).values())
    assert len({(look.colour, look.marker) for look in looks}) == 64
    assert len({(look.marker, str(look.dash)) for look in looks[:8]}) == 8
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    assert [look.css for look in looks if not all(f".{name} " in css for name in look.css.split())] == []
