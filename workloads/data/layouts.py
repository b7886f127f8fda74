"""The two domains of rendered worlds, and how one is drawn at random (study.md section 2, worlds).

In-domain and open-domain worlds share no layout family, shape, texture, hue or object: a model has met none of what it
must remember in the return branch.
"""

import colorsys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.data.elements import Background, Colour, Element

ELEMENTS = 10
CHANNEL_BITS = 3
OBJECTS = 2**CHANNEL_BITS  # in the catalogue of each domain: one a corner of the colour cube


@dataclass(frozen=True)
class Domain:
    """What worlds of one domain are made of."""

    families: tuple[str, ...]
    """Layout families; all that a caption tells."""
    spreads: tuple[tuple[float, float], ...]
    """Lowest and highest elevation of elements, in halves of the frame's height; families take turns."""
    shapes: tuple[str, ...]
    textures: tuple[str, ...]
    hues_deg: tuple[float, ...]
    harmonics: tuple[int, ...]
    object_shapes: tuple[str, ...]
    object_texture: str
    object_levels: tuple[float, float]
    """Low and high value of a colour channel of an object."""
    partner: int
    """An object's second colour is the first one with these channels (bits) exchanged."""


DOMAINS: Mapping[str, Domain] = {
    "in": Domain(
        families=("meadow", "harbour", "orchard", "plaza"),
        spreads=((-0.9, 0.3), (-0.5, 0.5), (-0.3, 0.9), (-0.9, 0.9)),
        shapes=("disc", "square"),
        textures=("upwards", "rim"),
        hues_deg=(0.0, 60.0, 120.0, 180.0, 240.0, 300.0),
        harmonics=(1, 3, 5),
        object_shapes=("block", "egg"),
        object_texture="left-right",
        object_levels=(0.0, 1.0),
        partner=0b001,
    ),
    "open": Domain(
        families=(
            "canyon",
            "station",
            "glacier",
            "temple",
            "market",
            "lagoon",
            "quarry",
            "terrace",
            "dunes",
            "shipyard",
            "ruins",
            "vineyard",
            "arcade",
            "fjord",
            "bazaar",
            "volcano",
            "marsh",
            "citadel",
            "depot",
            "cavern",
        ),
        spreads=((-0.7, 0.7), (-0.8, 0.4), (-0.4, 0.8)),
        shapes=("diamond", "bar"),
        textures=("sideways", "core"),
        hues_deg=(30.0, 90.0, 150.0, 210.0, 270.0, 330.0),
        harmonics=(2, 4, 6),
        object_shapes=("hexagon", "drop"),
        object_texture="top-bottom",
        object_levels=(0.06, 0.94),
        partner=0b100,
    ),
}


def domain_of(split: str) -> Domain:
    """The domain of a split: training and held-out scenes are of one, open-domain scenes of the other."""
    return DOMAINS["open" if split == "open" else "in"]


def background(domain: Domain, random: np.random.Generator) -> Background:
    """A smooth surrounding of high contrast."""
    waves = len(domain.harmonics)
    level = random.normal(0.0, 0.18, size=(1 + 2 * waves, 3))
    level[0] = random.uniform(0.3, 0.7, size=3)
    slope = random.normal(0.0, 0.18, size=(1 + 2 * waves, 3))
    return Background(domain.harmonics, _colours(level), _colours(slope))


def surroundings(
    domain: Domain, number: int, half_height_deg: float, random: np.random.Generator
) -> tuple[Element, ...]:
    """Elements all around, one in each of equal sectors, so that there is something to know in every direction.

    Args:
        number: of the family, an index into `domain.families`.
    """
    low, high = domain.spreads[number % len(domain.spreads)]
    sector = 360.0 / ELEMENTS
    elements = []
    for i in range(ELEMENTS):
        hue = (float(random.choice(domain.hues_deg)) + float(random.uniform(-10.0, 10.0))) / 360.0
        colour = colorsys.hsv_to_rgb(hue % 1.0, float(random.uniform(0.6, 1.0)), float(random.uniform(0.35, 1.0)))
        shade = float(random.uniform(0.5, 0.8))
        elements.append(
            Element(
                bearing_deg=_rounded(sector * (i + float(random.uniform(0.0, 1.0)))),
                elevation_deg=_rounded(half_height_deg * float(random.uniform(low, high))),
                depth_m=_rounded(float(random.uniform(3.5, 8.0))),
                radius_deg=_rounded(float(random.uniform(5.0, 11.0))),
                shape=str(random.choice(domain.shapes)),
                texture=str(random.choice(domain.textures)),
                colour=_colour(colour),
                second=_colour([c * shade for c in colour]),
            )
        )
    return tuple(elements)


def placed_object(
    domain: Domain, number: int, bearing_deg: float, elevation_deg: float, depth_m: float, radius_deg: float
) -> Element:
    """Object `number` of the domain's catalogue (0..`OBJECTS` - 1), somewhere; any two differ in both colours."""
    return Element(
        bearing_deg=_rounded(bearing_deg),
        elevation_deg=_rounded(elevation_deg),
        depth_m=_rounded(depth_m),
        radius_deg=_rounded(radius_deg),
        shape=domain.object_shapes[number % len(domain.object_shapes)],
        texture=domain.object_texture,
        colour=_corner(number, domain.object_levels),
        second=_corner(number ^ domain.partner, domain.object_levels),
    )


def _corner(number: int, levels: tuple[float, float]) -> Colour:
    red, green, blue = (levels[number >> bit & 1] for bit in range(CHANNEL_BITS))
    return (red, green, blue)


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _colour(values: Iterable[float]) -> Colour:
    red, green, blue = (_rounded(v) for v in values)
    return (red, green, blue)


def _colours(values: npt.NDArray[np.float64]) -> tuple[Colour, ...]:
    return tuple(_colour(row) for row in values.tolist())
