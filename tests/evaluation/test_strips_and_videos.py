from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from workloads.evaluation.strips import GAP, LEAST_SIDE, shown, write_strip
from workloads.evaluation.videos import enlarged, write_video


def ramp(t: int, h: int, w: int) -> np.ndarray:
    steps = np.linspace(0, 255, t * h * w).astype(np.uint8).reshape(t, h, w, 1)
    return np.repeat(steps, 3, axis=3)


def test_a_strip_shows_source_turning_point_and_tail() -> None:
    assert shown(33) == [0, 16, 29, 30, 31, 32]
    assert shown(3) == [0, 1, 2]


def test_a_strip_holds_every_pixel_of_every_row_enlarged_without_smoothing(tmp_path: Path) -> None:
    made, truth = ramp(3, 8, 16), ramp(3, 8, 16)[::-1]
    write_strip(tmp_path / "strip.png", [made, truth])
    picture = np.asarray(Image.open(tmp_path / "strip.png"))
    height, width = LEAST_SIDE, 2 * LEAST_SIDE
    assert picture.shape == (2 * height + GAP, 3 * width + 2 * GAP, 3)
    factor = LEAST_SIDE // 8
    np.testing.assert_array_equal(picture[:height:factor, :width:factor], made[0])
    np.testing.assert_array_equal(picture[height + GAP :: factor, width + GAP : 2 * width + GAP : factor], truth[1])
    with pytest.raises(ValueError, match="one shape"):
        write_strip(tmp_path / "strip.png", [made, truth[:1]])


def test_a_video_plays_back_as_its_frames_and_is_the_same_file_every_time(tmp_path: Path) -> None:
    frames = ramp(5, 8, 16)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, frames)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == enlarged(frames).shape
    assert np.abs(decoded.astype(int) - enlarged(frames)).mean() < 6


def test_odd_sides_are_written_too(tmp_path: Path) -> None:
    write_video(tmp_path / "odd.mp4", ramp(2, 193, 195))
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (192, 194)
