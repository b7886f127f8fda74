import json
import multiprocessing
import os
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pool_layouts import KINDS, in_archives
from write_cam_pool import write_pool

from workloads.data import check
from workloads.data.pool import SPLITS, Pool
from workloads.data.scene_files import archive_path, frame_name, opened, pose_name, write_archive
from workloads.runtime.errors import BadInput

SCENE = "train-0002"
MEMBERS = [(frame_name("s", 0), b"a frame"), (pose_name("s"), b"{}")]


def test_a_pool_is_an_archive_for_each_scene_and_two_files_more(pool_folder: Path) -> None:
    files = sorted(path.relative_to(pool_folder).as_posix() for path in pool_folder.rglob("*") if path.is_file())
    pool = Pool.open(pool_folder)
    scenes = [scene for split in SPLITS for scene in pool.scenes(split)]
    assert files == sorted(["captions.txt", "pool.json", *(f"scenes/{scene}.zip" for scene in scenes)])


def test_extracting_all_archives_gives_the_context_as_memory_layout(pool_folder: Path, pool_in_folders: Path) -> None:
    found = check.check(pool_in_folders, pixels=None)
    pool = Pool.open(pool_folder)
    frames = sum(pool.length(scene) for split in SPLITS for scene in pool.scenes(split))
    assert (found.scenes, found.frames, found.read, found.labels, found.problems) == (12, frames, frames, frames, {})
    assert sorted(path.name for path in pool_in_folders.iterdir() if path.is_dir()) == sorted(KINDS)


def test_members_are_uncompressed_and_ordinary_files(pool_folder: Path) -> None:
    with zipfile.ZipFile(archive_path(pool_folder, SCENE)) as archive:
        assert archive.namelist()[:2] == [f"frames/{SCENE}/0000.png", f"frames/{SCENE}/0001.png"]
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            assert (member.date_time, member.external_attr >> 16) == ((1980, 1, 1, 0, 0, 0), 0o100644)


def test_the_documented_commands_list_a_scene_and_extract_it(
    pool_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zipfile.main(["-l", str(archive_path(pool_folder, SCENE))])
    assert f"frames/{SCENE}/0016.png" in capsys.readouterr().out
    zipfile.main(["-e", str(archive_path(pool_folder, SCENE)), str(tmp_path)])
    with Image.open(tmp_path / "frames" / SCENE / "0016.png") as image:
        assert np.array_equal(np.asarray(image), Pool.open(pool_folder).frames(SCENE, [16])[0])


def test_an_archives_bytes_depend_on_its_members_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(archive_path(tmp_path / "a", "s"), MEMBERS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")
    before = os.umask(0o077)
    try:
        write_archive(archive_path(tmp_path / "b", "s"), iter(MEMBERS))
    finally:
        os.umask(before)
    assert archive_path(tmp_path / "a", "s").read_bytes() == archive_path(tmp_path / "b", "s").read_bytes()


def test_a_pool_in_folders_of_an_earlier_version_gives_the_same_latents_and_index(
    stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path, pool_in_folders: Path
) -> None:
    assert json.loads((pool_in_folders / "pool.json").read_text(encoding="utf-8"))["version"] == 1
    asked = {"latents": ("data", "codec"), "index": ("data", "codec", "evidence", "training")}
    for name, of in asked.items():
        config = {section: sections[section] for section in of}
        new, old = (stage(name, config, inputs={"data": str(p)})[0] for p in (pool_folder, pool_in_folders))
        files = sorted(path.name for path in new.iterdir())
        assert files == sorted(path.name for path in old.iterdir())
        assert all((new / file).read_bytes() == (old / file).read_bytes() for file in files)
    pools = Pool.open(pool_folder), Pool.open(pool_in_folders)
    worlds = [world.to_json() for world in (pool.world(SCENE) for pool in pools) if world is not None]
    assert len(worlds) == 2 and worlds[0] == worlds[1]


def test_one_frame_is_read_without_the_others(pool_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pool_folder, tmp_path / "pool"))
    path = archive_path(root, SCENE)
    with zipfile.ZipFile(path) as archive:
        fourth = archive.getinfo(frame_name(SCENE, 4)).header_offset
    damaged = bytearray(path.read_bytes())
    damaged[fourth + 100] ^= 1
    path.write_bytes(damaged)
    others = [0, 3, 5, 16]
    assert np.array_equal(Pool.open(root).frames(SCENE, others), Pool.open(pool_folder).frames(SCENE, others))
    with pytest.raises(BadInput, match=rf"{SCENE}\.zip/frames/{SCENE}/0004\.png: damaged: Bad CRC-32 .*make the pool"):
        Pool.open(root).frames(SCENE, [3, 4])


def test_a_damaged_archive_is_refused_by_name_or_gives_what_was_written(tmp_path: Path) -> None:
    path = archive_path(tmp_path, "s")
    write_archive(path, MEMBERS)
    whole = path.read_bytes()
    spoilt = [whole[:length] for length in range(0, len(whole), 10)]
    for at in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        spoilt.append(bytes(changed))
    refused = 0
    for content in spoilt:
        path.write_bytes(content)
        try:
            with opened(tmp_path, "s", archived=True) as files:
                assert [(name, (files / name).read_bytes()) for name, _ in MEMBERS] == MEMBERS
        except BadInput as refusal:
            assert str(path) in str(refusal)
            assert "copy or make the pool again" in str(refusal)
            refused += 1
        except FileNotFoundError as absent:  # its name was changed; readers say that it is missing
            assert str(path) in str(absent)
            refused += 1
    assert refused > len(spoilt) / 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), r"train-0002\.zip: missing; the pool is not whole"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"train-0002\.zip: not a whole ZIP archive: "),
        (lambda path: path.write_bytes(b""), r"train-0002\.zip: not a whole ZIP archive: "),
    ],
    ids=["missing", "cut short", "empty"],
)
def test_an_archive_that_is_not_whole_is_named(
    spoil: Callable[[Path], Any],
    message: str,
    stage: Callable[..., Any],
    sections: dict[str, Any],
    pool_folder: Path,
    tmp_path: Path,
) -> None:
    root = Path(shutil.copytree(pool_folder, tmp_path / "pool"))
    spoil(archive_path(root, SCENE))
    config = {name: sections[name] for name in ("data", "codec")}
    with pytest.raises(BadInput, match=message):
        stage("latents", config, inputs={"data": str(root)})


def test_processes_forked_from_a_reader_and_threads_read_the_same_frames(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    scenes = [scene for split in SPLITS for scene in pool.scenes(split)]

    def read(scene: str) -> bytes:
        return pool.frames(scene, range(pool.length(scene))).tobytes()

    expected = [read(scene) for scene in scenes]  # read before the fork

    def compare() -> None:
        assert [read(scene) for scene in scenes * 4] == expected * 4

    children = [multiprocessing.get_context("fork").Process(target=compare) for _ in range(2)]
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, scenes * 4)) == expected * 4
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]


def test_somebody_elses_pool_may_be_in_archives_too(
    stage: Callable[..., Any], data_section: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pool(tmp_path / "pool", 6, 9)
    data = {**data_section, "source": "context-as-memory", "height": 8, "width": 8}

    def taken() -> Pool:
        return Pool.open(stage("data", {"data": data}, paths={"pool": str(root)})[0])

    folders = taken()
    scenes = [scene for split in SPLITS for scene in folders.scenes(split)]
    expected = {scene: folders.frames(scene, range(9)) for scene in scenes}
    in_archives(root, scenes)
    archives = taken()
    assert scenes == [scene for split in SPLITS for scene in archives.scenes(split)]
    assert all(np.array_equal(archives.frames(scene, range(9)), expected[scene]) for scene in scenes)
    assert check.main([str(root)]) == 0
    assert "6 scenes, 54 frames (18 read), 36 labels" in capsys.readouterr().out

    (root / "scenes" / f"{scenes[0]}.zip").write_bytes(b"PK")
    assert check.main([str(root)]) == 1
    assert f"{scenes[0]}.zip: not a whole ZIP archive" in capsys.readouterr().out
    (root / "frames" / scenes[0]).mkdir(parents=True)
    with pytest.raises(BadInput, match=r"scenes in scenes/ and in frames/; move one of the two folders out"):
        taken()
    assert check.main([str(root)]) == 1
    assert "scenes in scenes/ and in frames/" in capsys.readouterr().out
