"""results.csv: every value there is, one a line, the same bytes for the same values; and the values of such a file."""

import csv
import io
from collections.abc import Iterator

from reports.columns import Columns
from reports.input import ResultLine

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so. No name of ours does; a name in somebody's data may."""
COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")


def results_csv(values: Columns) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line."""
    values = values.in_order()
    cells = _texts(values, "row", "seed", "axes", "branch")
    cases = _texts(values, "case")
    measures = _texts(values, "metric", "unit", "better")
    numbers = map(repr, values.value.tolist())
    lines = (",".join(parts) for parts in zip(cells, cases, measures, numbers, strict=True))
    return "\n".join([",".join(COLUMNS), *lines, ""])


def _texts(values: Columns, *columns: str) -> Iterator[str]:
    """Some columns of each line, written once for all lines in which they are the same."""
    found, at = values.distinct(*columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="")
    texts = []
    for names in found:
        # A lone empty text would be quoted; before a comma it is not.
        writer.writerow([*(_text(name) if isinstance(name, str) else name for name in names), 0])
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
        if tuple(next(lines, ())) != COLUMNS:
            raise ValueError(f"the first line is not {','.join(COLUMNS)}")
        for row, seed, axes, branch, case, metric, unit, better, value in lines:
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


def _text(name: str) -> str:
    """A name that no spreadsheet takes for a formula: behind an apostrophe, where it would be one."""
    return f"'{name}" if name.lstrip("'").startswith(FORMULA) else name


def _name(text: str) -> str:
    """The name that `_text` wrote."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text
