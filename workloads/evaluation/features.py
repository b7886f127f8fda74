"""Distances on fixed random features: the stand-ins for LPIPS, FID and FVD where no pretrained network is given.

The formulas are those of the originals (Zhang et al. 2018, eq. 1; Heusel et al. 2017, section 2; Unterthiner
et al. 2018), the networks are three random convolutions, so the values compare with nothing but themselves.
They are therefore *named* otherwise (`rf_...`) in every table (study.md section 7).
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from workloads.data import draws

CHANNELS = (3, 16, 32, 64)
STRIDES = (1, 2, 2)
KERNEL = 3
FEATURES = CHANNELS[-1]
CLIP_FRAMES = 1 + len(STRIDES) * (KERNEL - 1)  # what one output of the clip features has seen
LEAST_FRAMES = 128  # study.md section 7: a covariance of 64 features from fewer is noise
BLOCK_PIXELS = 1 << 18  # pixels taken through the network at once

Frames = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]


def rf_distance(a: Frames, b: Frames) -> Values:
    """Perceptual distance of each pair of frames, (t,): 0 for equal frames, at most 2 a layer.

    At each layer features are scaled to unit length per pixel; squared differences are summed over
    channels, averaged over pixels, and summed over layers.

    Args:
        a: (t, h, w, 3) uint8, h and w at least 4.
        b: the same shape.
    """
    blocks = [
        sum(
            (_unit(x) - _unit(y)).square().sum(dim=1).mean(dim=(1, 2), dtype=torch.float64)
            for x, y in zip(_layers(a[i:j]), _layers(b[i:j]), strict=True)
        )
        for i, j in _blocks(a)
    ]
    return np.concatenate([np.asarray(block) for block in blocks]) if blocks else np.zeros(0)


def frame_features(frames: Frames) -> Values:
    """Features of single frames, (t, h, w, 3) uint8 -> (t, 64): the last layer, averaged over pixels."""
    blocks = [_layers(frames[i:j])[-1].mean(dim=(2, 3), dtype=torch.float64).numpy() for i, j in _blocks(frames)]
    return np.concatenate(blocks) if blocks else np.zeros((0, FEATURES))


def clip_features(frames: Frames) -> Values:
    """Features of all clips of `CLIP_FRAMES` consecutive frames, (t, h, w, 3) uint8 -> (t − 6, 64).

    Three-dimensional convolutions without padding in time, so that each output has seen one clip; averaged over
    pixels.
    """
    if len(frames) < CLIP_FRAMES:
        return np.zeros((0, FEATURES))
    with torch.inference_mode():
        x = _pixels(frames).transpose(0, 1)[None]  # (1, 3, t, h, w)
        for layer, stride in enumerate(STRIDES):
            x = functional.conv3d(x, _weights(layer, True), stride=(1, stride, stride), padding=(0, 1, 1)).relu()
        features: Values = x[0].mean(dim=(2, 3), dtype=torch.float64).T.contiguous().numpy()
    return features


def frechet(
    a: npt.NDArray[np.floating[Any]], b: npt.NDArray[np.floating[Any]], least: int = LEAST_FRAMES
) -> float | None:
    """Fréchet distance of two sets of features (n, d), as of two normal distributions.

    |μa − μb|² + tr(A + B − 2 (A^½ B A^½)^½); the root by two symmetric eigenproblems, so nothing complex appears.
    None, not defined, under `least` lines in either set.

    Raises:
        ValueError: features or a distance that are not finite.
    """
    if min(len(a), len(b)) < least:
        return None
    for features in (a, b):
        if not np.isfinite(features).all():
            raise ValueError(
                f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)} lines of features "
                "are not finite; allowed: finite numbers; give the network's published weights"
            )
    a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    distance = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    if not np.isfinite(distance):  # `max` would make 0, the best there is, of NaN
        raise ValueError(f"the Fréchet distance of {len(a)} and {len(b)} lines of features is {float(distance)!r}")
    return max(0.0, float(distance))


def _blocks(frames: Frames) -> list[tuple[int, int]]:
    t, h, w = frames.shape[:3]
    step = max(1, BLOCK_PIXELS // (h * w))
    return [(i, min(t, i + step)) for i in range(0, t, step)]


def _pixels(frames: Frames) -> Tensor:
    return torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32, order="C")) / 127.5 - 1


def _layers(frames: Frames) -> list[Tensor]:
    with torch.inference_mode():
        x, layers = _pixels(frames), []
        for layer, stride in enumerate(STRIDES):
            x = functional.conv2d(x, _weights(layer, False), stride=stride, padding=1).relu()
            layers.append(x)
        return layers


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


@functools.cache
def _weights(layer: int, in_time: bool) -> Tensor:
    kernel = (KERNEL,) * (3 if in_time else 2)
    shape = (CHANNELS[layer + 1], CHANNELS[layer], *kernel)
    # He et al. (2015): keeps the features' size through the rectifiers.
    scale = (2.0 / np.prod(shape[1:])) ** 0.5
    kind = "clip" if in_time else "frame"
    return torch.from_numpy(draws.normal(shape, "evaluation/random-features", kind, layer) * np.float32(scale))
