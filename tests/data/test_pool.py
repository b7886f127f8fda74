import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.data.codec import make_codec
from workloads.data.evidence import candidates
from workloads.data.generate import is_held_out
from workloads.data.geometry import overlap
from workloads.data.index import Index
from workloads.data.latents import Latents
from workloads.data.pool import SPLITS, Pool
from workloads.data.text import make_text_encoder
from workloads.data.trajectories import trajectory
from workloads.runtime.errors import BadInput


def test_the_truth_at_the_pools_poses_is_the_pools_frames(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    for split in SPLITS:
        for scene in pool.scenes(split)[:2]:
            world = pool.world(scene)
            assert world is not None
            frames = pool.frames(scene, range(pool.length(scene)))
            assert np.array_equal(world.frames(pool.poses(scene)), frames)
            assert np.array_equal(pool.frames(scene, [0])[0], frames[0])


def test_a_pool_has_the_scenes_and_lengths_that_were_asked_for(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    assert pool.name == "worlds"
    assert [len(pool.scenes(split)) for split in SPLITS] == [6, 2, 4]
    assert pool.scenes("open") == ("open-00-0", "open-00-1", "open-01-0", "open-01-1")
    assert {pool.length(scene) for scene in pool.scenes("train")} == {17}
    assert {pool.length(scene) for scene in pool.scenes("open")} == {1}
    assert pool.data["chunk_frames"] == 5


@pytest.mark.parametrize("translation_m", [0.0, 1.0])
def test_poses_are_written_without_loss(
    stage: Callable[..., Any], data_section: dict[str, Any], translation_m: float
) -> None:
    data = {**data_section, "train_scenes": 2, "held_out_scenes": 0, "open_prompts": 0, "translation_m": translation_m}
    pool = Pool.open(stage("data", {"data": data})[0])
    for index, scene in enumerate(pool.scenes("train")):
        expected = trajectory(data, "train", index)
        assert np.array_equal(pool.poses(scene).array(), expected.array())
        assert np.array_equal(pool.world(scene).frames(expected), pool.frames(scene, range(17)))


def test_a_frames_caption_is_the_one_that_starts_nearest(pool_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pool_folder, tmp_path / "pool"))
    scene = Pool.open(folder).scenes("train")[0]
    (folder / "captions.txt").write_text(f"{scene}/8_16.mp4\tlater\n{scene}/4_7.mp4\tfirst\n", encoding="utf-8")
    pool = Pool.open(folder)
    expected = {0: "first", 4: "first", 6: "first", 7: "later", 8: "later", 16: "later"}  # 6: a tie, the earlier
    assert {frame: pool.caption(scene, frame) for frame in expected} == expected


def test_labels_are_strings_and_name_what_overlaps(pool_in_folders: Path) -> None:
    pool = Pool.open(pool_in_folders)
    scene = pool.scenes("train")[0]
    label = json.loads((pool_in_folders / "overlap_labels" / scene / "3.json").read_text(encoding="utf-8"))
    shared = overlap(pool.poses(scene)[3], pool.poses(scene))[0]
    assert label["frame_index"] == "3"
    assert label["overlapping_frames"] == [str(j) for j in range(17) if shared[j] >= 0.3 and j != 3]


def test_making_a_pool_again_gives_the_same_pixels(
    stage: Callable[..., Any], data_section: dict[str, Any], pool_folder: Path
) -> None:
    again, outcome = stage("data", {"data": data_section})
    files = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(pool_folder) for p in pool_folder.rglob("*") if p.is_file())
    assert all((again / f).read_bytes() == (pool_folder / f).read_bytes() for f in files)
    assert outcome.steps == 12


def test_latents_hold_every_frame_pose_and_caption_of_the_pool(
    stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path
) -> None:
    config = {"data": sections["data"], "codec": sections["codec"]}
    pool, latents = Pool.open(pool_folder), Latents.open(stage("latents", config, inputs={"data": str(pool_folder)})[0])
    codec, encoder = make_codec(sections["codec"]), make_text_encoder(sections["codec"])
    expected = {"channels": 12, "height": 4, "width": 8, "frames": 5, "text_tokens": 4, "text_width": 16}
    assert latents.shape == expected
    assert latents.codec_section == sections["codec"]
    for split in SPLITS:
        assert latents.scenes(split) == pool.scenes(split)
        for scene in pool.scenes(split):
            frames = pool.frames(scene, range(pool.length(scene)))
            assert np.array_equal(codec.decode(latents.latents(scene)), frames)
            assert np.array_equal(latents.poses(scene).array(), pool.poses(scene).array())
            assert np.array_equal(latents.text(scene, 0), encoder.encode(pool.caption(scene, 0)))
    with pytest.raises(IndexError, match="frame 1 of 1"):
        latents.text("open-00-0", 1)


def real_pool(root: Path, made: Path, scenes: int) -> Path:
    """A pool in the public layout, as somebody else would hand it over: no pool.json, no worlds."""
    for i in range(scenes):
        for kind in ("frames", "overlap_labels"):
            shutil.copytree(made / kind / "train-0000", root / kind / f"Scene{i}")
        (root / "jsons").mkdir(exist_ok=True)
        shutil.copy(made / "jsons" / "train-0000.json", root / "jsons" / f"Scene{i}.json")
    lines = "".join(f"Scene{i}/0_16.mp4\ta place\n" for i in range(scenes))
    (root / "captions.txt").write_text(lines, encoding="utf-8")
    return root


def test_a_real_pool_is_used_where_it_lies_and_a_part_is_held_out_by_name(
    stage: Callable[..., Any], data_section: dict[str, Any], pool_in_folders: Path, tmp_path: Path
) -> None:
    root = real_pool(tmp_path / "real", pool_in_folders, 12)
    data = {**data_section, "source": "context-as-memory", "height": 4, "width": 4}
    out, _ = stage("data", {"data": data}, paths={"pool": str(root)})
    pool = Pool.open(out)
    assert [p.name for p in out.iterdir()] == ["pool.json"]
    assert pool.name == "context-as-memory"
    assert sorted((*pool.scenes("train"), *pool.scenes("held_out"))) == sorted(f"Scene{i}" for i in range(12))
    assert all(is_held_out(scene) for scene in pool.scenes("held_out"))
    assert pool.world("Scene0") is None
    # 8 x 16 pixels to 4 x 4: halved to cover, then the middle columns.
    frames = pool.frames("Scene0", [0, 5])
    assert frames.shape == (2, 4, 4, 3)
    assert len(pool.poses("Scene0")) == 17


def test_a_fifth_of_all_names_is_held_out() -> None:
    share = np.mean([is_held_out(f"scene {i}") for i in range(2000)])
    assert 0.17 < share < 0.23


def test_a_real_pool_needs_its_path(stage: Callable[..., Any], data_section: dict[str, Any], tmp_path: Path) -> None:
    data = {**data_section, "source": "context-as-memory"}
    with pytest.raises(BadInput, match=r"paths: \{pool: .*cluster file"):
        stage("data", {"data": data})
    with pytest.raises(BadInput, match=r"paths\.pool .* no folder frames/"):
        stage("data", {"data": data}, paths={"pool": str(tmp_path)})
    with pytest.raises(BadInput, match=r"controls\.data\.source is 'web'; allowed: worlds, context-as-memory"):
        stage("data", {"data": {**data_section, "source": "web"}})


def test_generation_and_index_find_the_same_evidence(
    stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path
) -> None:
    config = {name: sections[name] for name in ("data", "codec", "evidence", "training")}
    index = Index.open(stage("index", config, inputs={"data": str(pool_folder)})[0])
    pool = Pool.open(pool_folder)
    scene = pool.scenes("train")[1]
    for start in index.starts(scene):
        listed, found = index.candidates(scene, start), candidates(pool.poses(scene), start, start + 4, 0.3)
        assert np.array_equal(listed.indices, found.indices)
        assert np.array_equal(listed.overlaps, found.overlaps)
