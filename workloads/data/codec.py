"""From 8-bit frames to latents and back (study.md section 4, Codec)."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.data.frames import displayed
from workloads.runtime.errors import BadInput
from workloads.study.sizes import RGB

TIME_FACTORS: Mapping[str, int] = {"space-to-depth": 1, "wan": 4}
"""Pixel frames that share a latent, after the first, by `controls.codec.kind`."""


class FrameCodec(Protocol):
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
        """A clip (t, h, w, 3) uint8, causally, to ((t - 1) / time_factor + 1, c, h', w') float32."""
        ...

    def encode_each(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Frames (n, h, w, 3) uint8, each by itself, to (n, c, h', w') float32."""
        ...

    def decode(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """The latents of a clip (t, c, h', w') to its frames ((t - 1) time_factor + 1, h, w, 3) uint8, rounded.

        Raises:
            BrokenFrame: what comes out is no image (`frames.displayed`).
        """
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

    def encode_each(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The same as `encode`: no frame has neighbours here."""
        return self.encode(frames)

    def decode(self, latents: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """(t, c, h', w') to (t, h, w, 3) uint8; what lies outside -1..1 is clamped.

        Raises:
            BrokenFrame: values that are no image.
        """
        t, _, h, w = latents.shape
        f = self.factor
        squares = latents.reshape(t, RGB, f, f, h, w).transpose(0, 4, 2, 5, 3, 1).reshape(t, h * f, w * f, RGB)
        return displayed(squares)


def time_factor(kind: str) -> int:
    """Pixel frames that share a latent, after the first.

    Raises:
        BadInput: an unknown codec.
    """
    if kind not in TIME_FACTORS:
        raise BadInput(f"controls.codec.kind is {kind!r}; allowed: {', '.join(TIME_FACTORS)}")
    return TIME_FACTORS[kind]


def latents_of(frames: int, kind: str) -> int:
    """Latents of a chunk of `frames` pixel frames.

    Raises:
        BadInput: an unknown codec, or frames that do not divide into latents.
    """
    factor = time_factor(kind)
    if (frames - 1) % factor:
        raise BadInput(
            f"controls.data.chunk_frames is {frames}, and controls.codec.kind {kind!r} shares a latent between "
            f"{factor} frames after the first; "
            f"allowed: 1 + a multiple of {factor}, such as {frames - (frames - 1) % factor}"
        )
    return (frames - 1) // factor + 1


def make_codec(
    codec_section: Mapping[str, Any], paths: Mapping[str, str] | None = None, device: str = "cpu"
) -> FrameCodec:
    """The codec of `controls.codec`.

    Args:
        paths: `execution.paths`; a codec with weights finds them there.
        device: where a codec with weights computes.

    Raises:
        BadInput: an unknown codec, or weights that are not there or not usable.
    """
    kind = codec_section["kind"]
    time_factor(kind)
    if kind == "space-to-depth":
        return SpaceToDepth(int(codec_section["factor"]))
    # Torch and diffusers cost seconds, and only this codec needs them.
    from workloads.data.wan_vae import load_wan_vae

    return load_wan_vae(codec_section, paths or {}, device)
