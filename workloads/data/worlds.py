"""A rendered scene: what is in it, and the truth at any pose (study.md sections 2 and 7).

A world is an endless surrounding, elements at depths around the origin, and one salient object, the identity anchor. It
is a handful of numbers, written as JSON beside the pool, from which every frame can be drawn again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data import draws, layouts
from workloads.data.elements import SHAPES, TEXTURES, Background, Colour, Element, in_words
from workloads.data.poses import Poses
from workloads.data.render import PixelSamples, drawn, half_height_deg, pixel_deg
from workloads.data.trajectories import key_of, start_yaw_deg
from workloads.data.visibility import contrast, rmse
from workloads.runtime.errors import BadInput

VERSION = 1
OBJECT_BEARINGS_DEG = (-15.0, 25.0)  # wholly between them, from the first frame's heading
OBJECT_PIXELS = 6
OBJECT_CONTRAST = 0.3
OBJECT_DIFFERENCE = 0.2
OBJECT_DEPTH_M = 2.5  # nearer than everything else: nothing ever hides it
OBJECT_RADII_DEG = (6.0, 8.0)
OF_A_HEADING = 200
"""Objects that are tried from one heading; then another is drawn."""
ATTEMPTS = 5 * OF_A_HEADING


@dataclass(frozen=True)
class World:
    """The parameters of one scene."""

    height: int
    width: int
    family: str
    """Layout family, all that the caption tells."""
    start_yaw_deg: float
    """Heading of the scene's first frame; the object is placed relative to it."""
    background: Background
    elements: tuple[Element, ...]
    salient: Element
    """The object."""
    domain: str
    """A key of `layouts.DOMAINS`."""
    salient_number: int
    """Number of the object in its domain's catalogue."""

    def frames(self, poses: Poses, with_object: bool = True) -> npt.NDArray[np.uint8]:
        """The true frames at `poses`, (t, h, w, 3) uint8, with or without the object."""
        return np.concatenate([part.frames() for part in self._drawn(poses, with_object)])

    def frames_and_masks(self, poses: Poses) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The frames, and in each the pixels at least half covered by the object, (t, h, w)."""
        parts = [(part.frames(), part.salient_mask()) for part in self._drawn(poses)]
        return np.concatenate([frames for frames, _ in parts]), np.concatenate([masks for _, masks in parts])

    def depth(self, poses: Poses) -> npt.NDArray[np.float32]:
        """Distance of what fills most of a pixel, (t, h, w) float32, metres; `render.FAR_M` for the background."""
        return np.concatenate([part.depth_m() for part in self._drawn(poses)])

    def with_another_object(self, number: int) -> "World":
        """The same world with object `number` of its domain in the same place, modulo the catalogue's size."""
        domain, at = layouts.DOMAINS[self.domain], self.salient
        number %= layouts.OBJECTS
        other = layouts.placed_object(domain, number, at.bearing_deg, at.elevation_deg, at.depth_m, at.radius_deg)
        return replace(self, salient=other, salient_number=number)

    def others(self) -> Iterator["World"]:
        """The same world with each other object of its domain in the same place."""
        for number in range(layouts.OBJECTS):
            if number != self.salient_number:
                yield self.with_another_object(number)

    @property
    def caption(self) -> str:
        """Names the layout family and never an object, colour or texture: an identity in the text needs no memory."""
        return f"a {self.family}, seen all around"

    @property
    def object_name(self) -> str:
        """The salient object in words, for a judge that cannot see the parameters; never in a caption."""
        return in_words(self.salient)

    @cached_property
    def first_pose(self) -> Poses:
        """The pose of the scene's first frame: at the origin, looking at `start_yaw_deg`."""
        return Poses(np.zeros((1, 3)), np.array([self.start_yaw_deg]))

    def refusal(self) -> str | None:
        """Why this world cannot be a case of the judged branches, or None if it can (study.md section 7, return)."""
        (frame,), (mask,) = self.frames_and_masks(self.first_pose)
        if mask.sum() < OBJECT_PIXELS:
            return f"the object covers {int(mask.sum())} pixels, fewer than {OBJECT_PIXELS}"
        image = frame / 255.0
        stands_out = contrast(image, mask) - contrast(self.frames(self.first_pose, with_object=False)[0] / 255.0, mask)
        if stands_out < OBJECT_CONTRAST:
            return f"the object's contrast is {stands_out:.2f}, less than {OBJECT_CONTRAST}"
        for other in self.others():
            difference = rmse(image, other.frames(self.first_pose)[0] / 255.0, mask)
            if difference < OBJECT_DIFFERENCE:
                return f"object {other.salient_number} differs by {difference:.2f}, less than {OBJECT_DIFFERENCE}"
        return None

    def to_json(self) -> dict[str, Any]:
        """As a plain object; `world_from` reads it back."""
        return {"version": VERSION, **asdict(self)}

    def _drawn(self, poses: Poses, with_object: bool = True) -> Iterator[PixelSamples]:
        salient = self.salient if with_object else None
        return drawn(self.background, self.elements, salient, poses, self.height, self.width)


def make_world(data: Mapping[str, Any], split: str, index: int) -> World:
    """Scene `index` of a split ("train", "held_out", "open"), the same for ever.

    Open-domain scene p x open_variants + v is variant v of prompt p: all variants share the surroundings and differ in
    object and place. Held-out and open scenes satisfy `World.refusal() is None`: others are drawn again.

    Raises:
        BadInput: no drawn object satisfies it, e.g. because frames are too small.
    """
    height, width, seed = int(data["height"]), int(data["width"]), data["seed"]
    domain = layouts.domain_of(split)
    place, *variant = key = key_of(data, split, index)
    random = draws.stream("data/surroundings", seed, split, place)
    number = place % len(domain.families)
    background = layouts.background(domain, random)
    elements = layouts.surroundings(domain, number, half_height_deg(height, width), random)
    first_object = int(random.integers(layouts.OBJECTS))
    reason: str | None = None
    for attempt in range(ATTEMPTS):
        random = draws.stream("data/object", seed, split, *key, attempt)
        radius, bearing, elevation = _object_place(height, width, random)
        which = int(random.integers(layouts.OBJECTS))
        if variant:
            which = (first_object + variant[0]) % layouts.OBJECTS
        yaw = start_yaw_deg(data, split, index, attempt // OF_A_HEADING)
        world = World(
            height=height,
            width=width,
            family=domain.families[number],
            start_yaw_deg=yaw,
            background=background,
            elements=elements,
            salient=layouts.placed_object(domain, which, yaw + bearing, elevation, OBJECT_DEPTH_M, radius),
            domain="open" if split == "open" else "in",
            salient_number=which,
        )
        reason = None if split == "train" else world.refusal()
        if reason is None:
            return world
    raise BadInput(
        f"controls.data: no object for scene {index} of {split} in {ATTEMPTS} tries; the last: {reason}; "
        f"frames are {height}x{width}; raise controls.data.height or width, or change controls.data.seed"
    )


def world_from(raw: Mapping[str, Any], where: str) -> World:
    """The world of a JSON object; `where` names it in errors.

    Raises:
        BadInput: another version, or a field that is missing or unknown.
    """
    fields = dict(raw)
    version = fields.pop("version", None)
    if version != VERSION:
        raise BadInput(f"{where}: version is {version!r}, this code reads {VERSION}; make the pool again")
    try:
        fields["background"] = _background_from(fields["background"])
        fields["elements"] = tuple(_element_from(e, where) for e in fields["elements"])
        fields["salient"] = _element_from(fields["salient"], where)
        return World(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: {error}; make the pool again") from error


def _object_place(height: int, width: int, random: np.random.Generator) -> tuple[float, float, float]:
    """Radius, bearing and elevation in degrees: wholly inside the bearings and, where there is room, the picture."""
    smallest = max(OBJECT_RADII_DEG[0], 1.9 * pixel_deg(width))
    radius = float(random.uniform(smallest, max(OBJECT_RADII_DEG[1], smallest)))
    reach = 1.2 * radius
    low, high = OBJECT_BEARINGS_DEG
    bearing = float(random.uniform(min(low + reach, high - reach), max(low + reach, high - reach)))
    room = max(0.0, half_height_deg(height, width) - 1.5 * radius)
    return radius, bearing, float(random.uniform(-room, room))


def _background_from(raw: Mapping[str, Any]) -> Background:
    return Background(
        tuple(raw["harmonics"]), tuple(_colour(c) for c in raw["level"]), tuple(_colour(c) for c in raw["slope"])
    )


def _element_from(raw: Mapping[str, Any], where: str) -> Element:
    for field, allowed in (("shape", SHAPES), ("texture", TEXTURES)):
        if raw[field] not in allowed:
            raise BadInput(f"{where}: {field} is {raw[field]!r}; allowed: {', '.join(allowed)}")
    return Element(**{**raw, "colour": _colour(raw["colour"]), "second": _colour(raw["second"])})


def _colour(raw: Any) -> Colour:
    red, green, blue = raw
    return (float(red), float(green), float(blue))
