"""What holds for every row with an address (study.md section 5, "Write, address, read")."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_rows import (
    BATCH,
    NAMES,
    ROWS,
    awake,
    evidence,
    history_of,
    rows_named,
    slots_of,
    target,
    toy,
    turns,
)

from workloads.data.geometry import action_vectors
from workloads.data.poses import Poses
from workloads.memory.interface import Slots
from workloads.model.cost import flops_denoise, flops_write
from workloads.model.initial import parameters_added
from workloads.model.world_model import WorldModel

ADDRESSED = [name for name in NAMES if ROWS[name].factors.get("address", "none") != "none"]
TURNING = [name for name in ADDRESSED if not name.endswith("-noyaw")]
PLACED = [name for name in TURNING if ROWS[name].factors["address"] == "place"]
FRAMES = 16
AHEAD = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]).repeat(BATCH, 1)


def world(turned_by: float) -> Poses:
    """Poses of a camera that turns and moves to and fro, in a world that is turned as a whole about its origin."""
    step, angle = np.arange(FRAMES), np.deg2rad(turned_by)
    yaw = np.linspace(0, 75, FRAMES) * np.cos(step) + 160  # crosses 180 degrees
    place = np.stack([2 * np.sin(step), 2 * np.cos(2 * step), np.cos(3 * step)], 1)
    about = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return Poses(place @ about.T, yaw + turned_by)


def segment(slots: Slots, poses: Poses, start: int, origin: int | None) -> Slots:
    """`slots` as evidence of the segment that begins at `start`: its anchor, and frames before it in their order."""
    count = slots.latents.shape[1]
    shown = [start, *np.linspace(0, max(0, start - 1), count - 1).astype(int)]
    actions = torch.from_numpy(action_vectors(poses[shown], poses[start])).expand(BATCH, -1, -1).contiguous()
    base = None if origin is None else torch.from_numpy(action_vectors(poses[start], poses[origin])).expand(BATCH, -1)
    return replace(slots, actions=actions, base=base)


def told(model: WorldModel, poses: Poses) -> Tensor:
    """What a model says of a target in this world; a history begins at frame 4, the segment at frame 9."""
    row = model.row
    inputs = target()
    start, before = 9, 4
    frames = range(start, start + inputs["actions"].shape[1])
    actions = torch.from_numpy(action_vectors(poses[list(frames)], poses[start])).expand(BATCH, -1, -1)
    past = [segment(slots, poses, before, None) for slots in history_of(row)]
    own = segment(evidence(slots_of(row)), poses, start, before if past else None)
    with torch.no_grad():
        out: Tensor = model(**{**inputs, "actions": actions.contiguous()}, slots=own, history=past)
    return out


@pytest.mark.parametrize("name", ADDRESSED)
def test_turning_the_whole_world_changes_nothing(name: str) -> None:
    model = awake(rows_named(name))
    here = told(model, world(0))
    for turned_by in (20.0, -90.0, 137.7):
        torch.testing.assert_close(told(model, world(turned_by)), here, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ADDRESSED)
def test_a_look_depends_on_where_a_camera_looks_and_on_nothing_else(name: str) -> None:
    """Poses said from another segment, whose place is said too, look along the same; without yaw all look ahead."""
    mechanism, poses = toy(rows_named(name)).mechanism, world(0)
    outlives = mechanism.address is not None and mechanism.address.outlives
    said = []
    for start in (4, 4 if not outlives else 11):
        actions = torch.from_numpy(action_vectors(poses, poses[start]))[None]
        base = torch.from_numpy(action_vectors(poses[start], poses[2]))
        said.append(mechanism.looks(actions, base))
    torch.testing.assert_close(said[0], said[1], atol=1e-5, rtol=1e-5)
    alike = torch.allclose(said[0][:, :1].expand_as(said[0]), said[0], atol=1e-5)
    assert alike is name.endswith("-noyaw")


@pytest.mark.parametrize("name", [name for name in ADDRESSED if ROWS[name].factors["address"] != "learned"])
def test_autocast_leaves_a_look_as_it_is(name: str) -> None:
    mechanism, poses = toy(rows_named(name)).mechanism, world(0)
    actions = torch.from_numpy(action_vectors(poses, poses[4]))[None]
    base = torch.from_numpy(action_vectors(poses[4], poses[2]))
    exact = mechanism.looks(actions, base)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mechanism.looks(actions, base), exact)


@pytest.mark.parametrize("name", [name for name in TURNING if f"{name}-noyaw" in NAMES])
def test_a_control_without_yaw_is_as_large_as_its_row(name: str) -> None:
    row, control = (toy(rows_named(each)) for each in (name, f"{name}-noyaw"))
    assert parameters_added(row) == parameters_added(control)
    assert row.mechanism.state_shapes(BATCH) == control.mechanism.state_shapes(BATCH)
    for cost in (flops_denoise, flops_write):
        assert cost(row, BATCH, 4) == cost(control, BATCH, 4)
    a, b = (dict(each.named_parameters()) for each in (row, control))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", ADDRESSED)
def test_poses_matter_through_the_address_in_rows_and_not_in_their_controls(name: str) -> None:
    row = rows_named(name)
    model, inputs, own = awake(row), target(), evidence(slots_of(row))
    with torch.no_grad():
        for block in model.blocks:
            block.action.weight.zero_()  # where the backbone itself is told poses
        out = model(**inputs, slots=own, history=history_of(row))
        moved = replace(own, actions=own.actions.roll(1, 1))
        again = model(**inputs, slots=moved, history=history_of(row))
    assert bool((again - out).abs().max() > 1e-5) is not name.endswith("-noyaw")


def around(actions: Tensor, degrees: float) -> Tensor:
    """Poses (b, 12) that look so much further to the right."""
    yaw = torch.atan2(actions[:, 3], actions[:, 0]) + np.deg2rad(degrees)
    return turns(yaw)


@pytest.mark.parametrize("name", PLACED)
def test_cells_are_alike_around_the_whole_circle(name: str) -> None:
    """Everything turned by whole cells is the same store turned: none is at an end, at 180 degrees or elsewhere."""
    row = rows_named(name)
    model, inputs = awake(row), target()
    count: int = toy(row).mechanism.state_shapes(1)[0][-2]
    written, found = [], []
    with torch.no_grad():
        for cells in range(count):
            own = replace(evidence(slots_of(row)), base=around(AHEAD, 7 + cells * 360 / count))
            state = model.write(None, own, inputs["text"])
            assert state is not None
            written.append(state[0].roll(-cells, -2))
            found.append(model.denoise(**inputs, slots=own, state=state))
    for state, out in zip(written, found, strict=True):
        torch.testing.assert_close(state, written[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(out, found[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", PLACED)
def test_a_cell_that_was_never_written_says_nothing(name: str) -> None:
    row = rows_named(name)
    model, inputs, own = awake(row), target(), evidence(slots_of(row))
    with torch.no_grad():
        state = model.write(None, own, inputs["text"])
        assert state is not None
        out = model.denoise(**inputs, slots=own, state=state)
        garbage = []
        for tensor in state:
            count = tensor[..., -1:]
            never = (count == 0).expand_as(tensor[..., :-1])
            assert never.any() and not never.all()
            garbage.append(torch.cat([tensor[..., :-1].masked_fill(never, 1e6), count], -1))
        assert torch.equal(model.denoise(**inputs, slots=own, state=tuple(garbage)), out)


@pytest.mark.parametrize("name", PLACED)
def test_a_camera_that_looks_elsewhere_finds_nothing_of_what_was_written(name: str) -> None:
    """Evidence within 45 degrees of ahead; a target that looks back is told nothing of it, one that looks ahead is."""
    row = rows_named(name)
    model, inputs = awake(row), target()
    change = []
    with torch.no_grad():
        for degrees in (0.0, 180.0):
            looking = around(AHEAD, degrees)[:, None].expand(-1, inputs["actions"].shape[1], -1)
            said = []
            for seed in (0, 3):
                own = evidence(slots_of(row), seed=seed)
                state = model.write(None, own, inputs["text"])
                anchor = evidence(1)
                said.append(model.denoise(**{**inputs, "actions": looking}, slots=anchor, state=state))
            change.append(float((said[1] - said[0]).abs().max()))
    assert change[0] > 1e-3 and change[1] == 0
