"""Metrics against scikit-image, taken in one run on one machine; `make bench` prints the ratios."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from timing import alternating, say

from workloads.evaluation.psnr_ssim import psnr, ssim

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 16), (32, 32), (64, 64)])
def test_psnr_and_ssim_of_a_clip_against_scikit_image(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (33, height, width, 3), dtype=np.uint8)
    b = np.clip(a.astype(int) + rng.integers(-20, 21, a.shape), 0, 255).astype(np.uint8)

    def peer() -> list[tuple[float, float]]:
        return [
            (peak_signal_noise_ratio(x, y, data_range=255), structural_similarity(x, y, channel_axis=2, data_range=255))
            for x, y in zip(a, b, strict=True)
        ]

    expected = np.array(peer())
    assert np.abs(psnr(a, b) - expected[:, 0]).max() < 1e-4
    assert np.abs(ssim(a, b) - expected[:, 1]).max() < 1e-4
    ours, theirs = alternating([lambda: (psnr(a, b), ssim(a, b)), peer], 9)
    say(f"PSNR + SSIM of 33 frames of {height}x{width}", ours, theirs, "scikit-image", group="computing")
