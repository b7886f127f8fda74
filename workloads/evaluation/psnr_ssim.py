"""PSNR and SSIM of whole clips at once, equal to scikit-image's frame by frame to 1e-4.

Window sums of 8-bit values are exact in 32-bit integers, so the variances need no double
precision: only the last quotient is floating point. Four window sums (of s = x + y, d = x - y,
s² and d²) give what the usual five (x, y, x², y², xy) give.

Source: study.md section 7; Wang et al. (2004), IEEE Trans. Image Processing 13(4), eq. 13, with
scikit-image's defaults: uniform window of 7, sample covariance, mean over the pixels whose whole
window lies inside the image.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

PSNR_CAP_DB = 100.0
"""Of equal frames, which would have infinity (study.md section 7). True frames have it against themselves, and a camera
that stands still in its mirrored pairs: the reference rows. Frames without content never come here in such pairs
(`workloads/data/frames.py`); a frame compared with the truth has it only where it is the truth to the last level."""
WINDOW = 7  # pixels; scikit-image's default
BLOCK_VALUES = 1 << 15  # values handled at once: a few integer arrays of this size stay in the cache
LARGE_SIDE, LARGE_BLOCK_VALUES = 48, 1 << 16  # large frames: fewer, longer calls are faster by a tenth
EXACT_TERMS = (1 << 24) // 255**2  # so many squared differences add up to a whole number that float32 holds exactly

Frames = npt.NDArray[np.uint8]
Integers = TypeVar("Integers", np.int16, np.int32)
Values = npt.NDArray[np.float64]


def psnr(a: Frames, b: Frames, mask: npt.NDArray[np.bool_] | None = None) -> Values:
    """Peak signal-to-noise ratio of each pair of 8-bit frames, in dB, at most `PSNR_CAP_DB`.

    Args:
        a: (t, h, w, 3).
        b: the same shape; `psnr(a, b) == psnr(b, a)`.
        mask: (t, h, w), the pixels that count; None: all. A frame without any has nan.

    Returns:
        (t,) float64.

    Raises:
        ValueError: shapes or types that differ from these.
    """
    _check(a, b)
    count, total = np.zeros(len(a)), np.zeros(len(a))
    together = max(1, BLOCK_VALUES // max(1, int(np.prod(a.shape[1:]))))
    for i in range(0, len(a), together):
        block = np.s_[i : i + together]
        difference = (a[block].astype(np.int16) - b[block]).astype(np.float32)
        if mask is not None:
            difference *= mask[block][..., None]
        total[block] = _squares(difference.reshape(len(difference), -1), a.shape[2] * a.shape[3])
        count[block] = a[0].size if mask is None else mask[block].sum(axis=(1, 2)) * a.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Values = np.minimum(10.0 * np.log10(255.0**2 * count / total), PSNR_CAP_DB)
    return np.where(count > 0, values, np.nan)


def ssim(a: Frames, b: Frames) -> Values:
    """Structural similarity of each pair of 8-bit frames, 1 where they are equal.

    Args:
        a: (t, h, w, 3), h and w at least `WINDOW`.
        b: the same shape.

    Returns:
        (t,) float64, at most 1; the mean over channels and pixels.

    Raises:
        ValueError: shapes or types that differ from these, or frames smaller than the window.
    """
    _check(a, b)
    t, h, w, channels = a.shape
    if min(h, w) < WINDOW:
        raise ValueError(f"ssim needs frames of at least {WINDOW} × {WINDOW} pixels, got {h} × {w}")
    sums = np.zeros(t)
    values = LARGE_BLOCK_VALUES if min(h, w) >= LARGE_SIDE else BLOCK_VALUES
    together = max(1, values // (h * w * channels))
    rows = max(4 * WINDOW, values // (w * channels))
    for i in range(0, t, together):
        for row in range(0, h - WINDOW + 1, rows - WINDOW + 1):
            stripe = np.s_[i : i + together, row : row + rows]
            sums[i : i + together] += _map_sums(a[stripe], b[stripe])
    sums /= (h - WINDOW + 1) * (w - WINDOW + 1) * channels
    return sums


def _squares(difference: npt.NDArray[np.float32], row: int) -> Values:
    """Sum of squares of whole numbers −255..255, (t, n) to (t,), exactly; n is a multiple of `row`.

    Pieces of a row are added up in float32 as long as nothing is rounded, and the pieces in float64.
    """
    piece = next(size for size in range(min(row, EXACT_TERMS), 0, -1) if row % size == 0)
    parts = difference.reshape(len(difference), -1, piece)
    sums: Values = np.einsum("tpn,tpn->tp", parts, parts).sum(axis=1, dtype=np.float64)
    return sums


def _map_sums(a: Frames, b: Frames) -> Values:
    """Sum of each frame's SSIM map over the inner pixels of a stripe (t, h, w, 3).

    s and d go through every step side by side, rows first, so that nothing is computed for windows that would
    cross a frame's lower edge. Columns are one flat vector, in which a neighbour is a fixed offset: all operations
    run over contiguous memory, and windows that cross a row's end hold nonsense that is left out of the sum.
    """
    t, h, w, channels = a.shape
    x, y = a.reshape(t, h, -1).astype(np.int16), b.reshape(t, h, -1)
    both = np.empty((2, *x.shape), np.int16)
    np.add(x, y, out=both[0])
    np.subtract(x, y, out=both[1])
    squares = both.astype(np.int32)
    squares *= squares
    # Sums of 49 values up to 510 fit 16 bits; their squares and the sums of squares need 32.
    means = _sums_along(_sums_of_rows(both).reshape(-1), channels).astype(np.int32)
    means *= means
    spreads = _sums_along(_sums_of_rows(squares).reshape(-1), channels)
    n = WINDOW * WINDOW
    spreads *= n  # n·Σs² − (Σs)², exact: at most (255 · 49)²
    spreads -= means
    places = t * (h - WINDOW + 1) * w * channels
    whole = places - (WINDOW - 1) * channels
    mean_s, mean_d, spread_s, spread_d = means[:whole], means[places:], spreads[:whole], spreads[places:]
    # With s = x + y and d = x − y, difference and sum of the two are 4·mean(x)·mean(y) and 2·(mean(x)² + mean(y)²),
    # each times n²; the same for the spreads. The constants are brought to that scale (sample covariance divides by
    # n·(n − 1)); rounding them to integers changes them by less than 1e-6 of their size.
    mean_s += round(2 * n * n * (0.01 * 255) ** 2)
    spread_s += round(2 * n * (n - 1) * (0.03 * 255) ** 2)
    numerator = (mean_s - mean_d).astype(np.float32)
    numerator *= (spread_s - spread_d).astype(np.float32)
    mean_s += mean_d
    spread_s += spread_d
    denominator = mean_s.astype(np.float32)
    denominator *= spread_s.astype(np.float32)
    values = np.empty(places, np.float32)
    np.divide(numerator, denominator, out=values[:whole])
    inner = values.reshape(t, h - WINDOW + 1, w * channels)[:, :, : (w - WINDOW + 1) * channels]
    sums: Values = inner.sum(axis=(1, 2), dtype=np.float64)
    return sums


def _sums_of_rows(x: npt.NDArray[Integers]) -> npt.NDArray[Integers]:
    """Sums over `WINDOW` neighbouring rows of (2, t, h, n): (2, t, h − 6, n).

    Seven terms take four additions: pairs, pairs of pairs, and the three that are left.
    """
    rows = x.shape[2] - WINDOW + 1
    pairs = x[:, :, :-1] + x[:, :, 1:]
    sums = pairs[:, :, :rows] + pairs[:, :, 2 : 2 + rows]
    sums += pairs[:, :, 4 : 4 + rows]
    sums += x[:, :, 6 : 6 + rows]
    return sums


def _sums_along(x: npt.NDArray[Integers], step: int) -> npt.NDArray[Integers]:
    """The same over neighbours at distance `step` of a flat vector (n,): (n − 6 step,)."""
    n = len(x) - (WINDOW - 1) * step
    pairs = x[:-step] + x[step:]
    sums = pairs[:n] + pairs[2 * step : 2 * step + n]
    sums += pairs[4 * step : 4 * step + n]
    sums += x[6 * step : 6 * step + n]
    return sums


def _check(a: Frames, b: Frames) -> None:
    if a.shape != b.shape or a.ndim != 4 or a.shape[-1] != 3:
        raise ValueError(f"two clips (t, h, w, 3) of one shape are compared, got {a.shape} and {b.shape}")
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(f"clips are compared in 8 bits (uint8), got {a.dtype} and {b.dtype}")
