"""A video in chunks from one frame, a text and commanded poses: what every branch and every sample video runs.

Chunks share their boundary frame. The first generated frame of a chunk is discarded: the given frame, later the
previous chunk's last, stands for it. What is kept is rounded to 8 bits before anything else sees it, history
included. Evidence is chosen by the functions that training uses, over the first frame and all generated ones.

Source: study.md sections 1 (noise), 2 (evidence), 4 (sequence) and 7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workloads.data import draws
from workloads.data.codec import FrameCodec
from workloads.data.evidence import candidates, choose, streamed
from workloads.data.frames import BrokenFrame
from workloads.data.geometry import action_vectors
from workloads.data.poses import Poses
from workloads.evaluation.solver import sigma_grid
from workloads.memory.interface import Slots
from workloads.model.world_model import WorldModel


@dataclass(frozen=True)
class Shown:
    """The evidence of one case and chunk: the anchor, then the retrieved frames, oldest first."""

    latents: npt.NDArray[np.float32]
    """(k, c, h, w)."""
    poses: Poses
    """(k,), of the frames."""
    end: Poses
    """One pose: that of the chunk's last frame."""
    chunk: int


Perturb = Callable[[Shown], Shown]
"""Evidence in, evidence with something wrong in it out."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One video to generate."""

    id: str
    """`{pool}/{scene}/{first frame}`; names the noise."""
    first_frame: npt.NDArray[np.uint8]
    """(h, w, 3)."""
    poses: Poses
    """All commanded poses, the first frame's included: chunks · (F − 1) + 1."""
    text: npt.NDArray[np.float32]
    """(l, width), the caption's tokens."""
    drawn_as: tuple[str, str] | None = None
    """Branch and case that name the noise in place of its own: common random numbers."""
    perturb: Perturb | None = None
    """What is done to the evidence of each chunk before the model sees it; None: nothing."""


def roll_out(
    model: WorldModel,
    codec: FrameCodec,
    cases: Sequence[Case],
    *,
    frames: int,
    rule: str,
    min_overlap: float,
    chunk_frames: int,
    sampler: Mapping[str, Any],
    shift: float,
    branch: str,
    negative_text: npt.NDArray[np.float32] | None,
    device: torch.device | str,
    precision: str = "float32",
    streams: bool = False,
    on_chunk: Callable[[int, int], None] | None = None,
) -> list[npt.NDArray[np.uint8]]:
    """Generate one batch of videos, (T, h, w, 3) each, T = len(poses); frame 0 is the given one.

    The bits of a case depend on how many cases share the batch, but not on which, nor on its place among them, nor on
    what was computed before (tests/evaluation/test_neighbours.py). One limit: PyTorch's CPU kernels of gelu, silu,
    sigmoid and atan2 compute the last elements of a tensor, those that fill no 32, by other code, so that the last case
    of a batch may differ in its last bit where the sizes of a tensor multiply to no multiple of 32. Widths and token
    counts of all shipped profiles do.

    Args:
        model: in evaluation mode.
        cases: all with the same number of poses.
        frames: K, evidence frames with the anchor.
        rule: `evidence.rule`; with `min_overlap` it chooses the retrieved frames.
        chunk_frames: F.
        sampler: section `sampler`: steps, guidance.
        shift: `training.shift`.
        branch: names the noise, with case and chunk.
        negative_text: (l, width), tokens of `sampler.negative`; read when guidance is not 1.
        precision: `training.precision`; bfloat16 computes under autocast, as training does.
        streams: every frame is written into the model's state once, so the frames of a chunk are let go of after the
            next one's write; `rule` and `frames` choose none.
        on_chunk: told (chunk, of) before each chunk.

    Raises:
        ValueError: cases of unequal length, a length that is no whole number of chunks, or guidance without
            negative text.
        BrokenFrame: what a case shows is not finite or no image; with the case, its chunk and the solver's step.
    """
    moves = chunk_frames - 1
    length = len(cases[0].poses)
    if any(len(case.poses) != length for case in cases) or length < 2 or (length - 1) % moves:
        raise ValueError(
            f"cases of one batch share their length, chunks · {moves} + 1; got {[len(case.poses) for case in cases]}"
        )
    if moves % codec.time_factor:
        raise ValueError(
            f"a chunk of {chunk_frames} frames is no whole number of latents of {codec.time_factor} frames"
        )
    if float(sampler["guidance"]) != 1.0 and negative_text is None:
        raise ValueError("guidance needs the negative prompt's text")
    videos = np.stack([case.first_frame for case in cases])[:, None].repeat(length, axis=1)  # (b, T, h, w, 3)
    history = _encoded(codec, videos[:, :1])  # (b, 1, c, h', w')
    text = _tensor(np.stack([case.text for case in cases]), device)
    negative = None if negative_text is None else _tensor(negative_text, device).expand_as(text)
    solver = _Solver(sigma_grid(int(sampler["steps"]), shift), float(sampler["guidance"]))
    state: Any = None
    chunks = (length - 1) // moves
    autocast = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), autocast:
        for chunk in range(chunks):
            if on_chunk is not None:
                on_chunk(chunk, chunks)
            start, end = chunk * moves, (chunk + 1) * moves
            if streams:
                at, since = streamed(start, moves)[-1]
                shown = [np.array([at, *range(since + 1, at)])] * len(cases)
            else:
                shown = [_retrieved(case.poses, start, end, frames, rule, min_overlap) for case in cases]
            most = len(shown[0]) if streams else min(frames, start + 1)
            slots = _evidence(cases, history, shown, chunk, moves, most, device)
            state = model.write(state, slots, text)
            targets = np.arange(start, end + 1, codec.time_factor)
            actions = _tensor(
                np.stack([action_vectors(case.poses[targets], case.poses[start]) for case in cases]), device
            )
            shape = (len(targets), *history.shape[2:])
            names = [case.drawn_as or (branch, case.id) for case in cases]
            noise = np.stack([draws.normal(shape, "evaluation", *name, chunk) for name in names])
            latents, lost = solver.solve(model, _tensor(noise, device), actions, text, negative, slots, state)
            for i, (made, step) in enumerate(zip(latents.float().cpu().numpy(), lost.tolist(), strict=True)):
                where = f"case {cases[i].id}, chunk {chunk + 1} of {chunks}"
                if step:
                    raise BrokenFrame(f"{where}: not finite from solver step {step} of {solver.steps} on")
                try:
                    videos[i, start + 1 : end + 1] = codec.decode(made)[1:]
                except BrokenFrame as error:
                    raise BrokenFrame(f"{where}, after solver step {solver.steps}: {error}") from None
            if chunk < chunks - 1:
                made_now = _encoded(codec, videos[:, start + 1 : end + 1])
                history = made_now if streams else np.concatenate([history, made_now], axis=1)
    return list(videos)


@dataclass(frozen=True)
class _Solver:
    """Euler steps from noise to latents along the model's velocity."""

    sigmas: npt.NDArray[np.float32]
    guidance: float

    @property
    def steps(self) -> int:
        """Steps of one chunk."""
        return len(self.sigmas) - 1

    def solve(
        self,
        model: WorldModel,
        noise: Tensor,
        actions: Tensor,
        text: Tensor,
        negative: Tensor | None,
        slots: Slots,
        state: Any,
    ) -> tuple[Tensor, Tensor]:
        """(b, t, c, h, w) noise to clean latents. Both passes of guidance keep memory, anchor and actions.

        Returns:
            The latents, and (b,) the first step, counted from 1, after which a sample was not finite; 0: it always was.
        """
        x = noise
        lost = torch.zeros(len(x), dtype=torch.long, device=x.device)
        for step, (sigma, following) in enumerate(zip(self.sigmas[:-1], self.sigmas[1:], strict=True), 1):
            level = torch.full((1,), float(sigma), device=x.device)
            velocity = model.denoise(x, level, actions, text, slots, state).float()
            if self.guidance != 1.0 and negative is not None:
                other = model.denoise(x, level, actions, negative, slots, state).float()
                velocity = other + self.guidance * (velocity - other)
            x = x + float(following - sigma) * velocity
            finite = x.isfinite().flatten(1).all(dim=1)
            lost = torch.where(finite | (lost > 0), lost, step)  # stays on the device: nothing waits for it here
        return x, lost


def _retrieved(poses: Poses, start: int, end: int, frames: int, rule: str, min_overlap: float) -> npt.NDArray[np.int64]:
    """Evidence of the chunk `start`..`end`: its first frame, then what the rule chooses of all before, oldest first."""
    indices = np.array([start])
    if frames > 1:
        indices = np.concatenate([indices, choose(candidates(poses, start, end, min_overlap), frames, rule)])
    return indices


def _evidence(
    cases: Sequence[Case],
    history: npt.NDArray[np.float32],
    chosen: Sequence[npt.NDArray[np.int64]],
    chunk: int,
    moves: int,
    most: int,
    device: torch.device | str,
) -> Slots:
    """The chosen frames of each case as slots, the chunk's first frame in slot 0; missing slots at the end.

    `history` ends with the chunk's first frame; what came before it may be gone. `most` slots are what a case may have
    at this chunk, whatever these have: shapes must not depend on which cases share a batch.
    """
    start, end = chunk * moves, (chunk + 1) * moves
    first = start + 1 - history.shape[1]
    shown: list[Shown] = []
    for i, (case, indices) in enumerate(zip(cases, chosen, strict=True)):
        one = Shown(history[i, indices - first], case.poses[indices], case.poses[end], chunk)
        shown.append(one if case.perturb is None else case.perturb(one))
    latents = np.zeros((len(cases), most, *history.shape[2:]), dtype=np.float32)
    actions = np.zeros((len(cases), most, 12), dtype=np.float32)
    valid = np.zeros((len(cases), most), dtype=np.bool_)
    # The first frame that is ever written is frame 0: what is carried tells poses by it.
    base = np.stack([action_vectors(case.poses[start], case.poses[0])[0] for case in cases])
    for i, (case, one) in enumerate(zip(cases, shown, strict=True)):
        count = len(one.latents)
        latents[i, :count] = one.latents
        actions[i, :count] = action_vectors(one.poses, case.poses[start])
        valid[i, :count] = True
    return Slots(
        _tensor(latents, device),
        _tensor(actions, device),
        torch.from_numpy(valid).to(device),
        _tensor(base, device),
        fixed=True,
    )


def _encoded(codec: FrameCodec, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Frames (b, t, h, w, 3) as latents (b, t, c, h', w'), each by itself: evidence has no neighbours in time."""
    latents = codec.encode_each(frames.reshape(-1, *frames.shape[2:]))
    return latents.reshape(*frames.shape[:2], *latents.shape[1:])


def _tensor(values: npt.NDArray[np.float32], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
