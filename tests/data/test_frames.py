"""What is cast to 8 bits, and what is refused because it is no image."""

import numpy as np
import pytest

from workloads.data.codec import SpaceToDepth
from workloads.data.frames import BrokenFrame, blank, displayed


def noise(frames: int, scale: float) -> np.ndarray:
    values = np.random.Generator(np.random.Philox(0)).normal(size=(frames, 8, 16, 3)) * scale
    return values.astype(np.float32)


def test_what_overshoots_is_clamped_and_the_rest_is_rounded() -> None:
    values = noise(2, 1.0)
    frames = displayed(values)
    assert frames.dtype == np.uint8
    inside = np.abs(values) <= 1
    assert np.abs(frames[inside] - (values[inside] + 1) * 127.5).max() <= 0.501
    assert set(frames[~inside].tolist()) == {0, 255}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_frame(value: float) -> None:
    values = noise(3, 0.3)
    values[2, 1, 1, 0] = value
    with pytest.raises(BrokenFrame, match=r"^1 of 384 values of frame 2 of 3 are not finite$"):
        displayed(values)
    latents = SpaceToDepth(2).encode(np.zeros((3, 8, 16, 3), np.uint8))
    latents[1, 4] = value
    with pytest.raises(BrokenFrame, match=r"^32 of 384 values of frame 1 of 3 are not finite$"):
        SpaceToDepth(2).decode(latents)


def test_a_frame_that_would_be_clipped_to_black_and_white_is_refused_with_its_largest_value() -> None:
    with pytest.raises(BrokenFrame, match=r"^9\d% of the values of frame 0 of 1 are outside ±3, the largest at \d+;"):
        displayed(noise(1, 100.0))


def test_an_untrained_models_noise_is_no_broken_frame() -> None:
    displayed(noise(4, 2.0))


def test_one_colour_is_blank_and_a_small_object_on_it_is_not() -> None:
    frames = np.full((4, 8, 16, 3), 30, np.uint8)
    frames[1, 0, 0] = 31  # a level of one pixel
    frames[2, 3:5, 3:5] = 90
    frames[3] = displayed(noise(1, 0.5))[0]
    assert blank(frames).tolist() == [True, True, False, False]
