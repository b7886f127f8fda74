"""Which scenes a branch is evaluated on, in which order, and the camera's way in each (study.md section 7)."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.data.trajectories import turning as along
from workloads.runtime.errors import BadInput
from workloads.study.scenes import case_id, chosen, grouped


@dataclass(frozen=True)
class Setting:
    """Where a case starts and how its camera moves; the same for every row and seed."""

    id: str
    """`{pool}/{scene}/{first frame}`."""
    scene: str
    start: int
    """Frame of the scene that the case starts from."""
    poses: Poses
    """Commanded, the first frame's included."""
    group: str = ""
    """Cases of different groups never share a batch; the end of the id names it."""
    drawn_as: tuple[str, str] | None = None
    """Branch and case whose noise it is generated from; None: its own."""
    perturbation: str = ""
    """What is wrong with its evidence (`perturbations.py`); empty: nothing."""

    @property
    def slug(self) -> str:
        """The id as a file's name."""
        return self.id.replace("/", "_")


def first_by_hash(settings: Sequence[Setting], wanted: int, key: str) -> list[Setting]:
    """The `wanted` first settings by sha256 of their id (0: all there are), then in order of id.

    The choice does not depend on how many others there are before a scene in the pool; the order decides which
    cases share a batch.

    Raises:
        BadInput: there are fewer, or none; `key` names the setting to change.
    """
    if not settings or wanted > len(settings):
        raise BadInput(
            f"{key} is {wanted}, but the pool holds {len(settings)} such cases; "
            f"allowed: 1..{len(settings)}, 0 for all; make the pool larger (controls.data) or lower the number"
        )
    by_id = {setting.id: setting for setting in settings}
    return [by_id[one] for one in chosen(by_id, wanted)]


def in_group(setting: Setting, group: str, **changed: Any) -> Setting:
    """The case as one of a group: with the group at the end of its id, `{pool}/{scene}/{first frame}@{group}`."""
    return replace(setting, id=grouped(setting.id, group), group=group, **changed)


def batches(settings: Sequence[Setting], size: int) -> list[list[Setting]]:
    """Consecutive cases of one group, `size` together."""
    found: list[list[Setting]] = []
    for _, group in groupby(settings, key=lambda setting: setting.group):
        together = list(group)
        found += [together[i : i + size] for i in range(0, len(together), size)]
    return found


def turning(pool: Pool, scenes: Sequence[str], turns_deg: Sequence[float], chunk_frames: int) -> list[Setting]:
    """From each scene's first frame, a chunk for each turn: on the spot, yaw linear per frame."""
    settings = []
    for scene in scenes:
        poses = along(pool.poses(scene)[0], turns_deg, chunk_frames)
        settings.append(Setting(case_id(pool.name, scene, 0), scene, 0, poses))
    return settings


def open_scenes(pool: Pool, branch: str) -> Sequence[str]:
    """The scenes of the open domain, from which `branch` starts.

    Raises:
        BadInput: there are none: a real pool brings none of its own.
    """
    scenes = pool.scenes("open")
    if not scenes:
        raise BadInput(
            f"the branch {branch} starts from open-domain frames, and the pool {pool.name!r} has none; write "
            "`paths: {open: FOLDER}` in the cluster file (prompts.tsv and images/ in it), set "
            "controls.data.open_prompts above 0, and make the pool again; or leave the branch out "
            "(--branches replay,loop)"
        )
    return scenes


def write_settings(path: Path, settings: Sequence[Setting]) -> None:
    """Write `cases.json`: id, slug, scene, start and poses (t, 4: x, y, z in metres, yaw in degrees)."""
    rows = [
        {"id": s.id, "slug": s.slug, "scene": s.scene, "start": s.start, "poses": s.poses.array().tolist()}
        for s in settings
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")


def read_settings(path: Path, items: Collection[str] | None = None) -> list[Setting]:
    """Read `cases.json`: those of `items`, or all.

    Raises:
        BadInput: not a file that `write_settings` wrote.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Setting(row["id"], row["scene"], int(row["start"]), Poses.from_array(np.asarray(row["poses"])))
            for row in rows
            if items is None or row["id"] in items
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not the cases of an evaluation ({error}); evaluate again") from error
