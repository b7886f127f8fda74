"""Parsing of heartbeats, of lines of metrics.jsonl and cases.jsonl, and of cases.json.

These files may be read while they are written, or be damaged: each function returns None for invalid content and never
raises. Standard library only.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.contract.json_files import object_of, read_object

CASES, CASE_NAMES, METRICS = "cases.jsonl", "cases.json", "metrics.jsonl"
"""Files of a job: values of cases, the names of these cases, and values of steps."""
LARGEST_BEAT = 1 << 20  # bytes; a heartbeat has less than 200
LARGEST_STEP = 2**53
MOST_VALUES = 20
"""Metrics in a heartbeat."""

METRIC_NAME = re.compile(r"[\w./: -]{1,200}", re.ASCII)
"""Of a metric: what the tracker takes."""


def beat_of(raw: Any) -> dict[str, Any] | None:
    """A heartbeat: `counter`, `step`, `of` as whole numbers, `phase` as text, `values` by metric; None: not valid."""
    if not isinstance(raw, Mapping):
        return None
    counter = raw.get("counter")
    return {
        "counter": counter if isinstance(counter, int | str) else None,
        "step": _whole(raw.get("step")),
        "of": _whole(raw.get("of")),
        "phase": raw["phase"][:200] if isinstance(raw.get("phase"), str) else "",
        "values": _values(raw.get("values")),
    }


def read_beat(work: Path) -> dict[str, Any] | None:
    """`heartbeat.json` in an attempt's folder; None: it does not exist or is not valid."""
    try:
        return beat_of(read_object(work / "heartbeat.json", LARGEST_BEAT))
    except (OSError, ValueError):
        return None


def metric_of(line: bytes | str) -> dict[str, Any] | None:
    """A line of metrics.jsonl: `step`, `name`, `value`; None: not valid."""
    raw = _object(line)
    step: Any = raw.get("step")
    name: Any = raw.get("name")
    value: Any = raw.get("value")
    if not (_is_number(step) and int(step) == step and isinstance(name, str) and _is_number(value, finite=False)):
        return None
    return {"step": int(step), "name": name, "value": float(value)}


def case_names_of(content: bytes) -> dict[str, str] | None:
    """The content of cases.json: name of a case's files without ending -> case; None: not valid."""
    try:
        return {str(case["slug"]): str(case["id"]) for case in json.loads(content)}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def case_of(line: bytes | str) -> dict[str, Any] | None:
    """A line of cases.jsonl: `case`, `metric`, `unit`, `better`, `value`; None: not valid."""
    raw = _object(line)
    texts = {key: raw.get(key) for key in ("case", "metric", "unit", "better")}
    if not all(isinstance(text, str) for text in texts.values()) or texts["better"] not in ("high", "low"):
        return None
    return {**texts, "value": float(raw["value"])} if _is_number(raw.get("value")) else None


def _values(raw: Any) -> dict[str, float]:
    """Metric -> its latest value."""
    pairs = raw.items() if isinstance(raw, Mapping) else ()
    found = {name: float(value) for name, value in pairs if isinstance(name, str) and _is_number(value, finite=False)}
    return dict(list(found.items())[:MOST_VALUES])


def _object(line: bytes | str) -> dict[str, Any]:
    try:
        return object_of(line, "")
    except ValueError:
        return {}


def _is_number(value: Any, *, finite: bool = True) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int):
        return abs(value) < LARGEST_STEP
    return math.isfinite(value) or not finite


def _whole(value: Any) -> int:
    return int(value) if _is_number(value) and value >= 0 and int(value) == value else 0
