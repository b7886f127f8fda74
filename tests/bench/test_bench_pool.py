"""A pool whose scenes are archives beside the same pool in folders, a file for every frame."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from timing import alternating, say

from orchestrator.store.manifest import verify_sizes, write_manifest
from workloads.data.generate import make_worlds
from workloads.data.pool import SPLITS, Pool
from workloads.runtime.progress import Progress

pytestmark = pytest.mark.bench

DATA = {
    "source": "worlds", "seed": 0, "height": 8, "width": 16, "chunk_frames": 9, "train_scenes": 64,
    "held_out_scenes": 8, "open_prompts": 0, "open_variants": 0, "translation_m": 0.0,
}  # fmt: skip
TIMES = 5


def test_a_pool_in_archives_against_folders(tmp_path: Path) -> None:
    archives, folders = tmp_path / "archives", tmp_path / "folders"
    archives.mkdir()
    make_worlds(DATA, archives, Progress(tmp_path, writes=False))
    pool = Pool.open(archives)
    scenes = [scene for split in SPLITS for scene in pool.scenes(split)]
    folders.mkdir()
    for path in sorted((archives / "scenes").iterdir()):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folders)
    shutil.copy(archives / "captions.txt", folders)
    described = (archives / "pool.json").read_text(encoding="utf-8").replace('"archived": true', '"archived": false')
    (folders / "pool.json").write_text(described, encoding="utf-8")
    pools = [pool, Pool.open(folders)]
    for scene in scenes:
        every = range(pool.length(scene))
        assert np.array_equal(*(each.frames(scene, every) for each in pools))

    def reads(frames: Callable[[str], range]) -> list[Callable[[], None]]:
        return [lambda each=each: [each.frames(scene, frames(scene)) for scene in scenes] for each in pools]

    say(
        f"all frames of {len(scenes)} scenes",
        *alternating(reads(lambda scene: range(pool.length(scene))), TIMES),
        "folders",
    )
    say(f"one frame of each of {len(scenes)} scenes", *alternating(reads(lambda scene: range(1)), TIMES), "folders")
    say(
        "check of all scenes", *alternating([lambda e=e: [e.check(s) for s in scenes] for e in pools], TIMES), "folders"
    )
    digests = {root: write_manifest(root) for root in (archives, folders)}
    say("manifest of the pool", *alternating([lambda r=r: write_manifest(r) for r in digests], TIMES), "folders")
    say(
        "check of the manifest",
        *alternating([lambda r=r: verify_sizes(r, digests[r]) for r in digests], TIMES),
        "folders",
    )
