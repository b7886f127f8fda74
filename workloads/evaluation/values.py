"""One measured value of one case: a line of `cases.jsonl` (design, Metric names)."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from workloads.runtime.errors import BadInput

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
    value: float | None
    """None: not defined for this case, so that it has no line and the report counts it as missing."""


def write_values(path: Path, values: Iterable[CaseMetric]) -> None:
    """Write `cases.jsonl`, sorted, floats by `repr`; what is not defined has no line.

    Raises:
        ValueError: a value is NaN or infinite: it would leave a mean unseen.
    """
    defined = [(v, float(v.value)) for v in values if v.value is not None]
    for v, value in defined:
        if not math.isfinite(value):
            raise ValueError(f"case {v.case}: {v.metric} is {value!r}; allowed: a finite number, or None: not defined")
    kept = sorted(defined, key=lambda pair: (pair[0].case, pair[0].metric))
    text = "".join(json.dumps({**asdict(v), "value": value}, ensure_ascii=False) + "\n" for v, value in kept)
    path.write_text(text, encoding="utf-8")


def read_values(path: Path) -> list[CaseMetric]:
    """The lines of `cases.jsonl`; none where a job had nothing to say.

    Raises:
        BadInput: not a file that `write_values` wrote.
    """
    try:
        return [CaseMetric(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: not the values of cases ({error}); make them again") from error


def means(values: Iterable[CaseMetric]) -> dict[str, float]:
    """Mean over cases of each metric, per-chunk ones left out: what is shown while a study runs."""
    found: dict[str, list[float]] = {}
    for v in values:
        if v.value is not None and "@" not in v.metric:
            found.setdefault(v.metric, []).append(v.value)
    return {name: math.fsum(each) / len(each) for name, each in sorted(found.items())}
