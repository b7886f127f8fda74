"""What a judge's total is worth: nothing in a case in which the camera did not leave (study.md section 7).

Derived whenever results are read, from the stages `judge` and `camera`. Standard library only.
"""

from workloads.contract.derived import DerivedMetric
from workloads.study.stages import JUDGED

GATED, AT_MOST = "judge_gated", "judge_gated_most"


def gated(judge: float, left: float) -> float:
    """The total of a case that left, 0 of any other: also of one whose turn cannot be measured."""
    return judge if left else 0.0


def at_most(judge: float, left: float, measurable: float, refused: float) -> float:
    """A bound: as if every case whose turn cannot be measured had left, unless it is refused for its way back."""
    return judge if left or not (measurable or refused) else 0.0


DERIVED = (
    DerivedMetric(name=GATED, of=("judge", "camera_left"), value=gated, branches=JUDGED),
    DerivedMetric(
        name=AT_MOST,
        of=("judge", "camera_left", "camera_measurable", "camera_refused"),
        value=at_most,
        branches=JUDGED,
    ),
)
