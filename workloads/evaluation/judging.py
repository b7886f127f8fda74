"""The stage judge: score the tails of a branch's videos, and write them as `cases.jsonl` (study.md section 7, Judge).

The judge's name is its unit's suffix (`points:mask`), so that scores of two judges are never one column.
"""

from pathlib import Path

from workloads.contract.request import Request
from workloads.contract.stages import JUDGED
from workloads.data.pool import Pool
from workloads.errors import BadInput
from workloads.evaluation.cases import Setting, read_settings
from workloads.evaluation.finished import load_frames
from workloads.evaluation.judge_mask import Scores, judge, tail, views_around
from workloads.evaluation.values import CaseValue, means, write_values
from workloads.progress import Outcome, Progress

MASK = "mask"


def run(request: Request, progress: Progress) -> Outcome:
    """Judge every case of an evaluation. A score that cannot be given is missing, never zero.

    Raises:
        BadInput: a judge that this version does not have, a branch that is not judged, or a pool without truth.
    """
    section = request.config["judge"]
    if section["name"] != MASK:
        raise BadInput(
            f"controls.judge.name is {section['name']!r}, which cannot be run by this version (it can be planned); "
            f"allowed: {MASK}"
        )
    if request.branch not in JUDGED:
        raise BadInput(f"request.json: branch is {request.branch!r}; judged are {', '.join(JUDGED)}")
    pool = Pool.open(request.inputs["data"])
    evaluated = Path(request.inputs["evaluate"])
    settings = read_settings(evaluated / "cases.json")
    values: list[CaseValue] = []
    for number, setting in enumerate(settings):
        if progress.stopping:
            return Outcome(steps=number, stopped=True)
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
            values += lines(setting, scores)
    write_values(Path(request.out) / "cases.jsonl", values)
    for name, value in means(values).items():
        progress.metric(0, name, value)
    return Outcome(steps=len(settings))


def lines(setting: Setting, scores: Scores) -> list[CaseValue]:
    """The scores of one case as lines; what could not be judged has none."""
    named = {
        "judge": scores.total,
        "judge_appearance": scores.appearance,
        "judge_presence": scores.presence,
        "judge_view": scores.view,
        "judge_scene": scores.scene,
    }
    unit = f"points:{MASK}"
    return [CaseValue(setting.id, name, unit, "high", value) for name, value in named.items() if value is not None]
