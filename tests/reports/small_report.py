"""A made-up study of two branches, a floor and a ceiling: its means are what a test says."""

from collections.abc import Mapping, Sequence

import numpy as np

from reports.input import ControlsCertificate, ReportInput, ResultLine, RowInfo
from reports.spec import BranchSpec, ReferenceSpec, ReportSpec, ScorePart, Words

SPEC = ReportSpec(
    branches=(
        BranchSpec(name="near", score=(ScorePart(metric="points"),)),
        BranchSpec(name="far", score=(ScorePart(metric="points"),)),
    ),
    contrast=("near", "far"),
    decimals={"points": 1},
    references=ReferenceSpec(ceiling="all", floor="idle", baseline="plain", floor_name="does nothing"),
    words=Words(
        units="cases", row="method", rows="methods", best="does best", nothing="no method is shown to do a thing"
    ),
)
FLOOR = {"idle": 0.0, "all": 100.0}


def small_study(
    near: Mapping[str, float],
    far: Mapping[str, float],
    seeds: Sequence[int] = (0, 1, 2),
    noise: float = 1.0,
    spec: ReportSpec = SPEC,
) -> ReportInput:
    """Eight scenes; every row's mean on a branch, with noise that no two rows share."""
    own = np.random.Generator(np.random.Philox(key=11))
    values = [
        ResultLine(
            row=row,
            seed=seed,
            axes="",
            branch=branch,
            case=f"case-{scene}",
            metric="points",
            unit="points",
            better="high",
            value=mean if row in FLOOR else mean + noise * float(own.normal()),
        )
        for branch, means in (("near", near), ("far", far))
        for row, mean in means.items()
        for seed in seeds
        for scene in range(8)
    ]
    names = dict.fromkeys((*near, *far))
    return ReportInput(
        study="made",
        profile="small",
        git="",
        seeds=seeds,
        rows=[RowInfo(name=name, family="f", alias_of=None, reference=name in FLOOR) for name in names],
        tables={},
        values=values,
        missing=[],
        sections={},
        costs=[],
        strips=[],
        curves=[],
        controls=ControlsCertificate(),
        notes=["Made of numbers.", "A second note."],
        spec=spec,
    )
