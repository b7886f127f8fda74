"""Scenes of a rendered pool and the cases that start from them, by name: what they are follows from the matrix alone.

A scene is named by what it is, so that a larger pool holds the scenes of a smaller one. Standard library only.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

WORLDS = "worlds"
"""Source of a rendered pool, and its name in the ids of cases."""
SCENE_CHUNKS = 4
"""Chunks of a rendered scene's own way (`workloads.data.trajectories`)."""
START_CHUNKS = 3
"""Replay: cases start at multiples of this many chunks' moves, so that those of a scene do not overlap."""
OPEN = ("return", "absence", "sensitivity")
"""Branches that start from open-domain first frames."""
GROUP_MARK = "@"
AS_IT_IS = "none"
"""Group of the branch `sensitivity` whose evidence has nothing wrong."""
FOREIGN = "foreign"
"""Its group of which one frame of the evidence is of another scene."""
SAMPLE_SCENES = 4
"""Held-out scenes of which a training makes sample videos, the first by name."""


def scene_names(data: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Names of the rendered scenes, per split; `open-03-2` is variant 2 of open-domain prompt 3."""
    return _scene_names(
        *(int(data[key]) for key in ("train_scenes", "held_out_scenes", "open_prompts", "open_variants"))
    )


@lru_cache(maxsize=32)  # a plan asks for each kind of job
def _scene_names(train: int, held_out: int, prompts: int, variants: int) -> Mapping[str, Sequence[str]]:
    return {
        "train": tuple(f"train-{i:04d}" for i in range(train)),
        "held_out": tuple(f"held-{i:04d}" for i in range(held_out)),
        "open": tuple(f"open-{p:02d}-{v}" for p in range(prompts) for v in range(variants)),
    }


def case_id(pool: str, scene: str, start: int) -> str:
    """The id of a case that begins with a frame of a scene."""
    return f"{pool}/{scene}/{start}"


def scene_of(case: str) -> str:
    """The scene in the id of a case."""
    return case.split("/")[1]


def grouped(case: str, group: str) -> str:
    """The id of a case as one of a group."""
    return f"{case}{GROUP_MARK}{group}"


def chosen(ids: Iterable[str], wanted: int) -> list[str]:
    """The `wanted` first ids by their sha256 (0: all), sorted: a choice that others hardly change."""
    ordered = sorted(ids, key=lambda one: hashlib.sha256(one.encode("utf-8")).digest())
    return sorted(ordered[: wanted or len(ordered)])


def other_scene(case: str, scenes: Iterable[str]) -> str | None:
    """The scene that stands for another one in a case; None: there is none.

    That whose hash with the case is the smallest (rendezvous hashing), so that a scene more rarely changes the choice.
    """
    return min(scenes, key=lambda scene: hashlib.sha256(f"{case}\n{scene}".encode()).digest(), default=None)


def other_layouts(scene: str, scenes: Sequence[str]) -> list[str]:
    """The scenes of another layout than a scene's; those of another scene where all share one.

    Variants of a prompt, `open-03-2`, share theirs.
    """
    prompt = scene.rpartition("-")[0] if scene.startswith("open-") else scene
    elsewhere = [one for one in scenes if not one.startswith(prompt)]
    return elsewhere or [one for one in scenes if one != scene]


def cases_of_worlds(branch: str, section: Mapping[str, Any], data: Mapping[str, Any]) -> list[str] | None:
    """Ids of a branch's cases in a rendered pool, as many as there are of those asked for; None: an unknown branch."""
    names, moves, wanted = scene_names(data), int(data["chunk_frames"]) - 1, int(section["cases"])
    split = "open" if branch in OPEN else "held_out"
    starts: Sequence[int] = (0,)
    if branch == "replay":
        starts = range(0, SCENE_CHUNKS * moves + 1 - int(section["chunks"]) * moves, START_CHUNKS * moves)
    found = chosen((case_id(WORLDS, scene, start) for scene in names[split] for start in starts), wanted)
    if branch == "absence":
        return [grouped(case, f"gap{gap}") for gap in section["gaps"] for case in found]
    if branch == "sensitivity":
        return [grouped(case, kind) for kind in (AS_IT_IS, *section["perturb"]) for case in found]
    return found if branch in ("replay", "loop", "return") else None
