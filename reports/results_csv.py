"""results.csv: every value there is, one a line, the same bytes for the same values."""

import csv
import io
from collections.abc import Sequence

from reports.input import ResultLine

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so. No name of ours does; a name in somebody's data may."""
COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")


def results_csv(values: Sequence[ResultLine]) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for v in sorted(values, key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric, v.unit)):
        row, axes, branch, case, metric, unit = map(_text, (v.row, v.axes, v.branch, v.case, v.metric, v.unit))
        writer.writerow([row, v.seed, axes, branch, case, metric, unit, v.better, repr(float(v.value))])
    return out.getvalue()


def _text(name: str) -> str:
    """A name that no spreadsheet takes for a formula: behind an apostrophe, where it would be one."""
    return f"'{name}" if name.startswith(FORMULA) else name
