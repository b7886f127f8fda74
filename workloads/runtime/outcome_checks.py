"""What a stage returns and writes, checked while its job can still fail with the reason.

Without this a value that no reader takes is found when the job is done already: by the report, for the whole study.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

from workloads.contract.json_files import object_of
from workloads.contract.metrics import CASES, METRIC_NAME, case_of
from workloads.runtime.progress import StageOutcome

TEXTS = ("case", "metric", "unit", "better")
"""Fields of a line of cases.jsonl that are texts."""


def checked(outcome: object, module: str, out: Path | None) -> StageOutcome:
    """The outcome of a stage, and with `out` its cases; a cost that is not finite is not known.

    Raises:
        TypeError: no outcome, or records that are no JSON.
        ValueError: a cost whose name the tracker refuses, or cases.jsonl holds a line that no report can take.
    """
    if not isinstance(outcome, StageOutcome):
        raise TypeError(f"{module}.run returned {outcome!r}; allowed: a StageOutcome")
    try:
        json.dumps(dict(outcome.records), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{module}.run: StageOutcome.records is {outcome.records!r}: {error}; allowed: JSON") from error
    if out is not None and not outcome.stopped and (out / CASES).is_file():
        check_cases(out / CASES)
    for name in outcome.cost:
        if not METRIC_NAME.fullmatch(name):
            raise ValueError(f"{module}.run: StageOutcome.cost has {name!r}; allowed: letters, digits, '_-./ :'")
    return replace(outcome, cost={name: _known(value) for name, value in outcome.cost.items()})


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def check_cases(path: Path) -> None:
    """Check every line of cases.jsonl.

    Raises:
        ValueError: a line that is none, a metric's name that the tracker refuses, or a case measured twice.
    """
    seen: set[tuple[str, str, str]] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            case = case_of(line)
            if case is None:
                raise ValueError(f"{path}:{number}: {_problem(line)}")
            if not METRIC_NAME.fullmatch(case["metric"].replace("@", "_")):
                raise ValueError(f"{path}:{number}: metric is {case['metric']!r}; allowed: letters, digits, '_-./ :@'")
            key = (case["case"], case["metric"], case["unit"])  # several judges score one case, each in its own unit
            if key in seen:
                raise ValueError(f"{path}:{number}: case {key[0]!r} has a second value of {key[1]!r}; allowed: one")
            seen.add(key)


def _problem(line: bytes) -> str:
    """What is wrong with a line that `case_of` refuses."""
    try:
        raw = object_of(line, "the line")
    except ValueError as error:
        return str(error)
    for key in (*TEXTS, "value"):
        if key not in raw:
            return f"{key} is missing; required: {', '.join(TEXTS)}, value"
    for key in TEXTS:
        if not isinstance(raw[key], str):
            return f"{key} is {str(raw[key])[:60]!r}, {type(raw[key]).__name__}; allowed: text"
    if raw["better"] not in ("high", "low"):
        return f"better is {raw['better'][:60]!r}; allowed: 'high', 'low'"
    return f"value is {str(raw['value'])[:60]!r}; allowed: a finite number, and no line for a missing value"
