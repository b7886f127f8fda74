"""Sample videos: the same held-out first frames in every row, at fixed steps, through the evaluation code.

For people: two chunks along the first held-out scenes' own trajectories, side by side. The solver is
of this file, not of the study's sampler, which training does not read; noise comes from streams of
its own, so training draws the same numbers with and without samples.

Source: study.md section 6.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from workloads.data.codec import FrameCodec, make_codec
from workloads.data.frames import BrokenFrame
from workloads.data.latents import Latents
from workloads.evaluation.rollout import Case, roll_out
from workloads.evaluation.videos import write_video
from workloads.memory.interface import Slots, State
from workloads.model.world_model import WorldModel
from workloads.study.scenes import SAMPLE_SCENES

CHUNKS = 2
SAMPLER: Mapping[str, Any] = {"steps": 8, "guidance": 1.0, "negative": ""}


def sample_cases(latents: Latents, codec: FrameCodec, chunk_frames: int) -> list[Case]:
    """Two chunks from the first frames of the first held-out scenes, by id, that are long enough."""
    length = CHUNKS * (chunk_frames - 1) + 1
    cases = []
    for scene in sorted(latents.scenes("held_out")):
        if len(latents.poses(scene)) < length:
            continue
        cases.append(
            Case(
                id=f"sample/{scene}/0",
                first_frame=codec.decode(latents.evidence(scene, [0]))[0],
                poses=latents.poses(scene)[:length],
                text=latents.text(scene, 0),
            )
        )
        if len(cases) == SAMPLE_SCENES:
            break
    return cases


class Borrowed:
    """The model in training, lent to the evaluation code, which runs it in inference mode.

    What a model makes on its way and keeps (rotary tables) could never be used in a backward pass if it
    were made there; so its own computation steps out of that mode.
    """

    def __init__(self, model: WorldModel, called: Callable[..., Any]) -> None:
        """Args: `called(method, *given)` computes `method(*given)` of the model (`Engine.called`)."""
        self._model, self._called = model, called

    def write(self, state: State | None, slots: Slots, text: Tensor) -> State | None:
        """As `WorldModel.write`."""
        with torch.inference_mode(False), torch.no_grad():
            written: State | None = self._called(self._model.write, state, slots, text)
            return written

    def denoise(
        self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: State | None
    ) -> Tensor:
        """As `WorldModel.denoise`."""
        with torch.inference_mode(False), torch.no_grad():
            velocity: Tensor = self._called(self._model.denoise, noisy, sigma, actions, text, slots, state)
            return velocity


class SampleVideos:
    """Makes the sample videos of one training."""

    def __init__(
        self,
        latents: Latents,
        config: Mapping[str, Any],
        *,
        evidence_frames: int,
        streams: bool = False,
        folder: Path,
        device: str,
        paths: Mapping[str, str] | None = None,
    ) -> None:
        """Videos go to `folder`, which is made when the first one is.

        Args:
            paths: `execution.paths`, for a codec with weights.

        Raises:
            BadInput: a codec whose weights are not usable; where no sample is asked for, they are not needed.
        """
        self._codec: FrameCodec | None = None
        self._cases: Sequence[Case] = ()
        if int(config["training"]["sample_every"]) > 0:
            self._codec = make_codec(latents.codec_section, paths, device)
            self._cases = sample_cases(latents, self._codec, int(config["data"]["chunk_frames"]))
        self._config = config
        self._evidence_frames, self._streams = evidence_frames, streams
        self._folder = folder
        self._device = device

    def write(self, step: int, model: WorldModel, *, keep: bool, called: Callable[..., Any]) -> bool:
        """Generate the videos after `step` steps and write `step-{n}.mp4` if `keep`; False: they are no images.

        Then no video is written and the log says which one; the training goes on, for it may recover, and what it ends
        with is tested by its evaluation.

        All ranks generate: with sharded weights they must, and otherwise they would only wait. One keeps.
        `called(method, *given)` is how a method of the model is called (`Engine.called`).
        """
        if self._codec is None or not self._cases:
            return True
        config = self._config
        was_training = model.training
        model.eval()
        try:
            videos = roll_out(
                cast(WorldModel, Borrowed(model, called)),
                self._codec,
                self._cases,
                frames=self._evidence_frames,
                streams=self._streams,
                rule=str(config["evidence"]["rule"]),
                min_overlap=float(config["evidence"]["min_overlap"]),
                chunk_frames=int(config["data"]["chunk_frames"]),
                sampler=SAMPLER,
                shift=float(config["training"]["shift"]),
                branch="sample",
                negative_text=None,
                device=self._device,
                precision=str(config["training"]["precision"]),
            )
        except BrokenFrame as error:
            print(f"no sample video after step {step}: {error}", flush=True)
            return False
        finally:
            model.train(was_training)
        if keep:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_video(self._folder / f"step-{step}.mp4", np.concatenate(videos, axis=2))
        return True
