"""How an object stands out: the terms of a pool's guarantees and of the mask judge (study.md section 7)."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def dilated(mask: Mask, pixels: int) -> Mask:
    """`mask` (..., h, w) grown by `pixels`, each time to the eight neighbours."""
    for _ in range(pixels):
        edges = [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)]
        padded = np.pad(mask, edges)
        h, w = mask.shape[-2:]
        shifted = [padded[..., i : i + h, j : j + w] for i in range(3) for j in range(3)]
        mask = np.logical_or.reduce(shifted)
    return mask


def ring(mask: Mask) -> Mask:
    """The pixels (h, w) around the object: two-pixel dilation minus one-pixel dilation."""
    return dilated(mask, 2) & ~dilated(mask, 1)


def contrast(image: npt.NDArray[np.float64], mask: Mask) -> float:
    """c(X): length of the difference between mean colours on the object and on its ring; 0 where either is empty.

    Args:
        image: (h, w, 3), RGB in 0..1.
        mask: (h, w), the object's pixels.
    """
    around = ring(mask)
    if not mask.any() or not around.any():
        return 0.0
    return float(np.linalg.norm(image[mask].mean(axis=0) - image[around].mean(axis=0)))


def rmse(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], mask: Mask) -> float:
    """Root mean square difference of two images (h, w, 3) over `mask` and the three colours; 0 on an empty mask."""
    return float(np.sqrt(np.mean((a[mask] - b[mask]) ** 2))) if mask.any() else 0.0
