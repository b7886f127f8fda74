"""Captions of a pool as the files of the latents: each distinct one is encoded once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.latents import is_ragged
from workloads.data.pool import Pool
from workloads.data.text import TextEncoder
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress


def collect(pool: Pool, scenes: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Distinct captions in order of appearance, poses (n, 4), and each frame's caption (n,), of scenes in order.

    Raises:
        BadInput: a scene whose files are not whole, with file and field.
    """
    captions: dict[str, int] = {}
    poses, text_of = [], []
    for scene in scenes:
        pool.check(scene)
        poses.append(pool.poses(scene).array())
        text_of += [captions.setdefault(pool.caption(scene, i), len(captions)) for i in range(pool.length(scene))]
    return list(captions), np.concatenate(poses or [np.zeros((0, 4))]), np.asarray(text_of, dtype=np.int32)


def write_text(
    out: Path, captions: Sequence[str], encoder: TextEncoder, codec_section: Mapping[str, Any], progress: Progress
) -> bool:
    """Write the embeddings of all captions; False, and nothing written, if asked to stop before the end.

    Raises:
        BadInput: an embedding that float16 cannot hold.
    """
    ragged = is_ragged(codec_section)
    embedded: list[npt.NDArray[Any]] = []
    for done, caption in enumerate(captions):
        if ragged:  # a language model takes its time
            if progress.stopping:
                return False
            progress.at(done, len(captions), "encoding text")
        values = encoder.encode(caption)
        embedded.append(trimmed(values).astype(np.float16) if ragged else values)
        if not np.isfinite(embedded[-1]).all():
            raise BadInput(f"the text encoder's output for {caption[:80]!r} is not finite in float16")
    if not ragged:
        np.save(out / "text.npy", np.stack(embedded), allow_pickle=False)
        return True
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in embedded])]).astype(np.int64)
    np.save(out / "text_offsets.npy", offsets, allow_pickle=False)
    shape = (int(offsets[-1]), int(codec_section["text_width"]))
    text = np.lib.format.open_memmap(out / "text.npy", mode="w+", dtype=np.float16, shape=shape)
    for first, values in zip(offsets[:-1].tolist(), embedded, strict=True):
        text[first : first + len(values)] = values
    text.flush()
    return True


def trimmed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(l, width) without the zeros behind the last token that is not zero."""
    used = np.flatnonzero(values.any(axis=1))
    return values[: int(used[-1]) + 1 if len(used) else 0]
