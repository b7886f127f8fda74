"""Batches of one step: target latents, actions, text, evidence and the draws, from latents and index.

Everything is a function of (step, sample): which segment comes from the index, noise and timestep
from streams named by seed, step and sample, made on the host in float32. So the ranks can share the
samples of a step in any way. What a segment needs again and again (indices of its frames and their
action vectors) is kept once made.

Source: study.md sections 1 to 3 and 6.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workloads.data import draws
from workloads.data.evidence import choose, streamed
from workloads.data.geometry import action_vectors
from workloads.data.index import Index, Sample
from workloads.data.latents import Latents
from workloads.memory.interface import Slots
from workloads.model.flow import sigma_from_uniform
from workloads.runtime.errors import BadInput
from workloads.study.sizes import ACTION_WIDTH

Piece = tuple[int, int | None]
"""Anchor of a segment that is written, and the frame after which all are; None: those that the rule retrieves."""
KEPT_SEGMENTS = 65_536
"""Segments whose indices and action vectors stay in memory, about 2 KiB each."""
KEPT_TEXT_BYTES = 256 * 2**20
"""Bounds the captions that stay in memory: one of UMT5 is 8 MiB, a hashed one some hundred bytes."""


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Samples of one forward; `b` samples, `t` target latents, `k` slots of evidence."""

    target: Tensor
    """(b, t, c, h, w) clean latents; frame 0 is the anchor frame itself."""
    noise: Tensor
    """(b, t, c, h, w)"""
    sigma: Tensor
    """(b,) noise level after the shift, in 0..1."""
    actions: Tensor
    """(b, t, 12) poses of the target relative to its first frame."""
    text: Tensor
    """(b, l, width)"""
    slots: Slots
    """(b, k, ...) the anchor, then what was retrieved."""
    history: tuple[Slots, ...]
    """Evidence of the segments before, oldest first, for rows that carry a state; empty when no sample has one."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What one segment of a scene shows the model."""

    frames: npt.NDArray[np.int64]
    """(k,) frame numbers of the evidence, the anchor first."""
    actions: npt.NDArray[np.float32]
    """(t + k, 12) action vectors of target and evidence, relative to the segment's first frame."""


class Batches:
    """Makes the batches of one training.

    Frame numbers are those of pixel frames, here as at generation: evidence is chosen on them.

    Raises:
        BadInput: latents whose chunks have another length than the study's.
    """

    def __init__(
        self,
        latents: Latents,
        index: Index,
        *,
        chunk_frames: int,
        evidence_frames: int,
        rule: str,
        carries_state: bool,
        shift: float,
        seed: int,
        write_from: str = "retrieved",
    ) -> None:
        """Take `evidence_frames` (K, the anchor included) by `rule` for every segment.

        Args:
            write_from: what a state is written from before the segment's own evidence: `retrieved`, the evidence of the
                segment before; `stream`, every frame before, and no evidence is chosen.
        """
        self._time_factor = latents.time_factor
        if (latents.shape["frames"] - 1) * self._time_factor + 1 != chunk_frames:
            raise BadInput(
                f"latents: a chunk has {latents.shape['frames']} latents of time factor {self._time_factor}, "
                f"controls.data.chunk_frames is {chunk_frames}; give latents of the study's own data and codec"
            )
        self._latents = latents
        self._index = index
        self._length = latents.shape["frames"]
        self._moves = chunk_frames - 1
        self._evidence_frames = evidence_frames
        self._rule = rule
        self._carries_state = carries_state
        self._write_from = write_from
        self._shift = shift
        self._seed = seed
        shape = latents.shape
        self._latent = (shape["channels"], shape["height"], shape["width"])
        self._scene = lru_cache(maxsize=4096)(latents.latents)
        self._poses = lru_cache(maxsize=4096)(latents.poses)
        caption_bytes = 4 * shape["text_tokens"] * shape["text_width"]
        self._text = lru_cache(maxsize=min(4096, KEPT_TEXT_BYTES // caption_bytes))(latents.text)
        self._segment = lru_cache(maxsize=KEPT_SEGMENTS)(self._make_segment)

    def batch(self, step: int, samples: Sequence[int], device: str = "cpu") -> TrainingBatch:
        """The given samples of step `step`'s global batch, padded to the most slots that one of them has."""
        chosen = [self._index.sample(step, number) for number in samples]
        length, b = self._length, len(chosen)
        target = np.empty((b, length, *self._latent), dtype=np.float32)
        actions = np.empty((b, length, ACTION_WIDTH), dtype=np.float32)
        noise = np.empty_like(target)
        uniform = np.empty(b, dtype=np.float32)
        pieces: list[list[Segment]] = []
        for row, (number, sample) in enumerate(zip(samples, chosen, strict=True)):
            written = [self._segment(sample.scene, *piece) for piece in self._pieces(sample)]
            target[row] = self._latents.target(sample.scene, sample.start)
            actions[row] = written[-1].actions[:length]
            noise[row] = draws.normal(noise.shape[1:], "training noise", self._seed, step, number)
            uniform[row] = draws.uniform((1,), "training timestep", self._seed, step, number)[0]
            pieces.append(written)
        text = np.stack([self._text(sample.scene, sample.start) for sample in chosen])
        # Segments end together: the last is the sample's own, and who has fewer before it lacks the oldest.
        most = max(len(written) for written in pieces)
        *history, slots = [
            self._slots(chosen, [written[i] if i >= -len(written) else None for written in pieces], pieces, device)
            for i in range(-most, 0)
        ]
        return TrainingBatch(
            target=_on(target, device),
            noise=_on(noise, device),
            sigma=sigma_from_uniform(torch.from_numpy(uniform), self._shift).to(device),
            actions=_on(actions, device),
            text=_on(text, device),
            slots=slots,
            history=tuple(history),
        )

    def evidence_digest(self, steps: Iterable[int]) -> str:
        """sha256 over the evidence frames, anchor first, of every sample of `steps` in order."""
        return self._digest(steps, lambda sample: self._frames(sample.scene, *self._own(sample)))

    def written_digest(self, steps: Iterable[int]) -> str:
        """The same over all frames that a state is written from, the sample's own segment last."""
        return self._digest(
            steps,
            lambda sample: np.concatenate([self._frames(sample.scene, *piece) for piece in self._pieces(sample)]),
        )

    def _digest(self, steps: Iterable[int], frames_of: Callable[[Sample], npt.NDArray[np.int64]]) -> str:
        digest = hashlib.sha256()
        for step in steps:
            for number in range(self._index.batch):
                frames = frames_of(self._index.sample(step, number))
                digest.update(np.ascontiguousarray(frames, dtype="<i8").tobytes())
                digest.update(b";")
        return digest.hexdigest()

    def _own(self, sample: Sample) -> Piece:
        """The segment of a sample: with its evidence, or a cold start."""
        return sample.start, sample.start - 1 if sample.dropped else None

    def _pieces(self, sample: Sample) -> list[Piece]:
        """The segments that a state is written from, the sample's own last; that one alone without a state."""
        if not self._carries_state or sample.dropped:
            return [self._own(sample)]
        if self._write_from == "stream":
            return list(streamed(sample.start, self._moves))
        before = sample.start - self._moves
        return [*([(before, None)] if before >= 0 else []), self._own(sample)]

    def _frames(self, scene: str, start: int, since: int | None) -> npt.NDArray[np.int64]:
        """(k,) evidence of the segment at `start`, the anchor first: by the rule, or all frames after `since`."""
        if since is None:
            found = choose(self._index.candidates(scene, start), self._evidence_frames, self._rule)
        else:
            found = np.arange(since + 1, start, dtype=np.int64)
        return np.concatenate([np.array([start], dtype=np.int64), found])

    def _make_segment(self, scene: str, start: int, since: int | None) -> Segment:
        frames = self._frames(scene, start, since)
        # Target latent i takes the pose of pixel frame i x time factor; evidence its own frame's.
        targets = np.arange(start, start + self._moves + 1, self._time_factor, dtype=np.int64)
        shown = np.concatenate([targets, frames])
        poses = self._poses(scene)
        return Segment(frames=frames, actions=action_vectors(poses[shown], poses[start]))

    def _slots(
        self,
        samples: Sequence[Sample],
        segments: Sequence[Segment | None],
        pieces: Sequence[Sequence[Segment]],
        device: str,
    ) -> Slots:
        """Evidence of one segment of each sample, oldest slots first after the anchor; None has no valid slot at all.

        `pieces`: all segments of each sample. What is carried tells poses by the first frame of the first of them.
        """
        b, k = len(segments), max(len(segment.frames) for segment in segments if segment is not None)
        latents = np.zeros((b, k, *self._latent), dtype=np.float32)
        actions = np.zeros((b, k, ACTION_WIDTH), dtype=np.float32)
        valid = np.zeros((b, k), dtype=np.bool_)
        base = np.zeros((b, ACTION_WIDTH), dtype=np.float32)
        for row, (sample, segment) in enumerate(zip(samples, segments, strict=True)):
            if segment is None:
                continue
            count, poses = len(segment.frames), self._poses(sample.scene)
            latents[row, :count] = self._scene(sample.scene)[segment.frames]
            actions[row, :count] = segment.actions[self._length :]
            valid[row, :count] = True
            base[row] = action_vectors(poses[int(segment.frames[0])], poses[int(pieces[row][0].frames[0])])[0]
        alone = max(len(written) for written in pieces) == 1
        return Slots(
            _on(latents, device), _on(actions, device), _on(valid, device), None if alone else _on(base, device)
        )


def make_batches(
    latents: Latents,
    index: Index,
    config: Mapping[str, Any],
    *,
    evidence_frames: int,
    carries_state: bool,
    write_from: str,
    seed: int,
) -> Batches:
    """The batches of a train request's `config`."""
    return Batches(
        latents,
        index,
        chunk_frames=int(config["data"]["chunk_frames"]),
        evidence_frames=evidence_frames,
        rule=str(config["evidence"]["rule"]),
        carries_state=carries_state,
        shift=float(config["training"]["shift"]),
        seed=seed,
        write_from=write_from,
    )


def _on(values: npt.NDArray[Any], device: str) -> Tensor:
    return torch.from_numpy(values).to(device)
