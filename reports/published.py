"""The paper's own tables, through the same code as ours.

No per-case values were published: there are no intervals, no probabilities, and every finding is a
point estimate. The paper's `spatial-withheld` and `spatial-text` were runs of their own, so nothing
is another name of anything here.
"""

import csv
from pathlib import Path
from typing import Any

from reports.analysis import Analysis, Row, analyse_means, as_json

TABLES = {"4": "families", "5": "spatial", "6": "compression", "7": "state-space", "8": "context"}
"""The paper's table numbers under the names of matrix.yaml."""

FILE = Path(__file__).parent / "published" / "echo_memory_tables.csv"

SOURCE = "arXiv:2606.09803, Tables 4 to 8"


def analyse_published(path: Path = FILE) -> Analysis:
    """Everything the report says, of the published means.

    Raises:
        ValueError: a column or value of the file is not what its README says.
    """
    means: dict[str, dict[str, float]] = {}
    named: dict[str, list[str]] = {name: [] for name in TABLES.values()}
    rows: list[Row] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            row = line.pop("row")
            rows.append(Row(label=row, family=row.split("-")[0], computed_by=row))
            for number in line.pop("table").split(";"):
                if number not in TABLES:
                    raise ValueError(f"{path}: row {row!r}: table {number!r}; allowed: {', '.join(TABLES)}")
                named[TABLES[number]].append(row)
            for column, value in line.items():
                if value:
                    means.setdefault(column.replace("_", "/", 1), {})[row] = float(value)
    return analyse_means(rows, means, {name: members for name, members in named.items() if members})


def report_from_published() -> dict[str, Any]:
    """report.json's object for the published tables; intervals are null."""
    return {
        "version": 1,
        "source": SOURCE,
        **as_json(analyse_published()),
        "controls": {"fingerprint": None, "deviations": [], "verdicts": []},
    }
