"""Items of the study's jobs: scenes of a rendered pool, the cases of evaluations, and numbers of steps.

The scenes of a real pool are known only once it has been read, so that jobs of scenes and cases have none there.
Standard library only.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from workloads.contract.stage import StageSpec
from workloads.contract.workload import Items
from workloads.study.scenes import (
    FOREIGN,
    GROUP_MARK,
    OPEN,
    SAMPLE_SCENES,
    WORLDS,
    cases_of_worlds,
    other_layouts,
    other_scene,
    scene_names,
    scene_of,
)
from workloads.study.schedule import stable_steps, step_item


def items_of(
    stage: StageSpec, branch: str | None, controls: Mapping[str, Any], section: Mapping[str, Any] | None
) -> Items | None:
    """See `Workload.items`."""
    data, training = controls["data"], controls["training"]
    if stage.name == "index":  # its own number of steps, whatever else it reads
        return {step_item(int(training["steps"])): {}}
    if stage.name == "train":  # of the index it reads as many steps as the item says: of every longer one too
        stable = stable_steps(training)
        return None if stable is None else {step_item(stable): {"index": ()}}
    if data["source"] != WORLDS:
        return None
    if stage.name in ("data", "latents"):
        scenes = [scene for names in scene_names(data).values() for scene in names]
        return {scene: {need: (scene,) for need in stage.inputs} for scene in scenes}
    if branch is None or section is None:
        return None
    cases = cases_of_worlds(branch, section, data)
    if cases is None:
        return None
    split = scene_names(data)["open" if branch in OPEN else "held_out"]
    return {case: _read_by(stage, case, split) for case in cases}


def reads_of(stage: StageSpec, controls: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
    """See `Workload.reads`."""
    data = controls["data"]
    if data["source"] != WORLDS or stage.name not in ("index", "train"):
        return {}
    names = scene_names(data)
    if stage.name == "index":
        return {"data": names["train"]}
    return {"latents": [*names["train"], *names["held_out"][:SAMPLE_SCENES]]}


def _read_by(stage: StageSpec, case: str, scenes: Sequence[str]) -> Mapping[str, Collection[str]]:
    scene = scene_of(case)
    if "evaluate" in stage.inputs:
        return {"evaluate": (case,), "data": (scene,)}
    read = {scene}
    if stage.row == "references":
        read |= {other_scene(case, other_layouts(scene, scenes)) or scene}
    elif case.endswith(f"{GROUP_MARK}{FOREIGN}"):
        read |= {foreign_scene(case, scenes) or scene}
    return {need: tuple(sorted(read)) for need in stage.inputs if need in ("data", "latents")}


def foreign_scene(case: str, scenes: Collection[str]) -> str | None:
    """The scene of which a frame stands in the evidence of a case; None: there is no other."""
    return other_scene(case, [one for one in scenes if one != scene_of(case)])
