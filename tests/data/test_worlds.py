import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workloads.data import layouts
from workloads.data.geometry import turned
from workloads.data.poses import Poses
from workloads.data.render import FAR_M, SUPERSAMPLING
from workloads.data.trajectories import start_yaw_deg, trajectory
from workloads.data.visibility import contrast, dilated, ring, rmse
from workloads.data.worlds import make_world, world_from
from workloads.runtime.errors import BadInput


def test_drawing_is_deterministic_and_independent_of_company(data_section: dict[str, Any]) -> None:
    world, path = make_world(data_section, "train", 1), trajectory(data_section, "train", 1)
    together = world.frames(path)
    assert np.array_equal(together, make_world(data_section, "train", 1).frames(path))
    assert np.array_equal(together[[3]], world.frames(path[3]))


def test_a_world_survives_json(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "open", 1)
    assert world_from(json.loads(json.dumps(world.to_json())), "here") == world


def test_turning_right_moves_the_picture_left(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "held_out", 0)
    columns = [
        np.argwhere(world.frames_and_masks(turned(world.first_pose, turn))[1][0])[:, 1].mean()
        for turn in (-4.0, 0.0, 4.0)
    ]
    assert columns[0] > columns[1] > columns[2]


def test_a_small_turn_changes_the_picture_a_little(data_section: dict[str, Any]) -> None:
    # The averaging makes a turn by a fraction of a pixel visible, and no more than that fraction.
    world = make_world(data_section, "train", 0)
    changes = [
        np.abs(world.frames(turned(world.first_pose, turn)).astype(int) - world.frames(world.first_pose)).mean()
        for turn in (0.0, 0.5, 1.5, 8.0)
    ]
    assert changes[0] == 0 < changes[1] < changes[2] < changes[3]
    assert changes[1] < 0.25 * changes[3]


def test_a_full_turn_is_no_turn(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "train", 0)
    assert np.abs(world.frames(turned(world.first_pose, 360.0)).astype(int) - world.frames(world.first_pose)).max() <= 1


def test_only_pixels_at_the_object_depend_on_it(data_section: dict[str, Any]) -> None:
    for index in range(4):
        world = make_world(data_section, "open", index)
        poses = world.first_pose
        differs = (world.frames(poses) != world.frames(poses, with_object=False)).any(axis=-1)
        mask = world.frames_and_masks(poses)[1]
        assert mask.any()
        assert (differs <= dilated(mask, 1)).all()
        assert (mask <= differs).mean() > 0.9


def test_the_object_is_hidden_by_nothing_and_behind_the_camera_unseen(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "held_out", 1)
    mask = world.frames_and_masks(world.first_pose)[1][0]
    assert (world.depth(world.first_pose)[0][mask] == np.float32(world.salient.depth_m)).all()
    assert not world.frames_and_masks(turned(world.first_pose, 180.0))[1].any()


def test_depth_is_finite_and_tells_the_background_apart(data_section: dict[str, Any]) -> None:
    depth = make_world(data_section, "train", 3).depth(trajectory(data_section, "train", 3))
    assert depth.dtype == np.float32
    assert (depth == np.float32(FAR_M)).any()
    assert ((depth >= 2.5 - 1e-6) & (depth <= FAR_M)).all()


def test_near_things_move_more_than_far_ones_when_the_camera_steps_aside(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "held_out", 0)
    yaw = np.deg2rad(world.start_yaw_deg)
    aside = Poses(0.2 * np.array([[-np.sin(yaw), np.cos(yaw), 0.0]]), np.array([world.start_yaw_deg]))
    here, there = (np.argwhere(world.frames_and_masks(p)[1][0])[:, 1].mean() for p in (world.first_pose, aside))
    assert there < here
    far = ~dilated(world.depth(world.first_pose)[0] < FAR_M, 2) & ~dilated(world.depth(aside)[0] < FAR_M, 2)
    assert np.array_equal(world.frames(aside)[0][far], world.frames(world.first_pose)[0][far])


@pytest.mark.parametrize("split", ["open", "held_out"])
@pytest.mark.parametrize("size", [(8, 16), (16, 16)])
def test_every_case_holds_what_the_judge_needs(data_section: dict[str, Any], split: str, size: tuple[int, int]) -> None:
    data = {**data_section, "height": size[0], "width": size[1]}
    for index in range(4):
        world = make_world(data, split, index)
        pose = world.first_pose
        mask, image = world.frames_and_masks(pose)[1][0], world.frames(pose)[0] / 255.0
        bare = world.frames(pose, with_object=False)[0] / 255.0
        assert mask.sum() >= 6
        assert contrast(image, mask) - contrast(bare, mask) >= 0.3
        for other in world.others():
            assert rmse(image, other.frames(pose)[0] / 255.0, mask) >= 0.2
        # Drawn finely, no sample of the object lies outside -15..25 degrees.
        fine = replace(world, height=64, width=128)
        columns = np.flatnonzero(fine.frames_and_masks(pose)[1][0].any(axis=0))
        edge = np.tan(np.deg2rad(52.67 / 2))
        bearings = np.rad2deg(np.arctan(((columns + 0.5) / 128 * 2 - 1) * edge))
        assert bearings.min() >= -15
        assert bearings.max() <= 25


def test_at_the_turning_point_of_return_the_object_is_out_of_sight(data_section: dict[str, Any]) -> None:
    for index in range(4):
        world = make_world(data_section, "open", index)
        assert not world.frames_and_masks(turned(world.first_pose, -45.0))[1].any()


def test_domains_share_no_family_shape_texture_hue_or_object() -> None:
    here, there = layouts.DOMAINS["in"], layouts.DOMAINS["open"]
    for what in ("families", "shapes", "textures", "hues_deg", "object_shapes"):
        assert not set(getattr(here, what)) & set(getattr(there, what)), what
    assert here.object_texture != there.object_texture
    # Jittered by up to 10 degrees, hues of the two domains stay apart.
    assert min(abs(a - b) for a in here.hues_deg for b in there.hues_deg) > 20


def test_variants_share_their_surroundings_and_differ_in_the_object(data_section: dict[str, Any]) -> None:
    first, second, other = (make_world(data_section, "open", index) for index in (0, 1, 2))
    assert first.elements == second.elements
    assert first.background == second.background
    assert first.salient_number != second.salient_number
    assert first.elements != other.elements


def test_places_are_so_different_that_knowing_one_is_worth_decibels(data_section: dict[str, Any]) -> None:
    frames = np.stack(
        [make_world(data_section, "train", i).frames(Poses(np.zeros((1, 3)), np.zeros(1)))[0] for i in range(24)]
    )
    best_guess_db = -10 * np.log10((frames / 255.0).var(axis=0).mean())
    assert best_guess_db < 12


def test_captions_name_the_family_and_nothing_else(data_section: dict[str, Any]) -> None:
    one, other = make_world(data_section, "train", 0), make_world(data_section, "train", 4)
    assert one.family == other.family
    assert one.elements != other.elements
    assert one.caption == other.caption


def test_a_picture_is_the_average_of_sixteen_samples(data_section: dict[str, Any]) -> None:
    world = make_world(data_section, "train", 2)
    fine = replace(world, height=8 * SUPERSAMPLING, width=16 * SUPERSAMPLING).frames(world.first_pose)
    averaged = fine.reshape(1, 8, 4, 16, 4, 3).mean(axis=(2, 4))
    assert np.abs(averaged - world.frames(world.first_pose)).mean() < 3.0


def test_frames_that_are_too_small_for_any_object_are_refused(data_section: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"raise controls\.data\.height or width"):
        make_world({**data_section, "height": 2, "width": 4}, "open", 0)


def test_a_world_of_another_version_or_shape_is_refused(data_section: dict[str, Any]) -> None:
    raw = json.loads(json.dumps(make_world(data_section, "train", 0).to_json()))
    with pytest.raises(BadInput, match="here: version is 9"):
        world_from({**raw, "version": 9}, "here")
    with pytest.raises(BadInput, match="here: shape is 'star'; allowed: disc"):
        world_from({**raw, "salient": {**raw["salient"], "shape": "star"}}, "here")
    with pytest.raises(BadInput, match="here: 'background'"):
        world_from({k: v for k, v in raw.items() if k != "background"}, "here")


def test_a_ring_surrounds_its_object_without_touching_it() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    around = ring(mask)
    assert around.sum() == 25 - 9
    assert not (around & dilated(mask, 1)).any()
    assert contrast(np.zeros((9, 9, 3)), np.zeros((9, 9), dtype=bool)) == 0.0


def test_a_scene_from_whose_first_heading_no_object_is_seen_is_drawn_from_another() -> None:
    data = {"height": 8, "width": 16, "seed": 0, "open_variants": 4, "chunk_frames": 9, "translation_m": 0.0}
    world = make_world(data, "open", 32)
    assert world.refusal() is None and world.start_yaw_deg != start_yaw_deg(data, "open", 32), "32 is such a scene"
    path = trajectory(data, "open", 32, world.start_yaw_deg)
    assert path.yaw_deg[0] == world.first_pose.yaw_deg[0]
