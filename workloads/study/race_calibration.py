"""Simulated races of grids like the evening of 2026-11-30 (`make calibrate`): errors, and what is saved.

Rows, effects and variances are those of its twenty trained rows, against `context-k1` on the gated judge of return, 8
scenes and three seeds; the variances as in `workloads/study/pilot.json` (`reports.statistics.power.pilot_variance`).
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.statistics.calibration.command import calibration
from reports.statistics.calibration.races import RacedGrid, mistaken_too_often, race_rate, races_markdown
from workloads.study.effects import RACE

MARKS = "<!-- simulated races: begin -->", "<!-- simulated races: end -->"
GRIDS = 1000

EVENING: dict[str, tuple[float, float, float, float]] = {
    "compress-hybrid-r2": (39.23, 3.52, 13.45, 14.13),
    "compress-hybrid-r4": (25.44, 4.68, 0.33, 7.93),
    "compress-length-r2": (44.71, 5.17, 1.79, 5.08),
    "compress-length-r4": (27.06, 10.5, 4.71, 3.78),
    "context-k20": (53.34, 7.13, 5.82, 7.74),
    "context-k20-bearing": (60.15, 7.44, 11.81, 3.2),
    "context-k20-bearing-noyaw": (52.84, 12.22, 14.27, 4.98),
    "context-k5": (50.76, 9.99, 0.0, 12.06),
    "spatial": (-1.45, 2.21, 4.06, 4.2),
    "spatial-bearing": (46.97, 7.02, 2.93, 50.44),
    "spatial-bearing-noyaw": (1.33, 0.96, 3.69, 3.95),
    "spatial-masked": (-1.55, 0.75, 3.39, 4.07),
    "ssm-blockwise": (0.93, 0.5, 2.73, 2.02),
    "ssm-delta-bearing": (11.43, 15.63, 16.73, 10.99),
    "ssm-hybrid": (0.66, 0.0, 0.95, 2.67),
    "ssm-hybrid-place": (36.59, 8.41, 6.98, 4.54),
    "ssm-matrix-bearing": (12.15, 1.55, 39.82, 15.95),
    "ssm-place": (45.81, 0.93, 8.28, 3.41),
    "ssm-place-noyaw": (0.91, 0.0, 1.6, 1.85),
}
"""Row -> mean difference from the baseline, points, and its variances of scene, seed and rest."""
_NUMBERS = np.array(list(EVENING.values()))
AS_MEASURED = RacedGrid(
    name="as measured", effects=_NUMBERS[:, 0], variances=_NUMBERS[:, 1:], margin=RACE.margin, scenes=8, seeds=10
)
NOTHING = 2.0
"""Smaller measured effects are 0 in the grids whose lowest rows equal the baseline."""
FLOOR = replace(
    AS_MEASURED,
    name="as measured, six rows equal to the baseline",
    effects=np.where(np.abs(AS_MEASURED.effects) < NOTHING, 0.0, AS_MEASURED.effects),
)
EQUAL = replace(AS_MEASURED, name="all rows equal", effects=0.0 * AS_MEASURED.effects)
AT_MARGIN = replace(AS_MEASURED, name="all rows differ by the margin", effects=0.0 * AS_MEASURED.effects + RACE.margin)
RACES: tuple[RacedGrid, ...] = (
    AS_MEASURED,
    replace(AS_MEASURED, name="as measured, half of the scenes", scenes=4),
    replace(AS_MEASURED, name="as measured, five seeds", seeds=5),
    replace(AS_MEASURED, name="as measured, three seeds", seeds=3),
    FLOOR,
    replace(FLOOR, name=f"{FLOOR.name}, heavy tails", shape="heavy tails"),
    replace(FLOOR, name=f"{FLOOR.name}, skewed", shape="skewed"),
    EQUAL,
    replace(EQUAL, name="all rows equal, heavy tails", shape="heavy tails"),
    replace(EQUAL, name="all rows equal, skewed", shape="skewed"),
    replace(EQUAL, name="all rows equal, four scenes", scenes=4),
    replace(EQUAL, name="all rows equal, thirty seeds", seeds=30),
    replace(
        EQUAL,
        name="all rows equal, scenes vary most",
        variances=EQUAL.variances * np.array([10.0, 1.0, 1.0]) + np.array([50.0, 0.0, 0.0]),
    ),
    AT_MARGIN,
    replace(AT_MARGIN, name="all rows differ by the margin, skewed", shape="skewed"),
)


def simulate(grids: int, _: int) -> tuple[str, Sequence[str]]:
    """The table, and the grids with too many mistakes; in one process."""
    found = [race_rate(grid, grids) for grid in RACES]
    often = [f"mistakes in {rate.name}: {rate.mistaken} of {rate.grids}" for rate in found if mistaken_too_often(rate)]
    return f"{grids} grids of each kind; per cent.\n\n{races_markdown(found)}", often


if __name__ == "__main__":
    sys.exit(calibration("workloads.study.race_calibration", __doc__, GRIDS, MARKS, simulate))
