import math
import time

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from workloads.data import draws
from workloads.evaluation import psnr_ssim
from workloads.evaluation.psnr_ssim import PSNR_CAP_DB, psnr, ssim


def clips(t: int, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    a = (draws.uniform((t, h, w, 3), "test", "a") * 256).astype(np.uint8)
    noise = draws.normal((t, h, w, 3), "test", "noise") * np.linspace(1, 80, t)[:, None, None, None]
    return a, np.clip(np.rint(a + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("t", "h", "w"), [(9, 8, 16), (5, 16, 16), (3, 64, 64), (2, 7, 9), (1, 150, 200)])
def test_both_equal_scikit_image_frame_by_frame(t: int, h: int, w: int) -> None:
    a, b = clips(t, h, w)
    np.testing.assert_allclose(
        psnr(a, b), [peak_signal_noise_ratio(x, y) for x, y in zip(a, b, strict=True)], atol=1e-4
    )
    expected = [structural_similarity(x, y, channel_axis=2) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ssim(a, b), expected, atol=1e-4)


def test_both_equal_scikit_image_on_black_against_white_and_on_flat_frames() -> None:
    black, white = np.zeros((1, 8, 16, 3), np.uint8), np.full((1, 8, 16, 3), 255, np.uint8)
    for a, b in ((black, white), (white, white - 1), (black, black + 1)):
        assert ssim(a, b)[0] == pytest.approx(structural_similarity(a[0], b[0], channel_axis=2), abs=1e-4)


def test_equal_frames_count_as_100_db_and_an_ssim_of_one() -> None:
    a, _ = clips(3, 8, 16)
    assert psnr(a, a).tolist() == [PSNR_CAP_DB] * 3
    np.testing.assert_allclose(ssim(a, a), 1.0, atol=1e-6)


def test_an_error_of_one_grey_level_everywhere_is_48_db() -> None:
    a = np.full((1, 8, 8, 3), 100, np.uint8)
    assert psnr(a, a + 1)[0] == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize(("h", "w"), [(8, 16), (16, 16), (64, 64), (7, 331), (40, 86), (9, 640)])
def test_the_error_under_psnr_is_a_whole_number_without_rounding(h: int, w: int) -> None:
    a, b = clips(3, h, w)
    a[0], b[0] = 255, 0  # the largest error there is
    difference = a.astype(np.int64) - b
    expected = [float(e.sum()) for e in np.square(difference).reshape(3, -1)]
    found = psnr(a, b)
    assert found.tolist() == np.minimum(10.0 * np.log10(255.0**2 * a[0].size / np.array(expected)), 100.0).tolist()
    mask = draws.uniform((3, h, w), "test", "mask") < 0.5
    counted = mask.sum(axis=(1, 2)) * 3
    expected = [float(e.sum()) for e in (np.square(difference) * mask[..., None]).reshape(3, -1)]
    assert psnr(a, b, mask).tolist() == (10.0 * np.log10(255.0**2 * counted / np.array(expected))).tolist()


@pytest.mark.parametrize(("h", "w"), [(16, 16), (64, 64), (150, 200)])
def test_the_size_of_a_block_changes_nothing(h: int, w: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = clips(5, h, w)
    before = ssim(a, b)
    for name in ("BLOCK_VALUES", "LARGE_BLOCK_VALUES"):
        monkeypatch.setattr(psnr_ssim, name, 1 << 14)
    np.testing.assert_allclose(ssim(a, b), before, rtol=0, atol=1e-9)


def test_masked_psnr_looks_at_the_mask_alone_and_is_missing_without_pixels() -> None:
    a, b = clips(2, 8, 16)
    mask = np.zeros((2, 8, 16), bool)
    mask[0, :4] = True
    b[0, :4] = a[0, :4]
    values = psnr(a, b, mask)
    assert values[0] == PSNR_CAP_DB
    assert np.isnan(values[1])


def test_a_frame_does_not_depend_on_the_clip_that_it_is_in() -> None:
    a, b = clips(4, 64, 64)
    assert ssim(a, b)[2] == ssim(a[2:3], b[2:3])[0]
    assert psnr(a, b)[2] == psnr(a[2:3], b[2:3])[0]


def test_clips_of_another_shape_or_type_are_refused() -> None:
    a, b = clips(2, 8, 16)
    with pytest.raises(ValueError, match="one shape"):
        psnr(a, b[:1])
    with pytest.raises(ValueError, match="8 bits"):
        ssim(a, b.astype(np.float32))
    with pytest.raises(ValueError, match="at least 7"):
        ssim(a[:, :6], b[:, :6])


def test_a_clip_is_measured_at_least_ten_times_faster_than_frame_by_frame_by_scikit_image() -> None:
    a, b = clips(33, 16, 16)

    def seconds(work: object) -> float:
        best = math.inf
        for _ in range(5):
            began = time.process_time()
            work()  # type: ignore[operator]
            best = min(best, time.process_time() - began)
        return best

    ours = seconds(lambda: [psnr(a, b), ssim(a, b)])
    theirs = seconds(
        lambda: [
            (peak_signal_noise_ratio(x, y), structural_similarity(x, y, channel_axis=2))
            for x, y in zip(a, b, strict=True)
        ]
    )
    assert theirs >= 10 * ours
