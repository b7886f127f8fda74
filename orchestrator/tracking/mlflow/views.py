"""Saved views of MLflow's runs page: which columns, in which order, which charts; pure functions, without MLflow.

MLflow keeps a view in a tag of the experiment, `mlflow.sharedViewState.KEY`, and opens it at
`#/experiments/ID/runs?viewStateShareKey=KEY`. Its value is JSON with `name`, `createdAt`, `updatedAt` (ms) and `state`,
a text: `deflate;` and the base64 of the compressed JSON of the page's state. A version
without saved views ignores the tag, and shows its default columns.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.tracking.mlflow.rows import column_metric, columns_of

VIEW_TAG = "mlflow.sharedViewState."
ALL, ROWS, CELLS = "all", "rows", "cells"
"""Views: rows with their cells; rows alone, and cells alone, without references."""
LONGEST = 20_000
"""Characters of a tag of an experiment: MLflow's limit; a longer view is left out."""
BY_ROW = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "row"}]}
"""MLflow's own grouping: the curves of a row's cells as one."""
MOST_BARS = 200
"""Runs of a bar chart."""
WIDTHS = {"attributes.`Run Name`": 220, "tags.`state`": 85, "tags.`progress`": 85, "tags.`row`": 160, "tags.`seed`": 70}
NUMBER, TEXT = 110, 190
"""Pixels of columns."""


def view_key(study_key: str, view: str) -> str:
    """The key of a view of a study's run; it is the same on every server."""
    return hashlib.sha256(f"{study_key} {view}".encode()).hexdigest()[:32]


def runs_page(experiment: str, study_key: str, view: str = ALL, *, mode: str = "TABLE") -> str:
    """Address of a view, relative to the server; mode: TABLE or CHART."""
    chosen = f"viewStateShareKey={view_key(study_key, view)}&compareRunsMode={mode}&workflowType=machine_learning"
    return f"#/experiments/{experiment}/runs?{chosen}"


def view_tags(study: Mapping[str, Any], report: Mapping[str, Any] | None, in_tag: str, at_ms: int) -> dict[str, str]:
    """The tags of the experiment with the study's views."""
    columns = columns_of(study, report)
    mine = f"tags.`{in_tag}` = '{study['key']}'"
    scores = [f"metrics.`{column_metric(column)}`" for column in columns]
    texts = [f"tags.`score.{column['branch']}`" for column in columns]
    states = {
        (ALL, f"{study['name']}: rows and cells, best first"): _state(study, columns, mine, scores),
        (ROWS, f"{study['name']}: rows with intervals"): _state(
            study, columns, f"{mine} AND tags.`kind` = 'row'", texts, curves=False
        ),
        (CELLS, f"{study['name']}: cells and curves"): _state(
            study, columns, f"{mine} AND tags.`kind` = 'cell'", scores, grouped=len(study["seeds"]) > 1
        ),
    }
    found = {
        f"{VIEW_TAG}{view_key(study['key'], view)}": _envelope(name, state, at_ms)
        for (view, name), state in states.items()
    }
    return {tag: value for tag, value in found.items() if len(value) <= LONGEST}


def _envelope(name: str, state: Mapping[str, Any], at_ms: int) -> str:
    text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
    packed = "deflate;" + base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")
    return json.dumps({"name": name, "createdAt": at_ms, "updatedAt": at_ms, "state": packed})


def _state(
    study: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    condition: str,
    scores: Sequence[str],
    *,
    curves: bool = True,
    grouped: bool = False,
) -> dict[str, Any]:
    chosen = [*(f"tags.`{tag}`" for tag in ("state", "progress")), *scores]
    chosen += [f"tags.`{tag}`" for tag in ("row", "family", "seed", *study["axes"])]
    charts, sections = _charts(columns, study["curves"] if curves else ())
    return {
        "searchFilter": condition,
        "orderByKey": "tags.`order`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": chosen,
        "columnOrder": ["attributes.`Run Name`", *chosen],
        "columnWidths": {**{score: TEXT if score.startswith("tags") else NUMBER for score in scores}, **WIDTHS},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "groupBy": BY_ROW if grouped else None,
    }


def _charts(
    columns: Sequence[Mapping[str, Any]], curves: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A bar chart of each column and a line chart of each curve."""
    named = [("LINE", curve) for curve in curves] + [("BAR", column_metric(column)) for column in columns]
    sections = {"BAR": "Scores", "LINE": "Curves"}
    charts: list[dict[str, Any]] = []
    for kind, metric in named:
        chart: dict[str, Any] = {
            "type": kind,
            "uuid": f"{kind}-{metric}",
            "metricSectionId": sections[kind],
            "metricKey": metric,
            "runsCountToCompare": MOST_BARS,
            "deleted": False,
            "isGenerated": False,
        }
        if kind == "LINE":
            chart |= {
                "selectedMetricKeys": [metric],
                "lineSmoothness": 0,
                "scaleType": "linear",
                "xAxisKey": "step",
                "xAxisScaleType": "linear",
                "selectedXAxisMetricKey": "",
                "useGlobalXaxisKey": True,
                "useGlobalLineSmoothing": True,
            }
        charts.append(chart)
    return charts, [
        {"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": False}
        for name in dict.fromkeys(sections[kind] for kind, _ in named)
    ]
