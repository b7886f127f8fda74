"""results.csv: every value there is, one a line, the same bytes for the same values; and the values of such a file."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from reports.columns import Columns
from reports.comparable import VIOLATED, Violation, violated
from reports.input import ResultLine

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so. No name of ours does; a name in somebody's data may."""
COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")
CONTROLS = "controls"
"""A last column, where a control did not hold: `violated` in the lines that rest on it, else empty."""


def results_csv(values: Columns, found: Sequence[Violation] = ()) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line.

    Args:
        values: in any order.
        found: controls that did not hold; with some, there is a column `controls`.
    """
    values = values.in_order()
    cells = _texts(values, "row", "seed", "axes", "branch")
    cases = _texts(values, "case")
    measures = _texts(values, "metric", "unit", "better")
    numbers = map(repr, values.value.tolist())
    columns: list[Iterable[str]] = [cells, cases, measures, numbers]
    if found:
        columns.append(VIOLATED if one else "" for one in violated(found, values).tolist())
    lines = map(",".join, zip(*columns, strict=True))
    return "\n".join([",".join((*COLUMNS, CONTROLS) if found else COLUMNS), *lines, ""])


def _texts(values: Columns, *columns: str) -> Iterator[str]:
    """Some columns of each line, written once for all lines in which they are the same."""
    found, at = values.distinct(*columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="")
    texts = []
    for names in found:
        # A lone empty text would be quoted; before a comma it is not.
        writer.writerow([*(as_text(name) if isinstance(name, str) else name for name in names), 0])
        texts.append(out.getvalue().removesuffix(",0"))
        out.seek(0)
        out.truncate()
    return map(texts.__getitem__, at.tolist())


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
