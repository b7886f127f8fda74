"""The stage camera: measure what the camera did in a branch's videos, and write it as `cases.jsonl` (study.md, 7).

It reads finished evaluations: neither training, generation nor judgement runs again for it. What a judge's total is
worth is derived from both (`workloads/study/gate.py`).
"""

from collections import Counter
from pathlib import Path
from typing import Any

from workloads.contract.request import Request
from workloads.data.pool import Pool
from workloads.evaluation.camera import Camera, measured, no_gate
from workloads.evaluation.cases import read_settings
from workloads.evaluation.finished import load_frames, taken_lines
from workloads.evaluation.values import CaseMetric, means, write_values
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.stages import JUDGED


def run(request: Request, progress: Progress) -> StageOutcome:
    """Measure every case of an evaluation; one along whose commanded poses this cannot be done has no values.

    Raises:
        BadInput: a branch that is not judged, or inputs that do not belong together.
    """
    if request.branch not in JUDGED:
        raise BadInput(f"request.json: branch is {request.branch!r}; measured are {', '.join(JUDGED)}")
    pool = Pool.open(request.inputs["data"], request.reads.get("data"))
    chunk_frames = int(pool.data["chunk_frames"])
    evaluated = Path(request.inputs["evaluate"])
    settings = read_settings(evaluated / "cases.json", request.items)
    known = taken_lines(request.finished)
    values: list[CaseMetric] = []
    without: Counter[str] = Counter()
    for number, setting in enumerate(settings):
        if progress.stopping:
            return StageOutcome(steps=number, stopped=True)
        progress.at(number, len(settings), f"measuring the camera of {request.branch}")
        if why := no_gate(setting.poses, chunk_frames):
            without[f"{request.branch} has no gate: {why}"] += 1
            continue
        if setting.id in known:
            values += known[setting.id]
            continue
        frames = load_frames(evaluated / "frames", setting)
        if len(frames) != len(setting.poses):
            raise BadInput(
                f"{evaluated}: the video of case {setting.id} has {len(frames)} frames, but cases.json commands "
                f"{len(setting.poses)} poses; evaluate again"
            )
        source = pool.frames(setting.scene, [setting.start])[0]
        values += lines_of(setting.id, measured(source, frames, setting.poses, chunk_frames))
    for why, cases in without.items():
        print(f"{why} ({cases} of {len(settings)} cases)", flush=True)
    write_values(Path(request.out) / "cases.jsonl", values)
    for name, value in means(values).items():
        progress.metric(0, name, value)
    records: dict[str, Any] = {}
    if without:
        records["no_gate"] = dict(without)  # why cases have no value -> how many: a note of the report
    return StageOutcome(steps=len(settings), records=records)


def lines_of(case: str, camera: Camera) -> list[CaseMetric]:
    """The values of one case."""
    return [
        CaseMetric(case, "camera_q", "1", "high", camera.q),
        CaseMetric(case, "camera_f", "1", "high", camera.f),
        CaseMetric(case, "camera_left", "1", "high", float(camera.left)),
        CaseMetric(case, "camera_refused", "1", "low", float(camera.refused)),
        CaseMetric(case, "camera_measurable", "1", "high", float(camera.measurable)),
    ]
