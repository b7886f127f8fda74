"""Sample videos: H.264 in MP4, small frames enlarged without smoothing so that single pixels can be seen."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

LEAST_SIDE = 192  # pixels; frames with a shorter side are enlarged by a whole number
FRAMES_PER_SECOND = 8
QUALITY = "18"  # x264's constant rate factor: visually lossless


def enlarged(frames: npt.NDArray[np.uint8], least_side: int = LEAST_SIDE) -> npt.NDArray[np.uint8]:
    """Frames (…, h, w, 3) by nearest neighbour, at the smallest whole factor whose shorter side is `least_side`."""
    factor = -(-least_side // min(frames.shape[-3:-1]))
    return frames.repeat(factor, axis=-3).repeat(factor, axis=-2) if factor > 1 else frames


def write_video(path: Path, frames: npt.NDArray[np.uint8], frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write (t, h, w, 3) uint8 frames, RGB, as an MP4 that browsers play.

    One thread, so that the same frames give the same file.
    """
    frames = enlarged(frames)
    height, width = (side - side % 2 for side in frames.shape[1:3])  # 4:2:0 needs even sides
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": QUALITY, "preset": "veryfast"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
