"""Lossless videos: every bit comes back, the same frames are the same file, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest

from workloads.data.trajectories import turning
from workloads.data.worlds import make_world
from workloads.evaluation.lossless import Frames, Unreadable, decoded, encoded
from workloads.evaluation.videos import write_video

SHAPES = [(1, 8, 16), (25, 8, 16), (3, 7, 13), (2, 1, 1), (1, 17, 33), (2, 289, 9), (2, 9, 353), (1, 290, 354)]


def noise(t: int, h: int, w: int) -> Frames:
    return np.random.default_rng(t * h * w).integers(0, 256, (t, h, w, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_bit_comes_back_and_the_same_frames_are_the_same_file(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    path = tmp_path / "video.mkv"
    ramp = np.arange(np.prod(shape) * 3).reshape(*shape, 3).astype(np.uint8)
    for frames in (noise(*shape), ramp, np.zeros_like(ramp), np.full_like(ramp, 255), ramp[:, ::-1, ::-1]):
        path.write_bytes(encoded(frames))
        np.testing.assert_array_equal(decoded(path), frames)
        assert path.read_bytes() == encoded(frames.copy())
        last = shape[0] - 1
        np.testing.assert_array_equal(decoded(path, {0, last}), frames[sorted({0, last})])


def test_a_file_tells_neither_when_nor_with_what_it_was_made() -> None:
    content = encoded(noise(2, 8, 16)).lower()
    assert b"ffv1" in content and b"lavf" in content
    assert not any(b"lav%c%d" % (kind, digit) in content for kind in b"cf" for digit in range(10))
    assert b"date" not in content and b"encoder" not in content


def test_a_smooth_video_takes_less_than_half_of_its_bytes() -> None:
    data = {"seed": 0, "height": 64, "width": 112, "translation_m": 0.0, "chunk_frames": 5, "open_variants": 1}
    world = make_world({**data, "open_prompts": 1}, "open", 0)
    frames = world.frames(turning(world.first_pose, [-45.0, 45.0], 5))
    assert len(encoded(frames)) < frames.nbytes / 2


def test_a_flipped_bit_or_a_cut_is_noticed_unless_it_changes_no_frame(tmp_path: Path) -> None:
    frames, path = noise(2, 7, 9), tmp_path / "video.mkv"
    whole = encoded(frames)
    noticed = 0
    for at in range(0, len(whole), 11):
        for damaged in (whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :], whole[:at]):
            path.write_bytes(damaged)
            try:
                found = decoded(path)
            except Unreadable:
                noticed += 1
                continue
            np.testing.assert_array_equal(found, frames)
    assert noticed > len(whole) // 11, "more than half of both kinds"
    with pytest.raises(Unreadable, match="frame 2 is missing"):
        path.write_bytes(whole)
        decoded(path, [0, 2])


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"no video", "array": b"\x93NUMPY\x01\x00"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable):
            decoded(tmp_path / name)
    write_video(tmp_path / "sample.mp4", noise(2, 8, 16))
    with pytest.raises(Unreadable):
        decoded(tmp_path / "sample.mp4")
    with pytest.raises(Unreadable, match="No such file"):
        decoded(tmp_path / "none.mkv")
