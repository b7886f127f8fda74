import numpy as np
import pytest

from workloads.data import draws
from workloads.evaluation.features import (
    CLIP_FRAMES,
    FEATURES,
    LEAST_FRAMES,
    clip_features,
    frame_features,
    frechet,
    rf_distance,
)


def frames(t: int) -> np.ndarray:
    return (draws.uniform((t, 8, 16, 3), "test", "frames") * 256).astype(np.uint8)


def test_the_distance_is_zero_for_equal_frames_symmetric_and_grows_with_noise() -> None:
    a = frames(4)
    noise = draws.normal(a.shape, "test", "noise")
    distances = [
        rf_distance(a, np.clip(np.rint(a + scale * noise), 0, 255).astype(np.uint8)).mean() for scale in (0, 10, 30, 90)
    ]
    assert distances[0] == 0.0
    assert distances == sorted(distances)
    np.testing.assert_allclose(rf_distance(a, a[::-1]), rf_distance(a[::-1], a), rtol=1e-6)


def test_features_have_one_line_for_a_frame_and_one_for_a_clip() -> None:
    assert frame_features(frames(9)).shape == (9, FEATURES)
    assert clip_features(frames(9)).shape == (9 - CLIP_FRAMES + 1, FEATURES)
    assert clip_features(frames(3)).shape == (0, FEATURES)


def test_clip_features_see_the_order_of_frames_and_frame_features_do_not() -> None:
    a = frames(12)
    np.testing.assert_allclose(frame_features(a).mean(axis=0), frame_features(a[::-1]).mean(axis=0), rtol=1e-6)
    assert np.abs(clip_features(a).mean(axis=0) - clip_features(a[::-1]).mean(axis=0)).max() > 1e-3


def test_the_frechet_distance_of_shifted_and_scaled_normals_is_the_closed_form() -> None:
    x = draws.normal((4000, 3), "test", "features").astype(np.float64)
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T  # identity covariance
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet(x, x + 2.0) == pytest.approx(3 * 2.0**2)
    assert frechet(x, 3 * x) == pytest.approx(3 * (3 - 1) ** 2)


def test_the_frechet_distance_is_missing_with_fewer_frames_than_it_needs() -> None:
    x = draws.normal((LEAST_FRAMES, 4), "test", "few").astype(np.float64)
    assert np.isfinite(frechet(x, x))
    assert frechet(x[1:], x) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_distance_of_features_that_are_not_finite_is_refused_and_never_zero(value: float) -> None:
    x = np.random.Generator(np.random.Philox(0)).normal(size=(LEAST_FRAMES, 3))
    broken = x.copy()
    broken[5, 1] = value
    with pytest.raises(ValueError, match=r"^1 of 128 lines of features are not finite; allowed: finite numbers"):
        frechet(x, broken)
    with pytest.raises(ValueError, match=r"^the Fréchet distance of 128 and 128 lines of features is inf$"):
        frechet(x, np.full_like(x, 1e160))
