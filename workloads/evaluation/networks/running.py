"""How a measuring network is run: frames in pieces, float32 without shortcuts, no gradients."""

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BLOCK_PIXELS = 1 << 18  # pixels taken through a network at once

Frames = npt.NDArray[np.uint8]


def blocks(frames: Frames, pixels_each: int | None = None) -> Iterator[slice]:
    """Pieces of a clip (t, h, w, 3) that go through a network together; `pixels_each` after resizing."""
    each = pixels_each or int(np.prod(frames.shape[1:3]))
    step = max(1, BLOCK_PIXELS // each)
    return (slice(i, i + step) for i in range(0, len(frames), step))


def pixels(frames: Frames, device: str) -> Tensor:
    """(t, h, w, 3) uint8 as (t, 3, h, w) float32 in 0..1."""
    contiguous = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    return torch.from_numpy(contiguous).to(device).float() / 255


@contextlib.contextmanager
def exact(device: str) -> Iterator[None]:
    """Inference in float32, on a GPU too: its convolutions otherwise round to 10 bits of mantissa by default."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(torch.device(device).type, enabled=False))
        if torch.device(device).type == "cuda":
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, deterministic=torch.are_deterministic_algorithms_enabled(), allow_tf32=False
                )
            )
        yield
