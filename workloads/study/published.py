"""The paper's own tables, for the same code as ours.

No per-case values were published: there are no intervals, no probabilities, and every finding is a
point estimate. The paper's `spatial-withheld` and `spatial-text` were runs of their own, so nothing
is another name of anything here.
"""

import csv
from pathlib import Path

from reports.spec import PublishedTables

TABLES = {"4": "families", "5": "spatial", "6": "compression", "7": "state-space", "8": "context"}
"""The paper's table numbers under the names of matrix.yaml."""

FILE = Path(__file__).parent / "published" / "echo_memory_tables.csv"

SOURCE = "arXiv:2606.09803, Tables 4 to 8"


def published_tables(path: Path = FILE) -> PublishedTables:
    """The published means as the report takes them.

    Raises:
        ValueError: a column or value of the file is not what its README says.
    """
    means: dict[str, dict[str, float]] = {}
    named: dict[str, list[str]] = {name: [] for name in TABLES.values()}
    rows: list[tuple[str, str]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            row = line.pop("row")
            rows.append((row, row.split("-")[0]))
            for number in line.pop("table").split(";"):
                if number not in TABLES:
                    raise ValueError(f"{path}: row {row!r}: table {number!r}; allowed: {', '.join(TABLES)}")
                named[TABLES[number]].append(row)
            for column, value in line.items():
                if value:
                    means.setdefault(column.replace("_", "/", 1), {})[row] = float(value)
    return PublishedTables(
        source=SOURCE,
        rows=rows,
        means=means,
        tables={name: members for name, members in named.items() if members},
        units={"return/judge": "points, VLM"},
        caption="eight cases a row, one seed, no per-case values, so no intervals and no verdict beyond the point "
        "estimate. Its judge and its LPIPS are other instruments than the embedded ones; compare orders, not values.",
    )
