"""What each of 32 chunks costs, and the bytes held there, of a state that is streamed and of one that retrieves.

`make bench` prints it, and writes outputs/bench/stream.csv; docs/explanation/pictures/stream.csv is such a file. A row
that retrieves keeps the whole history, and looks through it for every chunk; a stream keeps its state and the frames of
one chunk. The model is `ssm-place` at the laptop's size, untrained.
"""

import csv
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from workloads.contract.rows import resolved
from workloads.data.codec import SpaceToDepth
from workloads.data.poses import Poses
from workloads.evaluation.rollout import Case, roll_out
from workloads.memory.interface import Slots, State
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.ssm import Ssm

pytestmark = pytest.mark.bench

CHUNKS, F = 32, 9
RECORD = Path(__file__).parents[2] / "outputs" / "bench" / "stream.csv"
SHAPE = LatentShape(channels=12, height=4, width=8, frames=F, text_tokens=4, text_width=16)
BACKBONE = {"width": 64, "blocks": 4, "heads": 2, "feed_forward": 256, "frequency_width": 64, "recurrent_every": 2}


class Watched:
    """A model whose writes are timed."""

    def __init__(self, model: WorldModel) -> None:
        self.model = model
        self.frames: list[int] = []
        self.seconds: list[float] = []
        self.state: list[int] = []

    def write(self, state: State | None, slots: Slots, text: Tensor) -> State | None:
        began = time.process_time()
        after = self.model.write(state, slots, text)
        self.seconds.append(time.process_time() - began)
        self.frames.append(int(slots.valid.sum()))
        self.state.append(sum(tensor.nbytes for tensor in after or ()))
        return after

    def denoise(
        self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: State
    ) -> Tensor:
        return self.model.denoise(noisy, sigma, actions, text, slots, state)


def ran(streams: bool) -> tuple[Watched, list[int], list[float]]:
    """The watched model, bytes of arrays held at each chunk beyond chunk 2, and seconds of each chunk."""
    row = Ssm(tau=(1.0, 128.0), rho=(0.1, 0.2), address="place", write_from="stream" if streams else "retrieved")
    model = Watched(build_model(BACKBONE, {"site": "pre_qkv"}, resolved(row), SHAPE, 0).eval())
    length = CHUNKS * (F - 1) + 1
    poses = Poses(np.zeros((length, 3)), 20 * np.sin(np.arange(length) / 9))
    first = np.zeros((8, 16, 3), np.uint8)
    case = Case(id="bench", first_frame=first, poses=poses, text=np.zeros((4, 16), np.float32))
    held, at = [], []

    def chunk_begins(chunk: int, of: int) -> None:
        at.append(time.process_time())
        arrays = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
        held.append(sum(trace.size for trace in arrays.traces))

    tracemalloc.start()
    try:
        roll_out(
            model,  # type: ignore[arg-type]
            SpaceToDepth(2),
            [case],
            frames=row.evidence_frames({"frames": 20}),
            rule="spread",
            min_overlap=0.3,
            chunk_frames=F,
            sampler={"steps": 2, "guidance": 1.0},
            shift=3.0,
            branch="absence",
            negative_text=None,
            device="cpu",
            streams=streams,
            on_chunk=chunk_begins,
        )
    finally:
        tracemalloc.stop()
    return model, [now - held[2] for now in held], list(np.diff([*at, time.process_time()]))


def test_a_stream_costs_the_same_in_every_chunk() -> None:
    torch.set_num_threads(1)
    stream, held, seconds = ran(streams=True)
    retrieving, kept, took = ran(streams=False)
    print("\nchunk: frames written, ms of processor a write, a chunk, KiB held beyond chunk 2; stream | retrieved")
    for chunk in (2, 4, 8, 16, 24, 31):
        lines = [
            f"{model.frames[chunk]} frames, {1e3 * model.seconds[chunk]:.1f} ms, {1e3 * whole[chunk]:.0f} ms, "
            f"{extra[chunk] / 1024:+.0f} KiB"
            for model, extra, whole in ((stream, held, seconds), (retrieving, kept, took))
        ]
        print(f"{chunk:2}: {lines[0]:38} | {lines[1]}")
    print(f"state: {stream.state[0] / 1024:.0f} KiB in every chunk")
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    with RECORD.open("w", newline="", encoding="utf-8") as file:
        lines_of = csv.writer(file, lineterminator="\n")
        lines_of.writerow(("write_from", "chunk", "frames_written", "write_ms", "kib_held"))
        for name, model, extra in (("stream", stream, held), ("retrieved", retrieving, kept)):
            for chunk in range(CHUNKS):
                milliseconds = round(1e3 * model.seconds[chunk], 2)
                lines_of.writerow((name, chunk, model.frames[chunk], milliseconds, round(extra[chunk] / 1024, 1)))
    one = (F - 1) * SHAPE.channels * SHAPE.height * SHAPE.width * 4
    assert set(stream.frames[1:]) == {F - 1} and len(set(stream.state)) == 1
    assert held[-1] == 0 and kept[-1] > 25 * one
    assert np.median(stream.seconds[-8:]) < 2 * np.median(stream.seconds[2:10])
