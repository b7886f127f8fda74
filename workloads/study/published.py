"""Published tables of the paper, analysed by the same code as the study's results.

The paper has no values per case, so that there are no intervals or probabilities, and every finding is a point
estimate. Its `spatial-withheld` and `spatial-text` were separate runs, so that no row is an alias.
"""

import csv
from pathlib import Path

from reports.spec import PublishedTables

TABLES = {"4": "families", "5": "spatial", "6": "compression", "7": "state-space", "8": "context"}
"""Table numbers of the paper -> names in matrix.yaml."""

FILE = Path(__file__).parent / "published" / "echo_memory_tables.csv"

SOURCE = "arXiv:2606.09803, Tables 4 to 8"


def published_tables(path: Path = FILE) -> PublishedTables:
    """The published means.

    Raises:
        ValueError: the file is not as its README says.
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
        "estimate. Its judge and its LPIPS are other instruments than the embedded ones; compare orders, not values. "
        "It has no gate: the judge's total counts whether or not the camera left.",
    )
