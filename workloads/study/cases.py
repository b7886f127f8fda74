"""Case counts: refuses a plan whose rendered pool will have fewer cases than its evaluations need.

The held-out scenes of a real pool are known only after its data stage, so that its evaluation checks them.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from workloads.contract.planned import Planned, PlannedCell, SceneCount
from workloads.study.scenes import OPEN, SCENE_CHUNKS, START_CHUNKS, WORLDS

MEASURE = ("evaluate", "bound")
"""Stages that need a branch's cases."""


def missing_cases(plan: Planned, selected: Collection[str] | None = None) -> str:
    """Why a branch of the plan will not have the cases that it needs: key, value and how many there will be; or empty.

    Args:
        plan: as built.
        selected: ids of jobs; evaluations that are not among them are left out. None: all.
    """
    for job in plan.jobs.values():
        if job.branch is None or job.stage not in MEASURE or (selected is not None and job.id not in selected):
            continue
        data, section = plan.jobs[job.inputs["data"]].config["data"], job.config["branch"]
        if data["source"] != WORLDS:
            continue
        held = cases_of(job.branch, section, data)
        if held is None:
            continue
        wanted = section["cases"]
        if not held:
            return (
                f"{job.label}: branches.{job.branch}.chunks is {section['chunks']}, but a rendered scene has "
                f"{SCENE_CHUNKS}; allowed: 1 to {SCENE_CHUNKS}"
            )
        if wanted > held:
            return (
                f"{job.label}: branches.{job.branch}.cases is {wanted}, but the pool will hold {held} such cases; "
                f"allowed: 1 to {held}, 0 for all; lower it, make the pool larger (controls.data), or leave the "
                "branch out (--branches)"
            )
    return ""


def cases_of(branch: str, section: Mapping[str, Any], data: Mapping[str, Any]) -> int | None:
    """Cases of a branch in a rendered pool, those of one group where it has several (`chunks_of`).

    None for a branch whose cases are counted by its evaluation only.
    """
    if branch in OPEN:
        return int(data["open_prompts"] * data["open_variants"])
    if branch == "loop":
        return int(data["held_out_scenes"])
    if branch != "replay":
        return None
    moves = data["chunk_frames"] - 1
    starts = range(0, SCENE_CHUNKS * moves + 1 - section["chunks"] * moves, START_CHUNKS * moves)
    return int(data["held_out_scenes"]) * len(starts)


def scenes(cells: Sequence[PlannedCell]) -> Mapping[str, SceneCount]:
    """Branch -> scenes of its cases, of those that start from the open domain and of all in a rendered pool.

    The variants of an open-domain prompt are one scene.
    """
    found: dict[str, SceneCount] = {}
    for branch, section in cells[0].branches.items() if cells else ():
        data, is_open = cells[0].controls["data"], branch in OPEN
        if is_open or data["source"] == WORLDS:
            key = "open_prompts" if is_open else "held_out_scenes"
            number = min(int(data[key]), section["cases"] or int(data[key]))
            found[branch] = SceneCount(number=number, key=f"controls.data.{key}")
    return found


def chunks_of(branch: str, section: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Chunks of a case, for each group of a branch's cases; None for a branch that is not known here."""
    if branch == "absence":
        return tuple(2 * len(section["away_deg"]) + gap for gap in section["gaps"])
    if branch == "sensitivity":
        return (len(section["turns_deg"]),) * (1 + len(section["perturb"]))
    if "turns_deg" in section:
        return (len(section["turns_deg"]),)
    return (int(section["chunks"]),) if "chunks" in section else None
