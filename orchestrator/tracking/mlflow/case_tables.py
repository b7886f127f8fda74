"""Tables of a cell's cases on one branch, in the format of MLflow's evaluation tables; no MLflow is needed.

A line has the case and every metric of all jobs of the branch: a judge's total beside the parts that it is made of. A
second table has the cases whose images are shown, with these: in MLflow a column of images has one in each line.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.contract.json_files import read_plain
from workloads.contract.metrics import CASE_NAMES, case_names_of

TABLES_TAG = "mlflow.loggedArtifacts"
"""MLflow shows the tables that it lists."""
CASES, IMAGES = "cases.json", "images.json"
"""Tables of a branch: of all cases, and of those with an image."""


def tables_tag(tables: Iterable[str]) -> str:
    """The value of `TABLES_TAG`; `tables`: paths among the artifacts of a run."""
    return json.dumps([{"path": path, "type": "table"} for path in sorted(tables)])


def case_tables(
    lines: Sequence[Mapping[str, Any]], images: Mapping[str, str], first: Sequence[str] = ()
) -> dict[str, str]:
    """File name -> table as JSON; empty without lines.

    Args:
        lines: of cases.jsonl, of all jobs of the branch.
        images: case -> path of its image among the artifacts of the run.
        first: metrics that come before the others.
    """
    place = {metric: number for number, metric in enumerate(first)}
    keys = sorted(
        {(str(line["metric"]), str(line["unit"])) for line in lines},
        key=lambda key: (place.get(key[0], len(place)), key),
    )
    named = [metric for metric, _ in keys]
    titles = [metric if named.count(metric) == 1 else f"{metric} {unit}" for metric, unit in keys]
    values = {(line["case"], line["metric"], line["unit"]): round(float(line["value"]), 4) for line in lines}
    numbers = {
        case: [values.get((case, metric, unit)) for metric, unit in keys]
        for case in dict.fromkeys(str(line["case"]) for line in lines)
    }
    found = {}
    if numbers:
        data: list[list[Any]] = [[case, *row] for case, row in numbers.items()]
        found[CASES] = json.dumps({"columns": ["case", *titles], "data": data})
    pictured = [
        [case, {"type": "image", "filepath": images[case], "compressed_filepath": images[case]}, *row]
        for case, row in numbers.items()
        if case in images
    ]
    if pictured:
        found[IMAGES] = json.dumps({"columns": ["case", "image", *titles], "data": pictured})
    return found


def case_of_slug(folder: Path) -> dict[str, str]:
    """File name without ending -> case, from an artifact's `cases.json`; empty where there is none."""
    try:
        return case_names_of(read_plain(folder / CASE_NAMES)) or {}
    except (OSError, ValueError):
        return {}
