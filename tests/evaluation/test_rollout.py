"""Roll-outs with models that only do what a test needs; the real one is in test_evaluate_stage."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from workloads.data import draws
from workloads.data.codec import SpaceToDepth
from workloads.data.evidence import candidates, choose
from workloads.data.frames import BrokenFrame
from workloads.data.geometry import action_vectors
from workloads.data.poses import Poses
from workloads.evaluation.perturbations import pose_off, without_frame
from workloads.evaluation.rollout import Case, roll_out
from workloads.memory.interface import Slots

F, CHUNKS, H, W = 5, 3, 8, 16
LENGTH = CHUNKS * (F - 1) + 1
CODEC = SpaceToDepth(2)


class Knowing:
    """A model that knows the true video: its velocity leads straight from the noise to the truth's latents."""

    def __init__(self, videos: np.ndarray) -> None:
        self.videos = videos  # (b, T, h, w, 3)
        self.seen: list[dict[str, Any]] = []
        self.written: list[tuple[Any, Slots]] = []

    def write(self, state: Any, slots: Slots, text: Tensor) -> Any:
        self.written.append((state, slots))
        return len(self.written)

    def denoise(self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: Any) -> Tensor:
        self.seen.append(
            {"noisy": noisy, "sigma": sigma, "actions": actions, "slots": slots, "state": state, "text": text}
        )
        start = (len(self.written) - 1) * (F - 1)
        truth = np.stack([CODEC.encode(video[start : start + F]) for video in self.videos])
        return (noisy - torch.from_numpy(truth)) / sigma.view(-1, 1, 1, 1, 1)


def made(b: int = 2) -> tuple[list[Case], np.ndarray]:
    videos = (draws.uniform((b, LENGTH, H, W, 3), "test", "videos") * 256).astype(np.uint8)
    yaw = np.concatenate([np.arange(9.0) * 5, 40 - np.arange(1, LENGTH - 8) * 5.0])
    cases = [
        Case(
            id=f"worlds/scene-{i}/0",
            first_frame=videos[i, 0],
            poses=Poses(np.zeros((LENGTH, 3)), yaw * (1 + i) + 100 * i),
            text=np.full((2, 4), float(i), np.float32),
        )
        for i in range(b)
    ]
    return cases, videos


def roll(model: Any, cases: list[Case], **changed: Any) -> list[np.ndarray]:
    settings: dict[str, Any] = {
        "frames": 4,
        "rule": "spread",
        "min_overlap": 0.3,
        "chunk_frames": F,
        "sampler": {"steps": 3, "guidance": 1.0},
        "shift": 3.0,
        "branch": "replay",
        "negative_text": None,
        "device": "cpu",
    }
    return roll_out(model, CODEC, cases, **{**settings, **changed})


def test_a_model_that_knows_the_truth_generates_it_after_the_given_frame() -> None:
    cases, videos = made()
    for video, truth in zip(roll(Knowing(videos), cases), videos, strict=True):
        np.testing.assert_array_equal(video, truth)


def test_the_given_frame_stands_whatever_the_model_says_of_it() -> None:
    cases, videos = made()
    for video, case in zip(roll(Knowing(videos[:, ::-1]), cases), cases, strict=True):
        np.testing.assert_array_equal(video[0], case.first_frame)


def test_evidence_is_the_anchor_and_what_the_rule_of_training_chooses_with_poses_relative_to_the_chunk() -> None:
    cases, videos = made()
    model = Knowing(videos)
    roll(model, cases)
    assert len(model.written) == CHUNKS
    assert not bool(model.written[0][1].valid[:, 1:].any())  # no history at the start
    for chunk, (_, slots) in enumerate(model.written):
        start, end = chunk * (F - 1), (chunk + 1) * (F - 1)
        for i, case in enumerate(cases):
            chosen = choose(candidates(case.poses, start, end, 0.3), 4, "spread")
            indices = np.concatenate([[start], chosen])
            n = len(indices)
            assert slots.valid[i].tolist() == [True] * n + [False] * (slots.valid.shape[1] - n)
            np.testing.assert_array_equal(slots.latents[i, :n].numpy(), CODEC.encode(videos[i, indices]))
            expected = action_vectors(case.poses[indices], case.poses[start])
            np.testing.assert_array_equal(slots.actions[i, :n].numpy(), expected)
    assert int(model.written[2][1].valid.sum()) > len(cases)  # something was retrieved at all


def test_a_case_s_perturbation_is_what_the_model_is_shown_of_that_case_alone() -> None:
    cases, videos = made()
    model, plain = Knowing(videos), Knowing(videos)
    worse = replace(cases[1], perturb=lambda shown: without_frame(pose_off(shown, 5.0)))
    roll(model, [cases[0], worse])
    roll(plain, cases)
    (_, seen), (_, given) = model.written[2], plain.written[2]
    np.testing.assert_array_equal(seen.latents[0].numpy(), given.latents[0].numpy())
    np.testing.assert_array_equal(seen.actions[0].numpy(), given.actions[0].numpy())
    assert int(seen.valid[1].sum()) == int(given.valid[1].sum()) - 1
    start, found = 2 * (F - 1), choose(candidates(cases[1].poses, 2 * (F - 1), LENGTH - 1, 0.3), 4, "spread")
    retrieved = cases[1].poses[found]
    off = action_vectors(Poses(retrieved.positions_m, retrieved.yaw_deg + 5.0), cases[1].poses[start])
    assert all(np.isclose(off, one).all(axis=1).any() for one in seen.actions[1, 1 : len(found)].numpy())


def test_cases_that_are_drawn_as_one_have_its_noise() -> None:
    cases, videos = made()
    model, plain = Knowing(videos), Knowing(videos)
    roll(model, [replace(case, id=f"{case.id}@x", drawn_as=("replay", case.id)) for case in cases], branch="other")
    roll(plain, cases)
    torch.testing.assert_close(model.seen[0]["noisy"], plain.seen[0]["noisy"], rtol=0, atol=0)


def test_actions_of_a_chunk_are_commanded_poses_relative_to_its_first_frame() -> None:
    cases, videos = made()
    model = Knowing(videos)
    roll(model, cases)
    last = model.seen[-1]["actions"]
    start = (CHUNKS - 1) * (F - 1)
    for i, case in enumerate(cases):
        expected = action_vectors(case.poses[slice(start, start + F)], case.poses[start])
        np.testing.assert_array_equal(last[i].numpy(), expected)


def test_the_state_is_written_once_a_chunk_and_carried() -> None:
    cases, videos = made()
    model = Knowing(videos)
    roll(model, cases)
    assert [state for state, _ in model.written] == [None, 1, 2]
    assert [seen["state"] for seen in model.seen] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_the_base_of_a_chunk_is_its_first_pose_as_seen_from_frame_0() -> None:
    cases, videos = made()
    model = Knowing(videos)
    roll(model, cases)
    for chunk, (_, slots) in enumerate(model.written):
        assert slots.base is not None
        for i, case in enumerate(cases):
            expected = action_vectors(case.poses[chunk * (F - 1)], case.poses[0])[0]
            np.testing.assert_array_equal(slots.base[i].numpy(), expected)


def test_noise_depends_on_branch_case_and_chunk_and_not_on_the_row_or_the_batch() -> None:
    cases, videos = made()
    together, alone, other = Knowing(videos), Knowing(videos[1:]), Knowing(videos)
    roll(together, cases)
    roll(alone, cases[1:], frames=1)
    roll(other, cases, branch="loop")
    for chunk in range(CHUNKS):
        noise = together.seen[3 * chunk]["noisy"]
        expected = draws.normal((F, 12, 4, 8), "evaluation", "replay", cases[0].id, chunk)
        np.testing.assert_array_equal(noise[0].numpy(), expected)
        assert torch.equal(noise[1], alone.seen[3 * chunk]["noisy"][0])
        assert not torch.equal(noise, other.seen[3 * chunk]["noisy"])


def test_the_order_within_a_batch_changes_nothing() -> None:
    cases, videos = made()
    forwards = roll(Knowing(videos[:, ::-1]), cases)
    backwards = roll(Knowing(videos[::-1, ::-1]), cases[::-1])
    for a, b in zip(forwards, backwards[::-1], strict=True):
        np.testing.assert_array_equal(a, b)


class Guided(Knowing):
    """Says the constant velocity that its text holds, to see how guidance puts two texts together."""

    def denoise(self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: Any) -> Tensor:
        super().denoise(noisy, sigma, actions, text, slots, state)
        return text[:, :1, :1, None, None] * torch.ones_like(noisy)


def test_guidance_goes_beyond_the_text_away_from_the_negative_and_keeps_memory_and_actions() -> None:
    cases, videos = made(1)
    cases[0].text[:] = 0.2
    model = Guided(videos)
    negative = np.full((2, 4), 0.1, np.float32)
    roll(model, cases, sampler={"steps": 1, "guidance": 5.0}, negative_text=negative)
    first = model.seen[0]["noisy"]
    expected = CODEC.decode((first - (0.1 + 5.0 * (0.2 - 0.1)))[0].numpy())
    np.testing.assert_array_equal(
        roll(Guided(videos), cases, sampler={"steps": 1, "guidance": 5.0}, negative_text=negative)[0][1:F], expected[1:]
    )
    with_text, without = model.seen[0], model.seen[1]
    assert with_text["slots"] is without["slots"]
    assert torch.equal(with_text["actions"], without["actions"])
    assert with_text["state"] == without["state"]


def test_cases_of_unequal_length_and_guidance_without_text_are_refused() -> None:
    cases, videos = made()
    short = Case(id="x", first_frame=videos[0, 0], poses=cases[0].poses[:F], text=cases[0].text)
    with pytest.raises(ValueError, match="share their length"):
        roll(Knowing(videos), [cases[0], short])
    with pytest.raises(ValueError, match="negative"):
        roll(Knowing(videos), cases, sampler={"steps": 1, "guidance": 5.0})


class EveryFourth(SpaceToDepth):
    """Shares a latent between four frames as a video codec does, knowing only the last of them."""

    time_factor = 4

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return super().encode(frames[::4])

    def encode_each(self, frames: np.ndarray) -> np.ndarray:
        return super().encode(frames)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        frames = super().decode(latents)
        return np.concatenate([frames[:1], frames[1:].repeat(4, axis=0)])


class Remembering(Knowing):
    """Knows the truth at the frames that have a latent of their own."""

    def denoise(self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: Any) -> Tensor:
        self.seen.append({"actions": actions, "slots": slots, "shape": noisy.shape})
        start = (len(self.written) - 1) * (F - 1)
        truth = np.stack([EveryFourth(2).encode(video[start : start + F]) for video in self.videos])
        return (noisy - torch.from_numpy(truth)) / sigma.view(-1, 1, 1, 1, 1)


def test_with_shared_latents_a_chunk_is_decoded_as_one_clip_and_history_is_every_frame_by_itself() -> None:
    cases, truth = made()
    codec, model = EveryFourth(2), Remembering(truth)
    settings: dict[str, Any] = {
        "frames": 4, "rule": "spread", "min_overlap": 0.3, "chunk_frames": F,
        "sampler": {"steps": 2, "guidance": 1.0}, "shift": 3.0, "branch": "replay", "negative_text": None,
        "device": "cpu",
    }  # fmt: skip
    videos = roll_out(model, codec, cases, **settings)  # type: ignore[arg-type]
    for video, real in zip(videos, truth, strict=True):
        assert len(video) == LENGTH
        for frame in range(1, LENGTH):
            np.testing.assert_array_equal(video[frame], real[-(-frame // 4) * 4])
    for i, seen in enumerate(model.seen):
        start = i // 2 * (F - 1)
        assert seen["shape"][1] == 2  # frames 0 and 4 of the chunk
        for row, case in enumerate(cases):
            expected = action_vectors(case.poses[[start, start + 4]], case.poses[start])
            np.testing.assert_array_equal(seen["actions"][row].numpy(), expected)
            chosen = choose(candidates(case.poses, start, start + F - 1, 0.3), 4, "spread")
            frames = np.concatenate([[start], chosen]).astype(np.int64)
            count = int(seen["slots"].valid[row].sum())
            assert count == len(frames)
            history = codec.encode_each(videos[row][frames])
            np.testing.assert_array_equal(seen["slots"].latents[row, :count].numpy(), history)


def test_chunks_that_are_no_whole_number_of_latents_are_refused() -> None:
    cases, truth = made()
    short = [Case(id=c.id, first_frame=c.first_frame, poses=c.poses[:7], text=c.text) for c in cases]
    with pytest.raises(ValueError, match="no whole number of latents"):
        roll_out(
            Knowing(truth), EveryFourth(2), short, frames=2, rule="spread", min_overlap=0.3, chunk_frames=4,
            sampler={"steps": 1, "guidance": 1.0}, shift=3.0, branch="replay", negative_text=None, device="cpu",
        )  # type: ignore[arg-type]  # fmt: skip


class Exploding(Knowing):
    """Its velocity of one case is a given value from the second solver step of the second chunk on."""

    def __init__(self, videos: np.ndarray, case: int, value: float) -> None:
        super().__init__(videos)
        self.case, self.value = case, value

    def denoise(self, noisy: Tensor, sigma: Tensor, actions: Tensor, text: Tensor, slots: Slots, state: Any) -> Tensor:
        velocity = super().denoise(noisy, sigma, actions, text, slots, state)
        if len(self.written) == 2 and float(sigma[0]) < 1:
            velocity[self.case] = self.value
        return velocity


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_is_not_finite_is_told_with_case_chunk_and_solver_step(value: float) -> None:
    cases, videos = made()
    words = rf"^case worlds/scene-1/0, chunk 2 of {CHUNKS}: not finite from solver step 2 of 3 on$"
    with pytest.raises(BrokenFrame, match=words):
        roll(Exploding(videos, 1, value), cases)


def test_a_model_whose_values_are_enormous_is_told_and_not_clipped() -> None:
    cases, videos = made()
    words = rf"^case worlds/scene-0/0, chunk 2 of {CHUNKS}, after solver step 3: 100% of the values of frame 0 of 5 are"
    with pytest.raises(BrokenFrame, match=words):
        roll(Exploding(videos, 0, 1e6), cases)


def flat(chunks: int, degrees: float) -> tuple[list[Case], np.ndarray]:
    """One case that turns by so many degrees a frame."""
    length = chunks * (F - 1) + 1
    videos = (draws.uniform((1, length, H, W, 3), "test", "long videos") * 256).astype(np.uint8)
    poses = Poses(np.zeros((length, 3)), np.arange(float(length)) * degrees)
    return [Case(id="worlds/long/0", first_frame=videos[0, 0], poses=poses, text=np.zeros((2, 4), np.float32))], videos


def test_a_stream_writes_every_frame_once_and_as_many_in_each_of_32_chunks() -> None:
    cases, videos = flat(32, 0.25)  # everything that was seen overlaps: there is always more to retrieve
    stream, retrieving = Knowing(videos), Knowing(videos)
    roll(stream, cases, streams=True, frames=1)
    roll(retrieving, cases, frames=1000)
    assert [int(slots.valid.sum()) for _, slots in stream.written] == [1] + [F - 1] * 31
    assert [int(slots.valid.sum()) for _, slots in retrieving.written] == [1 + (F - 1) * i for i in range(32)]
    written = torch.cat([slots.latents[0].roll(-1, 0) for _, slots in stream.written])
    np.testing.assert_array_equal(written.numpy(), CODEC.encode(videos[0, : len(written)]))
    for chunk, (_, slots) in enumerate(stream.written):
        poses, start = cases[0].poses, chunk * (F - 1)
        indices = [start, *range(max(0, start - F + 2), start)]
        np.testing.assert_array_equal(slots.actions[0].numpy(), action_vectors(poses[indices], poses[start]))


def test_a_stream_is_what_is_retrieved_where_the_frames_are_the_same() -> None:
    """A camera that turns out of the view of its first frame at once: what overlaps is what is not yet written."""
    cases, videos = flat(2, 2.0)
    yaw = np.array([0.0, 40, 42, 44, 46, 48, 50, 52, 54])
    cases = [Case(id=cases[0].id, first_frame=videos[0, 0], poses=Poses(np.zeros((9, 3)), yaw), text=cases[0].text)]
    stream, retrieving = Knowing(videos), Knowing(videos)
    roll(stream, cases, streams=True, frames=1)
    roll(retrieving, cases, frames=20)
    for (_, one), (_, padded) in zip(stream.written, retrieving.written, strict=True):
        other = replace(padded, fixed=False).trimmed()
        for name in ("latents", "actions", "valid", "base"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert int(stream.written[1][1].valid.sum()) == F - 1
