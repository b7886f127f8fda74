"""False verdicts: how often the study's findings say what is not so, in simulated worlds (`make calibrate`).

A drawn study (`reports/statistics/calibration/worlds.py`) gets this study's rows, metrics and costs, and is asked every
question. "Supported" is false where the claim is not true of the world's true means, "contradicted" where its opposite
is not. Of equal rows both are false, but for two: reading the spatial store changes nothing, and the cheapest row is
the most efficient one on both branches.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from reports.findings import Material, findings
from reports.statistics.agreement import kendall
from reports.statistics.calibration.command import calibration
from reports.statistics.calibration.page import above_level
from reports.statistics.calibration.quantities import Outcome, Rate
from reports.statistics.calibration.run import calibrate, progress_line
from reports.statistics.calibration.worlds import FIRST, SECOND, CalibrationWorld, DrawnStudy
from reports.statistics.intervals import ALPHA
from reports.statistics.inversions import inversions
from reports.statistics.panel import Floats, Panel
from reports.statistics.scores import branch_score, normalised, scoring
from reports.statistics.table import analyse
from workloads.study.effects import MARGIN_DB
from workloads.study.findings import AGREES, QUESTIONS
from workloads.study.report import REPORT

MARKS = "<!-- false verdicts: begin -->", "<!-- false verdicts: end -->"
STUDIES = 300

ANY, CHANCE = "some verdict", "number of inversions"
"""Quantities: whether any verdict of a study is false; whether its inversions are called more than noise gives."""

TABLE = ("context-k1", "context-k5", "context-k20", "spatial", "compress-weight", "ssm-hybrid", "ssm-blockwise")
BESIDE = ("compress-length-r2", "compress-length-r4", "compress-hybrid-r2", "compress-hybrid-r4", "ssm-place")
ROWS = (*TABLE, *BESIDE, "ssm-hybrid-place")

METRICS = {
    f"{FIRST}/a": "replay/psnr",
    f"{FIRST}/b": "replay/ssim",
    f"{FIRST}/c": "replay/rf_distance",
    f"{SECOND}/score": "return/judge_gated",
}
COST = dict(zip(ROWS, np.linspace(1.0, 4.0, len(ROWS)).tolist(), strict=True))

EQUAL = 1e-9
VERDICTS = ("supported", "contradicted")

PREFIX = "findings, "
WORLDS: tuple[CalibrationWorld, ...] = (
    CalibrationWorld(name=f"{PREFIX}equal rows, two seeds", rows=len(ROWS), truth="equal rows", seeds=2),
    CalibrationWorld(name=f"{PREFIX}equal rows", rows=len(ROWS), truth="equal rows"),
    CalibrationWorld(
        name=f"{PREFIX}equal rows, scatter of seeds large", rows=len(ROWS), truth="equal rows", of_seeds=0.95
    ),
    CalibrationWorld(name=f"{PREFIX}equal rows, uneven", rows=len(ROWS), truth="equal rows", uneven=True, of_seeds=0.9),
    CalibrationWorld(name=f"{PREFIX}equal rows, heavy tails", rows=len(ROWS), truth="equal rows", heavy=True),
    CalibrationWorld(name=f"{PREFIX}equal rows, 8 and 4 scenes", rows=len(ROWS), truth="equal rows", scenes=(8, 4)),
    CalibrationWorld(name=f"{PREFIX}equal rows, little noise", rows=len(ROWS), truth="equal rows", noise=0.02),
    CalibrationWorld(name=f"{PREFIX}equal rows, five seeds", rows=len(ROWS), truth="equal rows", seeds=5, of_seeds=0.9),
    CalibrationWorld(name=f"{PREFIX}parallel, two seeds", rows=len(ROWS), truth="r = 1", seeds=2, of_seeds=0.9),
    CalibrationWorld(name=f"{PREFIX}parallel", rows=len(ROWS), truth="r = 1", of_seeds=0.9),
    CalibrationWorld(name=f"{PREFIX}parallel, little noise", rows=len(ROWS), truth="r = 1", noise=0.1, shared=0.7),
    CalibrationWorld(name=f"{PREFIX}parallel, five seeds", rows=len(ROWS), truth="r = 1", seeds=5, noise=0.15),
    CalibrationWorld(name=f"{PREFIX}same order, not linear", rows=len(ROWS), truth="same order", noise=0.15),
    CalibrationWorld(name=f"{PREFIX}near ties", rows=len(ROWS), truth="near ties", noise=0.2),
    CalibrationWorld(name=f"{PREFIX}related", rows=len(ROWS), noise=0.1, of_seeds=0.9),
    CalibrationWorld(name=f"{PREFIX}the last seed half done", rows=len(ROWS), noise=0.2, half_done=True),
)


def verdicts_of(study: DrawnStudy) -> Iterator[Outcome]:
    """Every finding of one study: whether its verdict is false; None: it has none."""
    material, true = material_of(study), right_verdicts(study)
    mistaken = False
    for finding in findings(QUESTIONS, [material]):
        verdict = finding["verdict"]
        false = None if verdict not in VERDICTS else verdict not in true[finding["id"]]
        mistaken |= bool(false)
        yield f"finding {finding['id']}", false
    yield ANY, mistaken
    count = inversions(material.table, material.panels).count
    if true_tau(study) > 1.0 - EQUAL and count is not None and count.p is not None:
        yield CHANCE, count.p <= ALPHA


def material_of(study: DrawnStudy) -> Material:
    """A drawn study as the findings see it: this study's rows, metrics and costs.

    Raises:
        ValueError: it has another number of rows.
    """
    panels = _panels(study)
    means = {
        name: {row: float(mean) for row, mean in zip(ROWS, panel.means(), strict=True) if np.isfinite(mean)}
        for name, panel in panels.items()
    }
    computed_by = {row: row for row in ROWS}
    better = {name: panel.better for name, panel in panels.items()}
    scored = scoring(REPORT.branches, REPORT.contrast, REPORT.metrics.keys(), better)
    table = analyse(TABLE, computed_by, means, scored)
    return Material(
        table=table,
        computed_by=computed_by,
        means=means,
        panels=panels,
        cost=COST,
        cost_name="simulated",
        pool=ROWS,
        seeds=next(iter(panels.values())).seeds,
        units="scenes",
    )


def right_verdicts(study: DrawnStudy) -> dict[str, frozenset[str]]:
    """Finding -> the verdicts that are true of the world's means."""
    true = {METRICS[name]: values for name, values in study.true.items()}
    replay, table = _true_scores(study)
    back = true["return/judge_gated"]
    of = dict(zip(ROWS, back.tolist(), strict=True))
    psnr = dict(zip(ROWS, true["replay/psnr"].tolist(), strict=True))
    price = normalised(np.array([COST[row] for row in TABLE]))
    efficient = [normalised(scores) - price for scores in (replay, table)]
    best = [_best(values) for values in efficient]
    opposite = (replay[:, None] - replay > EQUAL) & (table[:, None] - table < -EQUAL)
    hybrid = np.mean([of[f"compress-hybrid-r{r}"] - of[f"compress-length-r{r}"] for r in (2, 4)])
    reading = psnr["spatial"] - psnr["context-k1"]
    shares = [_share(scores) for scores in (replay, table)]
    parts = [shares[1] - shares[0], (of["context-k5"] - of["context-k1"]) - (of["context-k20"] - of["context-k1"]) / 2]
    return {
        "1": _verdicts(bool(opposite.any()), true_tau(study) > AGREES),
        "2": _verdicts(min(parts) > EQUAL, min(parts) < -EQUAL),
        "3": _verdicts(hybrid < -EQUAL, hybrid > EQUAL),
        "4": _verdicts(abs(reading) < MARGIN_DB, reading > MARGIN_DB),
        "5": _signed(of["ssm-blockwise"] - of["ssm-hybrid"]),
        "5b": _signed(of["ssm-place"] - of["ssm-hybrid-place"]),
        "6": _verdicts(not best[0] & best[1], best[0] == best[1] and len(best[0]) == 1),
    }


def true_tau(study: DrawnStudy) -> float:
    """Kendall's tau of the world's scores in the table; NaN for equal rows."""
    return float(kendall(*_true_scores(study)))


def markdown(rates: Sequence[Rate]) -> str:
    """A world a line: per cent of studies with a false verdict, and of each finding false of how many verdicts."""
    names = list(dict.fromkeys(rate.quantity for rate in rates))
    by_name = {(rate.world, rate.quantity): rate for rate in rates}
    lines = [f"| world | {' | '.join([ANY, *(name for name in names if name != ANY)])} |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for world in dict.fromkeys(rate.world for rate in rates):
        cells = [_cell(by_name.get((world, name)), name) for name in [ANY, *(one for one in names if one != ANY)]]
        lines.append(f"| {world.removeprefix(PREFIX)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def too_often(rate: Rate) -> bool:
    """Whether studies of a world have false verdicts more often than may be by the chance of the simulation."""
    return rate.quantity in (ANY, CHANCE) and above_level(rate.missed, rate.studies)


def simulate(studies: int, processes: int) -> tuple[str, Sequence[str]]:
    """The table, and what is false too often."""
    found = calibrate(WORLDS, studies, processes, asked=verdicts_of, told=progress_line)
    often = [rate for rate in found if too_often(rate)]
    return (
        f"{studies} studies of each world.\n\n{markdown(found)}",
        [f"{rate.quantity} in {rate.world}: {rate.missed} of {rate.studies}" for rate in often],
    )


def _panels(study: DrawnStudy) -> dict[str, Panel]:
    if len(study.rows) != len(ROWS):
        raise ValueError(f"a study has {len(study.rows)} rows; the findings need {len(ROWS)}: {', '.join(ROWS)}")
    return {METRICS[name]: replace(panel, metric=METRICS[name], rows=ROWS) for name, panel in study.panels.items()}


def _cell(rate: Rate | None, name: str) -> str:
    if rate is None:
        return "–"
    if name in (ANY, CHANCE):
        share = f"{100 * rate.missed / rate.studies:.1f}"
        return f"**{share}**" if too_often(rate) else share
    return f"{rate.missed} of {rate.printed}" if rate.printed else "–"


def _true_scores(study: DrawnStudy) -> tuple[Floats, Floats]:
    """True scores of the table's rows on both branches."""
    true = {METRICS[name]: values[: len(TABLE)] for name, values in study.true.items()}
    return branch_score(REPORT.branches[0], true, len(TABLE)), true["return/judge_gated"]


def _verdicts(claim: bool, opposite: bool) -> frozenset[str]:
    return frozenset(verdict for verdict, true in (("supported", claim), ("contradicted", opposite)) if true)


def _signed(effect: float) -> frozenset[str]:
    return _verdicts(effect > EQUAL, effect < -EQUAL)


def _best(values: Floats) -> frozenset[int]:
    return frozenset(np.flatnonzero(values >= values.max() - EQUAL).tolist())


def _share(scores: Floats) -> float:
    """K=20's gain over K=1 in shares of the range; 0 where there is no range."""
    spread = float(np.ptp(scores))
    return float(scores[2] - scores[0]) / spread if spread > EQUAL else 0.0


if __name__ == "__main__":
    sys.exit(calibration("workloads.study.calibration", __doc__, STUDIES, MARKS, simulate))
