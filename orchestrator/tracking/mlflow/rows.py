"""Rows in the tracker: their order, progress, means and intervals; pure functions, without MLflow.

Means and intervals are those of report.json: the tracker computes no statistics of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.tracking.mlflow.projection import metric_name, shown
from orchestrator.wording import counted
from reports.marks import sign_of

LOW, HIGH = ".low", ".high"
"""Ends of the names of the metrics with an interval's limits."""


def progress(states: Mapping[str, str], jobs: Iterable[str]) -> str:
    """`5/7 jobs`: how many of them are done."""
    all_jobs = list(jobs)
    return f"{sum(states.get(job) == 'done' for job in all_jobs)}/{counted(len(all_jobs), 'job')}"


def columns_of(study: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The metric that stands for each branch: `branch`, `metric`, `name`, `unit`, `better`, `decimals`, `marks`.

    Those of the report; before there is one, as the study declares them.
    """
    if report is not None and report.get("columns"):
        return [dict(column) for column in report["columns"] if column["metric"]]
    return [dict(column) for column in study["columns"]]


def column_metric(column: Mapping[str, Any]) -> str:
    """The name of a column's metric in the tracker."""
    return metric_name(f"{column['branch']}/{column['metric']}")


def leading_column(study: Mapping[str, Any], report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The column that orders rows: of the branch that the study's contrast is about, else of its first."""
    columns = columns_of(study, report)
    by_branch = {column["branch"]: column for column in columns}
    return by_branch.get(study["leading"]) or next(iter(columns), None)


def ranking(study: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[str]:
    """Rows, best first by the leading column; then those without a value, then references, each in file order."""
    column = leading_column(study, report)
    rows: Mapping[str, Any] = study["rows"]
    labels = [label for label in rows if not rows[label]["reference"]]
    valued = {label: value for label in rows if (value := mean_of(report, label, column)) is not None}
    sign = 1.0 if column is not None and column["better"] == "low" else -1.0
    ranked = sorted((label for label in labels if label in valued), key=lambda label: sign * valued[label])
    return [
        *ranked,
        *(label for label in labels if label not in valued),
        *(label for label in rows if rows[label]["reference"]),
    ]


def mean_of(report: Mapping[str, Any] | None, label: str, column: Mapping[str, Any] | None) -> float | None:
    """A row's mean in a column; None: the report has none, or none that may be compared."""
    found = value_of(report, label, column)
    return None if found is None or not found.get("comparable", True) else found["mean"]


def value_of(
    report: Mapping[str, Any] | None, label: str, column: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """A row's entry of report.json in a column: `mean`, `low`, `high`, `n`, `missing`; None: there is no mean."""
    if report is None or column is None:
        return None
    found: Mapping[str, Any] | None = report["rows"].get(label, {}).get(f"{column['branch']}/{column['metric']}")
    return None if found is None or found["mean"] is None else found


def orders(study: Mapping[str, Any], report: Mapping[str, Any] | None) -> dict[str, str]:
    """Row -> text that sorts runs best first: a row before its cells."""
    return {label: f"{place:04d}" for place, label in enumerate(ranking(study, report), 1)}


def row_values(study: Mapping[str, Any], report: Mapping[str, Any], label: str) -> dict[str, tuple[float, int]]:
    """Metric -> (value, values it is made of) of a row's run; limits only of the columns."""
    entries: Mapping[str, Any] = report["rows"].get(label, {})
    found = {
        metric_name(name): (shown(entry["mean"]), int(entry["n"] or 0))
        for name, entry in entries.items()
        if entry["mean"] is not None
    }
    for column in columns_of(study, report):
        entry = value_of(report, label, column)
        for end, key in ((LOW, "low"), (HIGH, "high")):
            if entry is not None and entry[key] is not None:
                found[column_metric(column) + end] = shown(entry[key]), int(entry["n"] or 0)
    return found


def score_text(report: Mapping[str, Any] | None, label: str, column: Mapping[str, Any]) -> str:
    """`26.7 (21.3 to 32.1) *`: mean, interval, and its mark (`reports.marks`); or empty.

    A number that rests on a control that did not hold says so.
    """
    entry = value_of(report, label, column)
    if entry is None:
        return ""
    digits = int(column["decimals"])
    text = f"{entry['mean']:.{digits}f}"
    if entry["low"] is not None and entry["high"] is not None:
        text += f" ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"
    if not entry.get("comparable", True):
        return f"not comparable: {text}"
    return f"{text} {sign_of(column.get('marks', {}).get(label, ''))}".rstrip()


def column_title(column: Mapping[str, Any]) -> str:
    """`return: Judge, points`; a unit with a colon would be read as an emoji."""
    unit = f", {column['unit'].replace(':', ' ')}" if column.get("unit") else ""
    return f"{column['branch']}: {column.get('name') or column['metric']}{unit}"


def seeds_text(seeds: Sequence[int]) -> str:
    """`0`, or `3 seeds`."""
    return str(seeds[0]) if len(seeds) == 1 else f"{len(seeds)} seeds"
