"""Videos without loss: FFV1 (RFC 9043) in Matroska, a format that archives use and players show.

Every frame is coded by itself, so that a reader decodes those that it needs. The same frames give the same bytes: one
thread, and a container without times, random numbers or versions. A decoder passes over what it cannot read, so the
tag `FRAMES` says how large the frames are and has a checksum of each.

Tests: every bit comes back, and a flipped one is noticed (tests/evaluation/test_lossless.py). Sizes and times beside
other codecs: docs/design/2026-11-30-kept-videos.md.
"""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]

TAG = "FRAMES"
"""Tag of a file: `{height}x{width}`, and crc32 of the RGB bytes of each frame, with spaces between them."""
PIXELS = "bgr0"
"""Blue, green, red and an unused byte: the form in which FFV1 takes RGB of 8 bits."""
FRAMES_PER_SECOND = 8
ONE_SLICE = (288, 352)
"""Height and width up to which FFV1 codes a frame as one slice; libavcodec refuses one slice of a larger frame."""
SLICES = 4


class Unreadable(Exception):
    """No video that `encoded` made, or a damaged one."""


def encoded(frames: Frames) -> bytes:
    """Frames (t, h, w, 3) uint8, RGB, t >= 1, as a Matroska file."""
    height, width = frames.shape[1:3]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        container.metadata[TAG] = " ".join([f"{height}x{width}", *map(_checksum, frames)])
        stream = container.add_stream("ffv1", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
        stream.codec_context.thread_count = 1
        slices = 1 if height <= ONE_SLICE[0] and width <= ONE_SLICE[1] else SLICES
        stream.options = {"g": "1", "coder": "1", "context": "0", "slicecrc": "1", "slices": str(slices)}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()


def decoded(path: Path, numbers: Collection[int] | None = None) -> Frames:
    """The frames of a file that `encoded` made, (t, h, w, 3); or those of `numbers`, in the file's order.

    Raises:
        Unreadable: it is missing, another file, or one of the frames that were asked for is damaged.
    """
    try:
        with path.open("rb") as file, av.open(file, format="matroska") as container:
            return _decoded(container, numbers)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise Unreadable(str(error)) from error


def _decoded(container: Any, numbers: Collection[int] | None) -> Frames:
    size, *checksums = container.metadata.get(TAG, "").split(" ")
    stream = next(iter(container.streams.video), None)
    codec = None if stream is None else stream.codec_context
    if codec is None or codec.name != "ffv1" or size != f"{codec.height}x{codec.width}":
        raise Unreadable("not the video of a case")
    codec.thread_count = 1
    wanted = range(len(checksums)) if numbers is None else sorted(set(numbers))
    found = np.zeros((len(wanted), codec.height, codec.width, 3), dtype=np.uint8)
    place = {number: at for at, number in enumerate(wanted)}
    for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
        if number in place:
            at, pictures = place.pop(number), packet.decode()
            if len(pictures) == 1 and pictures[0].format.name == PIXELS:
                found[at] = _rgb(pictures[0], *found.shape[1:3])
            if checksums[number : number + 1] != [_checksum(found[at])]:
                raise Unreadable(f"frame {number} is damaged")
    if place:
        raise Unreadable(f"frame {min(place)} is missing")
    return found


def _rgb(picture: av.VideoFrame, height: int, width: int) -> Frames:
    plane = picture.planes[0]
    rows: Frames = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(picture.height, plane.line_size)
    return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1]


def _checksum(frame: Frames) -> str:
    return f"{crc32(frame.tobytes()):08x}"
