"""What the model accepts: sizes that fit together, and tensors of these sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from workloads.memory.interface import Slots
from workloads.model.action import SITES
from workloads.runtime.errors import BadInput
from workloads.study.memory.base import PATCH
from workloads.study.sizes import ACTION_WIDTH


@dataclass(frozen=True)
class LatentShape:
    """What one chunk looks like to the model."""

    channels: int
    height: int
    """Of a latent, in latent pixels."""
    width: int
    frames: int
    """Target latents of a chunk."""
    text_tokens: int
    text_width: int

    def check_target(self, noisy: Tensor, sigma: Tensor, actions: Tensor) -> None:
        """Check the noisy target of a batch.

        Raises:
            ValueError: a tensor of another shape.
        """
        b, t = noisy.shape[:2]
        _expect("noisy", noisy, (b, self.frames, self.channels, self.height, self.width))
        _expect("sigma", sigma, (b,) if len(sigma) > 1 else (1,))
        _expect("actions", actions, (b, t, ACTION_WIDTH))

    def check_evidence(self, batch: int, text: Tensor, segments: Sequence[Slots]) -> None:
        """Check text and evidence of so many samples.

        Raises:
            ValueError: a tensor of another shape.
        """
        _expect("text", text, (batch, self.text_tokens, self.text_width))
        for slots in segments:
            k = slots.latents.shape[1]
            _expect("slots.latents", slots.latents, (batch, k, self.channels, self.height, self.width))
            _expect("slots.actions", slots.actions, (batch, k, ACTION_WIDTH))
            _expect("slots.valid", slots.valid, (batch, k))
            if slots.base is not None:
                _expect("slots.base", slots.base, (batch, ACTION_WIDTH))


def check_sizes(backbone: Mapping[str, Any], action: Mapping[str, Any], shape: LatentShape) -> None:
    """Check that the sizes of backbone, action and latents fit together.

    Raises:
        BadInput: they do not; the message names the key.
    """
    width, heads = int(backbone["width"]), int(backbone["heads"])
    if width % heads or (width // heads) % 2 or width // heads < 6:
        raise BadInput(
            f"backbone.width is {width} and backbone.heads {heads}; a head needs an even width of at least 6, "
            "so choose a width that is an even multiple of the heads"
        )
    if shape.height % PATCH or shape.width % PATCH:
        raise BadInput(
            f"a latent of {shape.height} x {shape.width} cannot be cut into patches of {PATCH} x {PATCH}; "
            "change data.height, data.width or codec.factor so that both are even"
        )
    values = shape.channels * PATCH * PATCH
    if width <= values:
        raise BadInput(
            f"backbone.width is {width}, a patch has {values} values, and the velocity contains their noise; "
            f"allowed: more than {values}"
        )
    if int(backbone["frequency_width"]) % 2:
        raise BadInput(f"backbone.frequency_width is {backbone['frequency_width']}; allowed: even numbers")
    if action["site"] not in SITES:
        raise BadInput(f"action.site is {action['site']!r}; allowed: {', '.join(SITES)}")


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; the model expects {shape}")
