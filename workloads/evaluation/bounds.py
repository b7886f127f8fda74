"""The stage bound: known frames in place of generated ones, measured and judged by the same code (study.md section 7).

One job makes the videos of all rows of family `bound` on a branch. It needs no model, so it waits for no training. It
publishes what `evaluate`, `judge` and `camera` publish of one row, for each row in the folder of its part, but no
frames: `{part}/cases.jsonl`, `{part}/cases.json`, `{part}/strips/`, `{part}/samples/`.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from workloads.contract.request import Request
from workloads.contract.workload import REFERENCES
from workloads.data.pool import SPLITS, Pool
from workloads.evaluation import gating, judging
from workloads.evaluation.adversaries import VIDEOS, Known, NoMeaning
from workloads.evaluation.branches.interface import Frames
from workloads.evaluation.cases import Setting
from workloads.evaluation.evaluate import branch_of, measuring, publish, settings_of
from workloads.evaluation.finished import save_frames
from workloads.evaluation.values import CaseMetric, read_values, write_values
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.memory.families import row_from
from workloads.study.scenes import other_layouts, other_scene
from workloads.study.stages import JUDGED

Made = TypeVar("Made")


def run(request: Request, progress: Progress) -> StageOutcome:
    """Measure and judge every row of `config.references` on one branch; rank 0 does all of it.

    Raises:
        BadInput: a row that shows no known frames, or what `evaluate` and `judge` refuse.
    """
    if request.rendezvous.rank > 0:
        return StageOutcome(steps=0)
    branch, pool = branch_of(request), Pool.open(request.inputs["data"], request.reads.get("data"))
    chunk_frames = int(pool.data["chunk_frames"])
    settings = settings_of(request, branch, pool)
    networks = measuring(branch, request, (int(pool.data["height"]), int(pool.data["width"])))
    truth_of = _once_a_case(partial(branch.truth, pool=pool))
    known_of = _once_a_case(partial(known_of_case, pool, truth_of))
    views_of = _once_a_case(partial(judging.tail_views, request, pool))
    rows: Mapping[str, Mapping[str, Any]] = request.config[REFERENCES]
    left_out: dict[str, str] = {}
    asked: dict[str, Mapping[str, Any]] = {}
    for number, (part, row) in enumerate(rows.items()):
        if progress.stopping:
            return StageOutcome(steps=number, stopped=True)
        shows, made = row_from(row).known_frames, Path(request.work) / "made" / part
        progress.at(number, len(rows), f"{request.branch}, {shows}")
        (made / "frames").mkdir(parents=True, exist_ok=True)
        shown, why = show(shows, settings, known_of, made / "frames")
        if not shown:
            left_out[part] = why
            continue
        values = publish(branch, shown, pool, made, chunk_frames, networks, truth_of)
        judged = scored(request, made, progress, views_of)
        if judged is None:
            return StageOutcome(steps=number, stopped=True)
        lines, of_judge = judged
        if of_judge:
            asked[part] = of_judge
        write_values(made / "cases.jsonl", [*values, *lines])
        shutil.rmtree(made / "frames")
        shutil.move(made, Path(request.out) / part)
    records: dict[str, Any] = {"left_out": left_out}  # `workloads.contract.workload.LEFT_OUT`
    if asked:  # a judge that may give no answer; by row, as `left_out`
        records["judge_rubric"] = {part: of_judge["judge_rubric"] for part, of_judge in asked.items()}
        records["judge_missing"] = {part: of_judge["judge_missing"] for part, of_judge in asked.items()}
    if networks.weights:
        records["measuring_weights"] = dict(networks.weights)
    return StageOutcome(steps=len(rows), records=records)


def show(
    shows: str, settings: list[Setting], known_of: Callable[[Setting], Known], videos: Path
) -> tuple[list[Setting], str]:
    """Write the videos of the cases that this can be shown of; returns these, and why others cannot.

    Raises:
        BadInput: nothing is called so.
    """
    if shows not in VIDEOS:
        raise BadInput(f"a reference row shows {shows!r} instead of generating; allowed: {', '.join(VIDEOS)}")
    shown, why = [], ""
    for setting in settings:
        try:
            save_frames(videos, setting, VIDEOS[shows](known_of(setting)))
            shown.append(setting)
        except NoMeaning as error:
            why = str(error)
    return shown, why


def known_of_case(pool: Pool, truth_of: Callable[[Setting], Frames | None], setting: Setting) -> Known:
    """What is known of a case; the other world is of another layout where there is one."""
    scenes = next(pool.scenes(split) for split in SPLITS if setting.scene in pool.scenes(split))
    other = other_scene(setting.id, other_layouts(setting.scene, scenes))
    world = None if other is None else pool.world(other)
    return Known(
        source=pool.frames(setting.scene, [setting.start])[0],
        poses=setting.poses,
        chunk_frames=int(pool.data["chunk_frames"]),
        truth=truth_of(setting),
        world=pool.world(setting.scene),
        other=world,
        other_pose=None if world is None else world.first_pose,
    )


def scored(
    request: Request, made: Path, progress: Progress, views_of: judging.ViewsOf
) -> tuple[list[CaseMetric], dict[str, Any]] | None:
    """What the stages after an evaluation say of the videos in `made`, and what a judge recorded of how it answered.

    None: asked to stop.
    """
    inputs = {"data": request.inputs["data"], "evaluate": str(made)}
    found: list[CaseMetric] = []
    of_judge: dict[str, Any] = {}
    for name, stage in (("judge", partial(judging.run, views_of=views_of)), ("camera", gating.run)):
        if request.branch not in JUDGED:
            continue
        out = made.with_name(f"{made.name}-{name}")
        out.mkdir(exist_ok=True)
        outcome = stage(replace(request, inputs=inputs, out=str(out), finished=()), _Within(progress))
        if outcome.stopped:
            return None
        of_judge = dict(outcome.records) if name == "judge" else of_judge
        found += read_values(out / "cases.jsonl")
    return found, of_judge


class _Within(Progress):
    """A part of an attempt: it is asked to stop with the whole, and writes nothing."""

    def __init__(self, whole: Progress) -> None:
        super().__init__(Path(), writes=False)
        self._whole = whole

    @property
    def stopping(self) -> bool:
        """Whether the whole has been asked to stop."""
        return self._whole.stopping


def _once_a_case(make: Callable[[Setting], Made]) -> Callable[[Setting], Made]:
    """`make`, of which each case is remembered: all rows look at the same."""
    known: dict[str, Made] = {}

    def remembered(setting: Setting) -> Made:
        if setting.id not in known:
            known[setting.id] = make(setting)
        return known[setting.id]

    return remembered
