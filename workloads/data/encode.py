"""Stage latents: all frames through the codec, all captions through the text encoder, once for all cells."""

import hashlib
from pathlib import Path

import numpy as np

from workloads.contract.request import Request
from workloads.data.codec import make_codec
from workloads.data.latents import write_meta
from workloads.data.pool import SPLITS, Pool
from workloads.data.text import make_text_encoder
from workloads.errors import BadInput
from workloads.progress import Outcome, Progress


def run(request: Request, progress: Progress) -> Outcome:
    """Encode the pool in `inputs.data` into `out`; all its files are opened, so this is where a bad one is found.

    Raises:
        BadInput: a codec or text encoder that needs weights, or a pool that is not whole, with file and field.
    """
    data, codec_section, out = request.config["data"], request.config["codec"], Path(request.out)
    codec, encoder = make_codec(codec_section), make_text_encoder(codec_section)
    if codec.time_factor != 1:
        raise BadInput(
            f"controls.codec.kind {codec_section['kind']!r} shares latents between frames; allowed: space-to-depth"
        )
    height, width = codec.latent_size(int(data["height"]), int(data["width"]))
    pool = Pool.open(request.inputs["data"])
    splits = {split: pool.scenes(split) for split in SPLITS}
    scenes = [scene for split in SPLITS for scene in splits[split]]
    total = sum(pool.length(scene) for scene in scenes)
    shape = (total, codec.channels, height, width)
    stored = np.lib.format.open_memmap(out / "latents.npy", mode="w+", dtype=np.float32, shape=shape)
    poses, text_of = np.zeros((total, 4)), np.zeros(total, dtype=np.int32)
    captions: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    digest, first = hashlib.sha256(), 0
    for done, scene in enumerate(scenes):
        if progress.stopping:
            return Outcome(steps=done, stopped=True)
        progress.at(done, len(scenes), "encoding")
        pool.check(scene)
        count = pool.length(scene)
        span = slice(first, first + count)
        latents = codec.encode(pool.frames(scene, range(count)))
        stored[span] = latents
        poses[span] = pool.poses(scene).array()
        text_of[span] = [captions.setdefault(pool.caption(scene, i), len(captions)) for i in range(count)]
        digest.update(latents.tobytes())
        spans[scene] = (first, count)
        first += count
    stored.flush()
    text = np.stack([encoder.encode(caption) for caption in captions])
    np.save(out / "poses.npy", poses, allow_pickle=False)
    np.save(out / "text_of.npy", text_of, allow_pickle=False)
    np.save(out / "text.npy", text, allow_pickle=False)
    write_meta(
        out,
        data=data,
        codec=codec_section,
        shape={
            "channels": codec.channels,
            "height": height,
            "width": width,
            "frames": (int(data["chunk_frames"]) - 1) // codec.time_factor + 1,
            "text_tokens": int(codec_section["text_tokens"]),
            "text_width": int(codec_section["text_width"]),
        },
        time_factor=codec.time_factor,
        splits=splits,
        spans=spans,
    )
    progress.at(len(scenes), len(scenes), "encoded")
    return Outcome(steps=len(scenes), records={"latents": digest.hexdigest(), "frames": total})
