"""The scores of one case as lines of `cases.jsonl`, the same five names whichever judge gave them."""

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.values import CaseMetric


def score_lines(case: str, unit: str, scores: Scores) -> list[CaseMetric]:
    """Total and parts of one case; what could not be judged has no line.

    Args:
        unit: `points:{judge}`, so that scores of two judges are never one column.
    """
    named = {
        "judge": scores.total,
        "judge_appearance": scores.appearance,
        "judge_presence": scores.presence,
        "judge_view": scores.view,
        "judge_scene": scores.scene,
    }
    return [CaseMetric(case, name, unit, "high", value) for name, value in named.items() if value is not None]
