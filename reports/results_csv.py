"""results.csv: every value there is, one a line, the same bytes for the same values; and the values of such a file."""

import csv
import io
from collections.abc import Sequence

from reports.comparable import VIOLATED, Violation, is_violated
from reports.input import ResultLine

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so. No name of ours does; a name in somebody's data may."""
COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")
CONTROLS = "controls"
"""A last column, where a control did not hold: `violated` in the lines that rest on it, else empty."""


def results_csv(values: Sequence[ResultLine], violated: Sequence[Violation] = ()) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line.

    Args:
        values: in any order.
        violated: controls that did not hold; with some, there is a column `controls`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, CONTROLS) if violated else COLUMNS)
    for v in sorted(values, key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric, v.unit)):
        row, axes, branch, case, metric, unit = map(as_text, (v.row, v.axes, v.branch, v.case, v.metric, v.unit))
        last = [VIOLATED if is_violated(violated, v, v.branch) else ""] if violated else []
        writer.writerow([row, v.seed, axes, branch, case, metric, unit, v.better, repr(float(v.value)), *last])
    return out.getvalue()


def read_results_csv(text: str, where: str) -> list[ResultLine]:
    """The values of a results.csv; `where` names it in errors.

    Raises:
        ValueError: a line that `results_csv` does not write.
    """
    lines = csv.reader(io.StringIO(text), strict=True)
    found: list[ResultLine] = []
    try:
        heading = tuple(next(lines, ()))
        if heading not in (COLUMNS, (*COLUMNS, CONTROLS)):
            raise ValueError(f"the first line is not {','.join(COLUMNS)}")
        for fields in lines:
            row, seed, axes, branch, case, metric, unit, better, value = fields[: len(COLUMNS)]
            if len(fields) != len(heading) or fields[len(COLUMNS) :] not in ([], [""], [VIOLATED]):
                raise ValueError(f"{len(fields)} columns, {len(heading)} wanted; {CONTROLS} is empty or {VIOLATED}")
            if better not in ("high", "low"):
                raise ValueError(f"better is {better[:40]!r}; allowed: high, low")
            found.append(
                ResultLine(
                    row=_name(row),
                    seed=int(seed),
                    axes=_name(axes),
                    branch=_name(branch),
                    case=_name(case),
                    metric=_name(metric),
                    unit=_name(unit),
                    better="low" if better == "low" else "high",
                    value=float(value),
                )
            )
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{where}:{lines.line_num}: {error}") from error
    return found


def as_text(name: str) -> str:
    """A name that no spreadsheet takes for a formula: behind an apostrophe, where it would be one."""
    return f"'{name}" if name.lstrip("'").startswith(FORMULA) else name


def _name(text: str) -> str:
    """The name that `as_text` wrote."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text
