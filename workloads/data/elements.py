"""What a rendered world is made of: a smooth surrounding and flat shapes that face the camera (study.md section 2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""

Field = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Element:
    """A flat shape that always faces the camera; seen from the origin it has the given angular radius."""

    bearing_deg: float
    """In world axes, positive towards +Y."""
    elevation_deg: float
    depth_m: float
    """Distance from the origin: nearer elements move more when the camera is translated, and cover farther ones."""
    radius_deg: float
    shape: str
    """A key of `SHAPES`."""
    texture: str
    """A key of `TEXTURES`: how the two colours share the shape."""
    colour: Colour
    second: Colour


@dataclass(frozen=True)
class Background:
    """Colours at infinity: a Fourier series over the bearing, plus one that grows with elevation."""

    harmonics: tuple[int, ...]
    level: tuple[Colour, ...]
    """(1 + 2 len(harmonics)): constant, then cosine and sine of each harmonic."""
    slope: tuple[Colour, ...]
    """The same for the part that is multiplied by tan(elevation) / tan(half view)."""


# u to the right and v upwards, in units of the radius; all shapes have about the area of the unit disc.
SHAPES: Mapping[str, Callable[[Field, Field], npt.NDArray[np.bool_]]] = {
    "disc": lambda u, v: u * u + v * v < 1.0,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) < 0.886,
    "diamond": lambda u, v: np.abs(u) + np.abs(v) < 1.253,
    "bar": lambda u, v: (np.abs(u) < 1.2) & (np.abs(v) < 0.655),
    "block": lambda u, v: (np.abs(u) < 0.95) & (np.abs(v) < 0.85),
    "egg": lambda u, v: u * u * 0.8 + v * v * 1.25 < 1.0,
    "hexagon": lambda u, v: np.maximum(np.abs(u), 0.5 * np.abs(u) + 0.866 * np.abs(v)) < 0.95,
    "drop": lambda u, v: (u * u + v * v < 1.0) & (v < 0.8 - 0.4 * np.abs(u)),
}

REACH = 1.3
"""No shape goes farther from its centre than this many radii."""

# Share of the second colour, 0..1.
TEXTURES: Mapping[str, Callable[[Field, Field], Field]] = {
    "upwards": lambda u, v: np.clip(0.5 + 0.5 * v, 0.0, 1.0),
    "rim": lambda u, v: np.clip(u * u + v * v, 0.0, 1.0),
    "sideways": lambda u, v: np.clip(0.5 + 0.5 * u, 0.0, 1.0),
    "core": lambda u, v: np.clip(1.0 - np.abs(u) - np.abs(v), 0.0, 1.0),
    "left-right": lambda u, v: np.where(u < 0, 0.0, 1.0),
    "top-bottom": lambda u, v: np.where(v > 0, 0.0, 1.0),
}

# How a texture is put in words, first and second colour as they share the shape.
LOOKS: Mapping[str, str] = {
    "upwards": "shading from {first} at the bottom to {second} at the top",
    "rim": "{first} in the middle and {second} at its rim",
    "sideways": "shading from {first} on the left to {second} on the right",
    "core": "{second} in the middle and {first} around it",
    "left-right": "{first} on its left half and {second} on its right half",
    "top-bottom": "{first} on its top half and {second} on its bottom half",
}

COLOUR_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
"""By the channels that are on: red counts 1, green 2, blue 4."""


def colour_name(colour: Colour) -> str:
    """The nearest corner of the colour cube, in a word."""
    return COLOUR_NAMES[sum(2**bit for bit, channel in enumerate(colour) if channel >= 0.5)]


def in_words(element: Element) -> str:
    """What an element looks like, for people and models: "an egg shape, red on its left half and ..."."""
    look = LOOKS[element.texture].format(first=colour_name(element.colour), second=colour_name(element.second))
    article = "an" if element.shape[0] in "aeiou" else "a"
    return f"{article} {element.shape} shape, {look}"
