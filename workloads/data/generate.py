"""Stage data: make a pool, or take a real one as it is (study.md section 2)."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workloads.contract.request import Finished, Request
from workloads.data.geometry import overlap
from workloads.data.open_pool import read_open
from workloads.data.pool import SPLITS, Pool, write_description
from workloads.data.pool_checks import ACTOR, check_scene, frame_count, read_captions, read_frame
from workloads.data.poses import METRES_PER_CENTIMETRE, Poses
from workloads.data.scene_files import (
    archive_path,
    frame_name,
    label_name,
    pose_name,
    scenes_in,
    world_name,
    write_archive,
)
from workloads.data.trajectories import trajectory
from workloads.data.worlds import World, make_world
from workloads.runtime.errors import BadInput
from workloads.runtime.links import link
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.scenes import WORLDS, scene_names

REAL = "context-as-memory"
HELD_OUT_SHARE = 0.2
LABEL_OVERLAP = 0.3  # frames that a label lists; labels are for other readers, evidence is recomputed from poses


def run(request: Request, progress: Progress) -> StageOutcome:
    """Write the pool of `config.data` into `out`.

    Raises:
        BadInput: an unknown source; a real pool whose path is not given or whose files are not whole.
    """
    data, out = request.config["data"], Path(request.out)
    if data["source"] == WORLDS:
        return make_worlds(data, out, progress, request.finished)
    if data["source"] == REAL:
        return take_pool(data, out, request.execution.paths, progress)
    raise BadInput(f"controls.data.source is {data['source']!r}; allowed: {WORLDS}, {REAL}")


def _is_whole(pool: Pool, scene: str) -> bool:
    """Whether a finished scene can be taken over; the log says why not."""
    try:
        pool.check(scene)
        pool.frames(scene, range(pool.length(scene)))
    except BadInput as error:
        print(f"{error}; scene {scene} is rendered again", flush=True)
        return False
    return True


def make_worlds(
    data: Mapping[str, Any], out: Path, progress: Progress, finished: Sequence[Finished] = ()
) -> StageOutcome:
    """Render all scenes and write an archive for each; ends early, unfinished, when asked to stop.

    Args:
        data: the section.
        out: of the pool.
        progress: of the attempt.
        finished: pools with scenes that are taken over.
    """
    names = scene_names(data)
    total, done = sum(map(len, names.values())), 0
    lengths: dict[str, int] = {}
    captions: list[str] = []
    digest = hashlib.sha256()
    there = {scene: Path(one.folder) for one in finished for scene in one.items}
    pools = {Path(one.folder): Pool.open(one.folder) for one in finished}
    for scene in [scene for scene in there if not _is_whole(pools[there[scene]], scene)]:
        del there[scene]
    for split in SPLITS:
        for index, scene in enumerate(names[split]):
            if progress.stopping:
                return StageOutcome(steps=done, stopped=True)
            progress.at(done, total, f"rendering {split}")
            if scene in there:
                pool = pools[there[scene]]
                link(archive_path(there[scene], scene), archive_path(out, scene))
                lengths[scene], caption = pool.length(scene), pool.caption(scene, 0)
            else:
                world = make_world(data, split, index)
                poses = trajectory(data, split, index, world.start_yaw_deg)
                write_archive(archive_path(out, scene), _scene(scene, world, poses, world.frames(poses)))
                lengths[scene], caption = len(poses), world.caption
            digest.update(hashlib.sha256(archive_path(out, scene).read_bytes()).digest())
            captions.append(f"{scene}/0_{lengths[scene] - 1}.mp4\t{caption}\n")
            done += 1
    (out / "captions.txt").write_text("".join(captions), encoding="utf-8")
    write_description(out, name=WORLDS, root=None, archived=True, splits=names, lengths=lengths, data=data)
    progress.at(total, total, "rendered")
    return StageOutcome(
        steps=total, records={"pool": digest.hexdigest(), "scenes": total, "frames": sum(lengths.values())}
    )


def take_pool(data: Mapping[str, Any], out: Path, paths: Mapping[str, str], progress: Progress) -> StageOutcome:
    """Check a real pool where it lies, hold out a fifth of its scenes by hash of the name, and write `pool.json`.

    Its open domain is another folder, `paths.open`; without it the split "open" is empty.

    Raises:
        BadInput: no path, or a pool that is not whole, with file and field.
    """
    if "pool" not in paths:
        raise BadInput(
            f"controls.data.source is {REAL!r} but no pool's path is known; "
            "write `paths: {pool: /data/context-as-memory}` in the cluster file (cluster/local.yaml)"
        )
    root = Path(paths["pool"])
    scenes, archived = scenes_in(root)
    if not archived and not (root / "frames").is_dir():
        raise BadInput(
            f"paths.pool is {str(root)!r}, which has no folder frames/ and no archives scenes/SCENE.zip; "
            "give the root of the pool"
        )
    if not scenes:
        raise BadInput(f"{root / 'frames'}: no scenes; a scene is a folder of frames 0000.png on")
    captions = read_captions(root / "captions.txt")
    lengths: dict[str, int] = {}
    for done, scene in enumerate(scenes):
        if progress.stopping:
            return StageOutcome(steps=done, stopped=True)
        progress.at(done, len(scenes), "checking")
        lengths[scene] = frame_count(root, scene, archived=archived)
        check_scene(root, scene, lengths[scene], captions, archived=archived)
    held_out = [scene for scene in scenes if is_held_out(scene)]
    of_domain = [scene for scene in scenes if not is_held_out(scene)]
    found = read_open(Path(paths["open"]), data) if "open" in paths else {}
    for scene, described in found.items():
        if scene in lengths:
            raise BadInput(f"{described.image}: scene {scene} is one of paths.pool too; rename the prompt's id")
        read_frame(Path(described.image))
        lengths[scene] = 1
    splits = {"train": of_domain, "held_out": held_out, "open": list(found)}
    write_description(
        out,
        name=REAL,
        root=root.resolve(),
        archived=archived,
        splits=splits,
        lengths=lengths,
        data=data,
        open_scenes=found,
    )
    return StageOutcome(steps=len(lengths), records={"scenes": len(lengths), "frames": sum(lengths.values())})


def is_held_out(scene: str) -> bool:
    """Whether a real scene is held out: a fifth of all names, by hash, whatever else the pool holds."""
    digest = hashlib.sha256(scene.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def _scene(scene: str, world: World, poses: Poses, frames: npt.NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """The files of a scene, with their paths in the layout."""
    for i, frame in enumerate(frames):
        png = io.BytesIO()
        Image.fromarray(frame).save(png, "PNG", compress_level=1)
        yield frame_name(scene, i), png.getvalue()
    centimetres = np.round(poses.positions_m / METRES_PER_CENTIMETRE, 6)
    actor = {
        str(i): {"position": centimetres[i].tolist(), "rotation": [0.0, 0.0, float(poses.yaw_deg[i])]}
        for i in range(len(poses))
    }
    yield pose_name(scene), _json({ACTOR: actor})
    yield world_name(scene), _json(world.to_json())
    shared = overlap(poses, poses) >= LABEL_OVERLAP
    for i in range(len(poses)):
        listed = [str(j) for j in np.flatnonzero(shared[i]) if j != i]
        yield label_name(scene, i), _json({"frame_index": str(i), "overlapping_frames": listed})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8")
