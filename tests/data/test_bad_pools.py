import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pool_layouts import in_archives

from workloads.runtime.errors import BadInput

SCENE = "train-0002"
LAYOUTS = ("folders", "archives")


def changed(path: Path, change: Callable[[Any], None]) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")


def poses(root: Path, change: Callable[[Any], None]) -> None:
    changed(root / "jsons" / f"{SCENE}.json", change)


def label(root: Path, change: Callable[[Any], None]) -> None:
    changed(root / "overlap_labels" / SCENE / "5.json", change)


def truncate(root: Path) -> None:
    path = root / "frames" / SCENE / "0004.png"
    path.write_bytes(path.read_bytes()[:-40])


def of_another_size(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "frames" / SCENE / "0004.png")


# What is done to a whole pool, and what the refusal must name: file, then field.
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing frame": (lambda r: (r / "frames" / SCENE / "0003.png").unlink(), r"0003\.png: missing frame"),
    "truncated frame": (truncate, r"0004\.png: not a whole PNG"),
    "empty frame": (lambda r: (r / "frames" / SCENE / "0004.png").write_bytes(b""), r"0004\.png: not a whole PNG"),
    "frame of another size": (of_another_size, r"0004\.png: 8x8 pixels, the pool's frames are 8x16"),
    "no pose file": (lambda r: (r / "jsons" / f"{SCENE}.json").unlink(), rf"{SCENE}\.json: missing"),
    "pose file is no JSON": (
        lambda r: (r / "jsons" / f"{SCENE}.json").write_text("{", encoding="utf-8"),
        rf"{SCENE}\.json: not JSON",
    ),
    "frame without a pose": (
        lambda r: poses(r, lambda raw: raw["CineCameraActor"].pop("7")),
        rf"{SCENE}\.json: CineCameraActor\.7 is missing",
    ),
    "poses without their actor": (
        lambda r: poses(r, lambda raw: raw.update(raw.pop("CineCameraActor"))),
        rf"{SCENE}\.json: no object 'CineCameraActor'",
    ),
    "NaN position": (
        lambda r: poses(r, lambda raw: raw["CineCameraActor"]["2"].update(position=[0.0, float("nan"), 0.0])),
        rf"{SCENE}\.json: CineCameraActor\.2\.position .*finite",
    ),
    "infinite yaw": (
        lambda r: poses(r, lambda raw: raw["CineCameraActor"]["2"].update(rotation=[0.0, 0.0, float("inf")])),
        rf"{SCENE}\.json: CineCameraActor\.2\.rotation .*finite",
    ),
    "NaN roll": (
        lambda r: poses(r, lambda raw: raw["CineCameraActor"]["2"].update(rotation=[float("nan"), 0.0, 0.0])),
        rf"{SCENE}\.json: CineCameraActor\.2\.rotation .*finite",
    ),
    "position of two numbers": (
        lambda r: poses(r, lambda raw: raw["CineCameraActor"]["2"].update(position=[0.0, 1.0])),
        rf"{SCENE}\.json: CineCameraActor\.2\.position .*three numbers",
    ),
    "integer overlap label": (
        lambda r: label(r, lambda raw: raw["overlapping_frames"].append(7)),
        r"5\.json: overlapping_frames\[\d+\] is 7; .*string",
    ),
    "integer frame index": (lambda r: label(r, lambda raw: raw.update(frame_index=5)), r"5\.json: frame_index is 5"),
    "label of no frame": (
        lambda r: label(r, lambda raw: raw["overlapping_frames"].append("99")),
        r"5\.json: overlapping_frames\[\d+\] is '99'; the scene has frames 0\.\.16",
    ),
    "label without a list": (
        lambda r: label(r, lambda raw: raw.update(overlapping_frames="3")),
        r"5\.json: overlapping_frames is '3'; allowed: a list",
    ),
    "scene without a caption": (
        lambda r: (r / "captions.txt").write_text("train-0000/0_16.mp4\ta place\n", encoding="utf-8"),
        r"captions\.txt: no line for scene",
    ),
    "caption line without a tab": (
        lambda r: (r / "captions.txt").write_text("train-0000/0_16.mp4 a place\n", encoding="utf-8"),
        r"captions\.txt:1: 'train-0000/0_16\.mp4 a place'",
    ),
    "no description": (lambda r: (r / "pool.json").unlink(), r"pool\.json: missing"),
    "description of another version": (
        lambda r: changed(r / "pool.json", lambda raw: raw.update(version=0)),
        r"pool\.json: version is 0",
    ),
    "description that does not say whether there are archives": (
        lambda r: changed(r / "pool.json", lambda raw: (raw.update(version=2, archived=True), raw.pop("archived"))),
        r"pool\.json: 'archived' is missing",
    ),
    "description without splits": (
        lambda r: changed(r / "pool.json", lambda raw: raw.pop("splits")),
        r"pool\.json: 'splits' is missing",
    ),
}


def copied(pool: Path, root: Path, layout: str, spoil: Callable[[Path], Any]) -> Path:
    """A pool in folders, copied, spoilt, and put into archives if that is the layout."""
    shutil.copytree(pool, root)
    if layout == "archives":
        changed(root / "pool.json", lambda raw: raw.update(version=2, archived=True))
    scenes = [path.name for path in (root / "frames").iterdir()]
    spoil(root)
    if layout == "archives":
        in_archives(root, scenes)
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_pool_is_refused_with_file_and_field(
    fault: str, layout: str, stage: Callable[..., Any], sections: dict[str, Any], pool_in_folders: Path, tmp_path: Path
) -> None:
    spoil, message = BAD[fault]
    root = copied(pool_in_folders, tmp_path / "pool", layout, spoil)
    config = {"data": sections["data"], "codec": sections["codec"]}
    with pytest.raises(BadInput) as refusal:
        stage("latents", config, inputs={"data": str(root)})
    assert re.search(message, str(refusal.value)), str(refusal.value)
    assert str(root) in str(refusal.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_may_be_absent(
    layout: str, stage: Callable[..., Any], sections: dict[str, Any], pool_in_folders: Path, tmp_path: Path
) -> None:
    root = copied(pool_in_folders, tmp_path / "pool", layout, lambda r: shutil.rmtree(r / "overlap_labels"))
    config = {"data": sections["data"], "codec": sections["codec"]}
    assert stage("latents", config, inputs={"data": str(root)})[1].steps == 12
