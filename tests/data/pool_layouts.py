"""A pool of archives as folders, the layout of earlier versions and of other people's pools, and back again.

It shares no line with the writer, so that the two can disagree.
"""

import json
import shutil
import zipfile
from pathlib import Path

KINDS = ("frames", "jsons", "overlap_labels", "worlds")


def in_folders(pool: Path, root: Path) -> Path:
    """The pool, which has archives, as one whose scenes are in folders; described as version 1 did."""
    root.mkdir(parents=True)
    for archive in sorted((pool / "scenes").iterdir()):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(root)
    shutil.copy(pool / "captions.txt", root)
    described = json.loads((pool / "pool.json").read_text(encoding="utf-8"))
    assert described.pop("archived") is True
    described["version"] = 1
    (root / "pool.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    return root


def in_archives(root: Path, scenes: list[str]) -> None:
    """Move the files of these scenes, which are in folders, into archives."""
    (root / "scenes").mkdir()
    for scene in scenes:
        with zipfile.ZipFile(root / "scenes" / f"{scene}.zip", "w") as archive:
            for kind in KINDS:
                for path in (root / kind / f"{scene}.json", *sorted((root / kind / scene).glob("*"))):
                    if path.is_file():
                        archive.write(path, path.relative_to(root).as_posix())
    for kind in KINDS:
        shutil.rmtree(root / kind, ignore_errors=True)
