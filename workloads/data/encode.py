"""Stage latents: all captions through the text encoder, all frames through the codec, once for all cells.

A codec that shares latents between frames encodes every frame of every scene by itself, for evidence, and every clip
that a training sample can start with, causally: at the paper's size that is most of the work and of the disk, so the
stage says how much it will be, and goes on from the last scene that was done.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads.contract.request import Request
from workloads.data.captions import collect, write_text
from workloads.data.codec import FrameCodec, latents_of, make_codec
from workloads.data.latent_files import STORED, LatentFiles, restore
from workloads.data.latents import Latents, has_clips, write_meta
from workloads.data.pool import SPLITS, Pool
from workloads.data.text import make_text_encoder
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.runtime.step_folders import first_intact

BLOCK_FRAMES = 1024
"""Pixel frames in memory at a time: 660 MiB at 352 x 640."""
GIB = 2**30


class Stopped(Exception):
    """Asked to stop inside a scene; what of it was encoded is dropped."""


def run(request: Request, progress: Progress) -> StageOutcome:
    """Encode the pool in `inputs.data` into `out`; all its files are opened, so this is where a bad one is found.

    Raises:
        BadInput: weights that are not there or not usable, a pool that is not whole, with file and field, or a disk
            that cannot hold the latents.
    """
    data, section, out = request.config["data"], request.config["codec"], Path(request.out)
    chunk_frames, kind = int(data["chunk_frames"]), str(section["kind"])
    length = latents_of(chunk_frames, kind)
    execution = request.execution
    device = f"cuda:{request.rendezvous.local_rank}" if execution.device == "cuda" else "cpu"
    codec = make_codec(section, execution.paths, device)
    latent = (codec.channels, *codec.latent_size(int(data["height"]), int(data["width"])))
    pool = Pool.open(request.inputs["data"], request.reads.get("data"))
    splits = {split: pool.scenes(split) for split in SPLITS}
    scenes = [scene for split in SPLITS for scene in splits[split]]
    spans: dict[str, tuple[int, int]] = {}
    first = 0
    for scene in scenes:
        spans[scene] = (first, pool.length(scene))
        first += pool.length(scene)
    trained = frozenset(splits["train"])

    restored = None
    if request.resume is not None:
        restored = first_intact(
            Path(request.resume), lambda checkpoint: restore(checkpoint, out, request.fingerprint, spans)
        )
    done, digests = restored or (0, {})
    _say_size(out, pool, scenes[done:], trained, codec, latent, chunk_frames, length)
    captions, poses, text_of = collect(pool, scenes)
    np.save(out / "poses.npy", poses, allow_pickle=False)
    np.save(out / "text_of.npy", text_of, allow_pickle=False)
    if restored is None:
        encoder = make_text_encoder(section, execution.paths, device)
        if not write_text(out, captions, encoder, section, progress):
            return StageOutcome(steps=0, stopped=True)
        del encoder  # a language model's weights are not needed beside the codec's
    there: dict[str, Latents] = {}
    for one in request.finished:
        try:
            there |= dict.fromkeys(one.items, Latents.open(one.folder))
        except (BadInput, OSError, ValueError) as error:  # NumPy's, of arrays that are cut short
            print(f"{one.folder}: {error}; its scenes are encoded again", flush=True)
    files = LatentFiles(out, spans, codec.time_factor, latent)
    files.take_digests(digests)
    checkpoints, saved = Path(request.work) / "checkpoints", time.monotonic()
    for number, scene in enumerate(scenes[done:], start=done):
        progress.at(number, len(scenes), "encoding")
        try:
            if scene in there:
                files.write(scene, iter((there[scene].latents(scene),)), there[scene].clips(scene))
            else:
                clips = _clips(codec, pool, scene, chunk_frames, length, latent, progress) if scene in trained else None
                files.write(scene, _evidence(codec, pool, scene, progress), clips)
        except Stopped:
            files.write_checkpoint(checkpoints, number, request.fingerprint)
            return StageOutcome(steps=number, stopped=True)
        if time.monotonic() - saved > execution.checkpoint_every_s:
            files.write_checkpoint(checkpoints, number + 1, request.fingerprint)
            saved = time.monotonic()
    files.flush()
    write_meta(
        out,
        data=data,
        codec=section,
        shape={
            "channels": latent[0],
            "height": latent[1],
            "width": latent[2],
            "frames": length,
            "text_tokens": int(section["text_tokens"]),
            "text_width": int(section["text_width"]),
        },
        time_factor=codec.time_factor,
        splits=splits,
        spans=spans,
    )
    progress.at(len(scenes), len(scenes), "encoded")
    return StageOutcome(steps=len(scenes), records={"latents": files.digest(), "frames": len(poses)})


def _evidence(codec: FrameCodec, pool: Pool, scene: str, progress: Progress) -> Iterator[npt.NDArray[np.float32]]:
    """The latents of a scene's frames, block by block."""
    count = pool.length(scene)
    for first in range(0, count, BLOCK_FRAMES):
        if progress.stopping:
            raise Stopped
        yield codec.encode_each(pool.frames(scene, range(first, min(first + BLOCK_FRAMES, count))))


def _clips(
    codec: FrameCodec,
    pool: Pool,
    scene: str,
    chunk_frames: int,
    length: int,
    latent: tuple[int, ...],
    progress: Progress,
) -> npt.NDArray[np.float16] | None:
    """(segments, t, c, h, w): the clip from each segment's start; None where a slice of the evidence serves."""
    if not has_clips(codec.time_factor):
        return None
    starts = range(0, pool.length(scene) - chunk_frames + 1, codec.time_factor)
    clips = np.empty((len(starts), length, *latent), dtype=STORED)
    per_block = max(1, BLOCK_FRAMES // codec.time_factor)
    for block in range(0, len(starts), per_block):
        of_block = starts[block : block + per_block]
        frames = pool.frames(scene, range(of_block[0], of_block[-1] + chunk_frames))
        for i, start in enumerate(of_block):
            if progress.stopping:
                raise Stopped
            at = start - of_block[0]
            clips[block + i] = codec.encode(frames[at : at + chunk_frames])
    return clips


def _say_size(
    out: Path,
    pool: Pool,
    scenes: list[str],
    trained: frozenset[str],
    codec: FrameCodec,
    latent: tuple[int, ...],
    chunk_frames: int,
    length: int,
) -> None:
    """Print how much is still to be written, and refuse a disk that cannot hold it."""
    clips = has_clips(codec.time_factor)
    frames = sum(pool.length(scene) for scene in scenes)
    segments = sum(
        len(range(0, pool.length(scene) - chunk_frames + 1, codec.time_factor)) for scene in scenes if scene in trained
    )
    each = int(np.prod(latent)) * (np.dtype(STORED).itemsize if clips else 4)
    size = each * (frames + (segments * length if clips else 0))
    targets = f" and {segments} clips of {length}" if clips else ""
    print(f"to encode: {frames} frames{targets}, {size / GIB:.2f} GiB of latents", flush=True)
    free = shutil.disk_usage(out).free
    if size > free:
        raise BadInput(
            f"{out}: {free / GIB:.1f} GiB free, the latents need {size / GIB:.1f} GiB; "
            "put the store on a larger disk (ECHO_MATRIX_HOME)"
        )
