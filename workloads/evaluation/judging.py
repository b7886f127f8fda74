"""The stage judge: score the tails of a branch's videos, and write them as `cases.jsonl` (study.md section 7, Judge).

The judge's name is its unit's suffix (`points:mask`), so that scores of two judges are never one column.
"""

from pathlib import Path

from workloads.contract.request import Request
from workloads.data.pool import Pool
from workloads.evaluation import judge_vlm
from workloads.evaluation.cases import read_settings
from workloads.evaluation.finished import load_frames
from workloads.evaluation.judge_lines import score_lines
from workloads.evaluation.judge_mask import judge, tail, views_around
from workloads.evaluation.values import CaseMetric, means, write_values
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.stages import JUDGED

MASK, VLM = "mask", "vlm"


def run(request: Request, progress: Progress) -> StageOutcome:
    """Judge every case of an evaluation. A score that cannot be given is missing, never zero.

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
    return by_mask(request, progress)


def by_mask(request: Request, progress: Progress) -> StageOutcome:
    """Judge by the renderer's truth.

    Raises:
        BadInput: a pool without truth.
    """
    section = request.config["judge"]
    pool = Pool.open(request.inputs["data"])
    evaluated = Path(request.inputs["evaluate"])
    settings = read_settings(evaluated / "cases.json")
    values: list[CaseMetric] = []
    for number, setting in enumerate(settings):
        if progress.stopping:
            return StageOutcome(steps=number, stopped=True)
        progress.at(number, len(settings), f"judging {request.branch}")
        world = pool.world(setting.scene)
        if world is None:
            raise BadInput(
                f"controls.judge.name is {MASK!r}, which needs the truth of a rendered world, but the pool is "
                f"{pool.name!r}; allowed: controls.data.source: worlds"
            )
        frames = load_frames(evaluated / "frames", setting)
        last = tail(setting.poses, int(section["tail_frames"]), float(section["min_overlap"]))
        if len(last):
            scores = judge(views_around(world, setting.poses[0], setting.poses[last]), frames[last])
            values += score_lines(setting.id, f"points:{MASK}", scores)
    write_values(Path(request.out) / "cases.jsonl", values)
    for name, value in means(values).items():
        progress.metric(0, name, value)
    return StageOutcome(steps=len(settings))
