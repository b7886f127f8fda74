"""From 8-bit frames to latents and back (study.md section 4, Codec)."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.errors import BadInput

RGB = 3


class Codec(Protocol):
    """Frames to latents and back."""

    @property
    def time_factor(self) -> int:
        """Pixel frames that share a latent, after the first."""
        ...

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        ...

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents of frames of `height` x `width` pixels."""
        ...

    def encode(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(t, h, w, 3) uint8 to (t, c, h', w') float32."""
        ...

    def decode(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """(t, c, h', w') to (t, h, w, 3) uint8, clamped and rounded."""
        ...


class SpaceToDepth:
    """Squares of `factor` x `factor` pixels become channels; values are 2 rgb - 1. Exact: decode(encode(x)) == x.

    Channels are ordered colour, row within the square, column within the square.
    """

    time_factor = 1

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise BadInput(f"controls.codec.factor is {factor}; at least 1")
        self.factor = factor
        self.channels = RGB * factor * factor

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents.

        Raises:
            BadInput: frames that do not divide into squares.
        """
        if height % self.factor or width % self.factor:
            raise BadInput(
                f"controls.data is {height}x{width} pixels, controls.codec.factor is {self.factor}; "
                "height and width must be multiples of the factor"
            )
        return height // self.factor, width // self.factor

    def encode(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(t, h, w, 3) uint8 to (t, 3 factor^2, h/factor, w/factor) float32 in -1..1."""
        t, height, width, _ = frames.shape
        h, w = self.latent_size(height, width)
        values = frames.astype(np.float32) * np.float32(2 / 255) - np.float32(1)
        squares = values.reshape(t, h, self.factor, w, self.factor, RGB).transpose(0, 5, 2, 4, 1, 3)
        return np.ascontiguousarray(squares.reshape(t, self.channels, h, w))

    def decode(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """(t, c, h', w') to (t, h, w, 3) uint8; what lies outside -1..1 is clamped."""
        t, _, h, w = latents.shape
        f = self.factor
        squares = latents.reshape(t, RGB, f, f, h, w).transpose(0, 4, 2, 5, 3, 1).reshape(t, h * f, w * f, RGB)
        return np.asarray(np.rint((np.clip(squares, -1, 1) + 1) * 127.5), dtype=np.uint8)


def make_codec(codec_section: Mapping[str, Any]) -> Codec:
    """The codec of `controls.codec`.

    Raises:
        BadInput: a codec that needs pretrained weights, or an unknown one.
    """
    kind = codec_section["kind"]
    if kind == "space-to-depth":
        return SpaceToDepth(int(codec_section["factor"]))
    if kind == "wan":
        raise BadInput(
            "controls.codec.kind is 'wan', which needs the Wan 2.1 VAE's weights and cannot be run by this version "
            "(it can be planned); allowed: space-to-depth"
        )
    raise BadInput(f"controls.codec.kind is {kind!r}; allowed: space-to-depth")
