"""results.csv: every value there is, one a line, the same bytes for the same values."""

import csv
import io
from collections.abc import Sequence

from reports.input import ResultLine

COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")


def results_csv(values: Sequence[ResultLine]) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for v in sorted(values, key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric, v.unit)):
        writer.writerow([v.row, v.seed, v.axes, v.branch, v.case, v.metric, v.unit, v.better, repr(float(v.value))])
    return out.getvalue()
