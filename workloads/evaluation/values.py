"""One measured value of one case: a line of `cases.jsonl` (design, Metric names)."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

POOLED = "all"
"""Case of a metric that is computed over all cases together."""


@dataclass(frozen=True)
class CaseMetric:
    """A line of `cases.jsonl`."""

    case: str
    """`{pool}/{scene}/{first frame}`, or `POOLED`."""
    metric: str
    unit: str
    better: Literal["high", "low"]
    value: float


def write_values(path: Path, values: Iterable[CaseMetric]) -> None:
    """Write `cases.jsonl`, sorted, floats by `repr`; a value that is not finite is missing, so it has no line."""
    kept = sorted((v for v in values if math.isfinite(v.value)), key=lambda v: (v.case, v.metric))
    text = "".join(json.dumps({**asdict(v), "value": float(v.value)}, ensure_ascii=False) + "\n" for v in kept)
    path.write_text(text, encoding="utf-8")


def means(values: Iterable[CaseMetric]) -> dict[str, float]:
    """Mean over cases of each metric, per-chunk ones left out: what is shown while a study runs."""
    found: dict[str, list[float]] = {}
    for v in values:
        if math.isfinite(v.value) and "@" not in v.metric:
            found.setdefault(v.metric, []).append(v.value)
    return {name: math.fsum(each) / len(each) for name, each in sorted(found.items())}
