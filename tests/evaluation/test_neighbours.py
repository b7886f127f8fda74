"""The bits of a case's video depend neither on the other cases of its batch nor on its place there, in every row.

Sizes are like those of real models in one thing: what a kernel of elements gets is a whole number of vectors, since the
last elements that fill none are computed by other code (`roll_out`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from workloads.contract.rows import resolved
from workloads.data import draws
from workloads.data.codec import SpaceToDepth
from workloads.data.evidence import candidates, choose
from workloads.data.poses import Poses
from workloads.evaluation.perturbations import foreign_frame, noisy, pose_off, without_frame
from workloads.evaluation.rollout import Case, Perturb, roll_out
from workloads.memory.interface import Slots
from workloads.model.world_model import LatentShape, WorldModel, build_model
from workloads.study.memory.base import MemoryRow

sys.path[:0] = [str(Path(__file__).parents[1] / "laws")]

from toy_rows import BACKBONE, NAMES, each, rows_named, woken  # noqa: E402

BATCH, FRAMES, MIN_OVERLAP, CHUNKS = 8, 6, 0.3, 3
SHAPE = LatentShape(channels=3, height=4, width=8, frames=3, text_tokens=2, text_width=5)
MOVES = SHAPE.frames - 1
STEPS_DEG = {"returns": 30.0, "leaves": 45.0, "stays": 0.1, "walks": 3.0}
"""Ways of a camera, in degrees a frame: they differ in how many frames could be evidence."""
FOREIGN = draws.normal((SHAPE.channels, SHAPE.height, SHAPE.width), "test", "foreign")
PERTURBED: Mapping[str, Perturb] = {
    "pose": lambda shown: pose_off(shown, 5.0),
    "foreign": lambda shown: foreign_frame(shown, FOREIGN),
    "noise": lambda shown: noisy(shown, 0.5, "case"),
    "missing": without_frame,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def case(way: str, number: int = 0, perturbed: str = "") -> Case:
    """A case whose poses go a way; its number draws all else."""
    steps = np.arange(CHUNKS * MOVES + 1.0)
    yaw = np.minimum(steps, steps[::-1]) if way == "returns" else steps
    place = np.zeros((len(steps), 3))
    place[:, 0] = 0.1 * steps * (way == "walks")
    frame = draws.uniform((SHAPE.height, SHAPE.width, 3), "test", "frame", way, number)
    return Case(
        id=f"worlds/{way}-{number}/0@{perturbed}",
        first_frame=(frame * 256).astype(np.uint8),
        poses=Poses(place, 360.0 * draws.uniform((1,), "test", way, number)[0] + yaw * STEPS_DEG[way]),
        text=draws.normal((SHAPE.text_tokens, SHAPE.text_width), "test", "text", way, number),
        perturb=PERTURBED.get(perturbed),
    )


class Keeping(SpaceToDepth):
    """Keeps what it decodes: videos are of 8 bits, and would hide most differences."""

    def __init__(self) -> None:
        super().__init__(1)
        self.latents: list[np.ndarray] = []

    def decode(self, latents: np.ndarray) -> np.ndarray:
        self.latents.append(latents.copy())
        return super().decode(latents)


def awake(row: MemoryRow) -> WorldModel:
    """The row with gates open and what starts at zero drawn at random."""
    return woken(build_model({**BACKBONE, "width": 32}, {"site": "pre_qkv"}, resolved(row), SHAPE, 0).eval())


def made(model: WorldModel, row: MemoryRow, cases: Sequence[Case]) -> list[bytes]:
    """Of each case, the latents of all its chunks."""
    codec = Keeping()
    roll_out(
        model,
        codec,
        cases,
        frames=row.evidence_frames({"frames": FRAMES}),
        rule="spread",
        min_overlap=MIN_OVERLAP,
        chunk_frames=SHAPE.frames,
        sampler={"steps": 1, "guidance": 1.0},
        shift=3.0,
        branch="return",
        negative_text=None,
        device="cpu",
        streams=row.streams,
    )
    return [np.stack(codec.latents[i :: len(cases)]).tobytes() for i in range(len(cases))]


def test_the_ways_differ_in_how_many_frames_could_be_evidence() -> None:
    counts: dict[str, list[int]] = {way: [] for way in STEPS_DEG}
    for way, found in counts.items():
        poses = case(way).poses
        for start in range(MOVES, len(poses) - 1, MOVES):
            found.append(len(choose(candidates(poses, start, start + MOVES, MIN_OVERLAP), FRAMES, "spread")))
    assert counts == {"returns": [0, 3], "leaves": [0, 0], "stays": [2, 4], "walks": [2, 4]}


@pytest.mark.parametrize("name", each(NAMES))
def test_the_latents_of_a_case_depend_on_no_other_and_on_no_place(name: str) -> None:
    row = rows_named(name)
    model = awake(row)
    perturbed = [case("stays", perturbed=kind) for kind in PERTURBED]
    one = [case("returns"), case("leaves"), case("walks"), case("stays", 1), *perturbed]
    other = [*perturbed[::-1], case("leaves", 1), case("walks"), case("leaves", 2), case("returns")]
    alone = made(model, row, [case("returns")] * BATCH)  # a batch that is filled up
    assert len(set(alone)) == 1
    by_case = dict(zip((c.id for c in one), made(model, row, one), strict=True))
    again = dict(zip((c.id for c in other), made(model, row, other), strict=True))
    assert by_case[one[0].id] == again[one[0].id] == alone[0]
    assert len(both := by_case.keys() & again.keys()) == 6
    assert [c for c in sorted(both) if by_case[c] != again[c]] == []
    assert len(set(by_case.values())) > 4  # they are not the same for lack of anything to see


def test_without_fixed_shapes_neighbours_decide_how_much_is_computed() -> None:
    slots = Slots(torch.zeros(2, 4, 3, 4, 8), torch.zeros(2, 4, 12), torch.tensor([[True] * 2 + [False] * 2] * 2))
    assert slots.trimmed().latents.shape[1] == 2
    assert Slots(slots.latents, slots.actions, slots.valid, fixed=True).trimmed().latents.shape[1] == 4
