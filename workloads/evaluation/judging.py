"""The stage judge: score the tails of a branch's videos, and write them as `cases.jsonl` (study.md section 7, Judge).

The judge's name is its unit's suffix (`points:mask`), so that scores of two judges are never one column.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads.contract.request import Request
from workloads.data.pool import Pool
from workloads.evaluation import judge_vlm
from workloads.evaluation.cases import Setting, read_settings
from workloads.evaluation.finished import load_frames, taken_lines
from workloads.evaluation.judge_lines import score_lines
from workloads.evaluation.judge_mask import Views, judge, tail, views_around
from workloads.evaluation.values import CaseMetric, means, write_values
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.stages import JUDGED

MASK, VLM = "mask", "vlm"


ViewsOf = Callable[[Setting], tuple[npt.NDArray[np.int64], Views] | None]
"""The frames of a case's tail, by number, and the truth around them; None where no frame can be judged."""


def run(request: Request, progress: Progress, views_of: ViewsOf | None = None) -> StageOutcome:
    """Judge every case of an evaluation. A score that cannot be given is missing, never zero.

    Args:
        request: of the stage.
        progress: of the attempt.
        views_of: as `mask` draws them (`tail_views`); given by who judges the same cases several times.

    Raises:
        BadInput: an unknown judge, a branch that is not judged, or what the judge itself refuses.
    """
    name = request.config["judge"]["name"]
    if request.branch not in JUDGED:
        raise BadInput(f"request.json: branch is {request.branch!r}; judged are {', '.join(JUDGED)}")
    if name == VLM:
        return judge_vlm.run(request, progress)
    if name != MASK:
        raise BadInput(f"controls.judge.name is {name!r}; allowed: {MASK}, {VLM}")
    return by_mask(
        request,
        progress,
        views_of or partial(tail_views, request, Pool.open(request.inputs["data"], request.reads.get("data"))),
    )


def by_mask(request: Request, progress: Progress, views_of: ViewsOf) -> StageOutcome:
    """Judge by the renderer's truth.

    Raises:
        BadInput: a pool without truth.
    """
    evaluated = Path(request.inputs["evaluate"])
    settings = read_settings(evaluated / "cases.json", request.items)
    known = taken_lines(request.finished)
    values: list[CaseMetric] = []
    for number, setting in enumerate(settings):
        if progress.stopping:
            return StageOutcome(steps=number, stopped=True)
        progress.at(number, len(settings), f"judging {request.branch}")
        if setting.id in known:
            values += known[setting.id]
            continue
        found = views_of(setting)
        if found is not None:
            last, views = found
            scores = judge(views, load_frames(evaluated / "frames", setting, last.tolist()))
            values += score_lines(setting.id, f"points:{MASK}", scores)
    write_values(Path(request.out) / "cases.jsonl", values)
    for name, value in means(values).items():
        progress.metric(0, name, value)
    return StageOutcome(steps=len(settings))


def tail_views(request: Request, pool: Pool, setting: Setting) -> tuple[npt.NDArray[np.int64], Views] | None:
    """See `ViewsOf`.

    Raises:
        BadInput: a pool without truth.
    """
    section = request.config["judge"]
    world = pool.world(setting.scene)
    if world is None:
        raise BadInput(
            f"controls.judge.name is {MASK!r}, which needs the truth of a rendered world, but the pool is "
            f"{pool.name!r}; allowed: controls.data.source: worlds"
        )
    last = tail(setting.poses, int(section["tail_frames"]), float(section["min_overlap"]))
    return (last, views_around(world, setting.poses[0], setting.poses[last])) if len(last) else None
