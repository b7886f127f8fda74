"""results.csv: every value there is, one a line, the same bytes for the same values; and the values of such a file."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.checked import check_values
from reports.columns import Columns, columns
from reports.comparable import VIOLATED, Violation, violated
from reports.input import ResultLine
from reports.spec import ReportSpec
from reports.statistics.panel import POOLED

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a text that begins so. No name of ours does; a name in somebody's data may."""
LARGEST_SEED = 2**63 - 1
"""More does not fit into a column of numbers."""

COLUMNS = ("row", "seed", "axes", "branch", "case", "metric", "unit", "better", "value")
NEEDED = ("row", "metric", "value")
"""Columns that every table has."""
FAMILY = "family"
"""A further column that a table of somebody else's may have."""
CONTROLS = "controls"
"""A last column, where a control did not hold: `violated` in the lines that rest on it, else empty."""
FURTHER = (FAMILY, CONTROLS)
AT_ONCE = 1 << 16
"""Lines that are made at a time."""
DEFAULTS: Mapping[str, str] = {
    "seed": "0",
    "axes": "",
    "branch": "results",
    "case": POOLED,
    "unit": "",
    "better": "high",
    FAMILY: "",
}
"""What stands for a column that is not there, and for an empty field of it."""


@dataclass(frozen=True, kw_only=True)
class ValueTable:
    """The values of a file, with the line of each."""

    values: Sequence[ResultLine]
    lines: Sequence[int]
    where: str
    """Name of the file, for errors."""
    absent: Sequence[str] = ()
    """Columns that it does not have."""
    families: Mapping[str, str] = field(default_factory=dict)
    """Row -> family, where the file says it."""
    violated: frozenset[tuple[str, str, int, str]] = frozenset()
    """(row, axes, seed, branch) of the cells that rest on a control that did not hold."""

    def check(
        self,
        spec: ReportSpec | None = None,
        rows: Collection[str] | None = None,
        seeds: Collection[int] | None = None,
    ) -> None:
        """Check the values against each other, and against rows and seeds where these are known; see `check_values`.

        Raises:
            ValueError: names file and line.
        """

        def place(at: int) -> str:
            return f"{self.where}:{self.lines[at]}"

        check_values(columns(self.values), spec=spec, rows=rows, seeds=seeds, place=place)


def results_csv(values: Columns, found: Sequence[Violation] = ()) -> str:
    """The tidy table, sorted by all that names a value; floats by repr; a missing value is an absent line.

    Args:
        values: in any order.
        found: controls that did not hold; with some, there is a column `controls`.
    """
    return "".join(results_pieces(values, found))


def results_pieces(values: Columns, found: Sequence[Violation] = ()) -> Iterator[str]:
    """`results_csv` in pieces, as the text may be large."""
    yield ",".join((*COLUMNS, CONTROLS) if found else COLUMNS) + "\n"
    order = values.order()
    for i in range(0, len(order), AT_ONCE):
        yield _lines(values.of(order[i : i + AT_ONCE]), found)


def _lines(values: Columns, found: Sequence[Violation]) -> str:
    columns: list[Iterable[str]] = [
        _texts(values, "row", "seed", "axes", "branch"),
        _texts(values, "case"),
        _texts(values, "metric", "unit", "better"),
        map(repr, values.value.tolist()),
    ]
    if found:
        columns.append(VIOLATED if one else "" for one in violated(found, values).tolist())
    return "\n".join([*map(",".join, zip(*columns, strict=True)), ""])


def _texts(values: Columns, *columns: str) -> Iterator[str]:
    """Some columns of each line, written once for all lines in which they are the same."""
    found, at = values.distinct(*columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    texts = []
    for names in found:
        # A lone empty text would be quoted; before a comma it is not.
        writer.writerow([*(as_text(name) if isinstance(name, str) else name for name in names), 0])
        texts.append(out.getvalue().removesuffix(",0\n"))
        out.seek(0)
        out.truncate()
    return map(texts.__getitem__, at.tolist())


def written_table(text: str, where: str) -> ValueTable:
    """The values of a results.csv, with the line of each.

    Raises:
        ValueError: a line that `results_csv` does not write.
    """
    return _read(text, where, COLUMNS)


def read_table(text: str, where: str) -> ValueTable:
    """The values of anybody's table: some columns of results.csv, in any order, and `family`.

    Args:
        text: CSV, with a header.
        where: names the file in errors.

    Raises:
        ValueError: names the file and, but for its header, the line.
    """
    return _read(text, where, None)


def _read(text: str, where: str, exactly: Sequence[str] | None) -> ValueTable:
    """Read a table; `exactly`: the columns that it must have, in order, and perhaps `controls` behind them."""
    lines = csv.reader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"), newline=""), strict=True)
    values: list[ResultLine] = []
    at: list[int] = []
    try:
        header = tuple(next(lines, ()))
        if exactly is not None and header not in (tuple(exactly), (*exactly, CONTROLS)):
            raise ValueError(f"the first line is not {','.join(exactly)}")
        _check_header(header)
        reader = _LineReader(header)
        for fields in lines:
            if fields:
                values.append(reader.line(fields))
                at.append(lines.line_num)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{where}:{lines.line_num}: {error}") from error
    absent = [name for name in (*COLUMNS, FAMILY) if name not in header]
    return ValueTable(
        values=values,
        lines=at,
        where=where,
        absent=absent,
        families=reader.families,
        violated=frozenset((v.row, v.axes, v.seed, v.branch) for v in reader.violated),
    )


def _check_header(header: Sequence[str]) -> None:
    allowed = f"allowed: {', '.join((*COLUMNS, *FURTHER))}, separated by commas; needed: {', '.join(NEEDED)}"
    unknown = [name for name in header if name not in (*COLUMNS, *FURTHER)]
    if unknown:
        raise ValueError(f"unknown column {unknown[0][:60]!r}; {allowed}; rename or remove it")
    doubled = [name for i, name in enumerate(header) if name in header[:i]]
    if doubled:
        raise ValueError(f"column {doubled[0]!r} is there twice; {allowed}")
    lacking = [name for name in NEEDED if name not in header]
    if lacking:
        raise ValueError(f"there is no column {lacking[0]!r}; {allowed}")


class _Column(dict[str, Any]):
    """What a field of a column means, found once for each text, however many lines have it."""

    def __init__(self, means: Callable[[str], Any]) -> None:
        super().__init__()
        self._means = means

    def __missing__(self, text: str) -> Any:
        found = self[text] = self._means(text)
        return found


class _LineReader:
    """Makes values of lines, a million of them in seconds."""

    def __init__(self, header: Sequence[str]) -> None:
        self.families: dict[str, str] = {}
        """Row -> family, of the lines so far."""
        self.violated: list[ResultLine] = []
        """Those of which the line says that they rest on a control that did not hold."""
        self._width = len(header)
        # A column that is not there is the empty field behind the last one.
        at = {name: header.index(name) if name in header else self._width for name in (*COLUMNS, *FURTHER)}
        self._parts = [(_Column(means), at[name]) for name, means in _MEANS.items()]
        self._value, self._family, self._controls = at["value"], at[FAMILY], at[CONTROLS]

    def line(self, fields: list[str]) -> ResultLine:
        """The value of one line.

        Raises:
            ValueError: a field is not allowed.
        """
        if len(fields) != self._width:
            kind = "not enough" if len(fields) < self._width else "too many"
            raise ValueError(f"{kind} values to unpack: {len(fields)} fields, and the header has {self._width}")
        fields.append("")
        row, seed, axes, branch, case, metric, unit, better = [known[fields[at]] for known, at in self._parts]
        family, controls = fields[self._family], fields[self._controls]
        if family and self.families.setdefault(row, family) != family:
            raise ValueError(f"row {row!r} has family {family[:60]!r}, and {self.families[row]!r} before; allowed: one")
        value = ResultLine(
            row=row,
            seed=seed,
            axes=axes,
            branch=branch,
            case=case,
            metric=metric,
            unit=unit,
            better=better,
            value=_number(fields[self._value]),
        )
        if controls:
            if controls != VIOLATED:
                raise ValueError(f"{CONTROLS} is {controls[:40]!r}; allowed: {VIOLATED}, or nothing")
            self.violated.append(value)
        return value


def _one_name(kind: str) -> Callable[[str], str]:
    """The name of a field, which is not empty."""

    def means(text: str) -> str:
        name = _name(text) or DEFAULTS.get(kind, "")
        if not name and kind != "unit":
            raise ValueError(f"{kind} is empty; allowed: a name")
        if "/" in name and kind in ("row", "branch"):
            raise ValueError(f"{kind} is {name[:60]!r}; allowed: a name without '/'; write {name.replace('/', '_')!r}")
        return name

    return means


def _seed(text: str) -> int:
    try:
        seed = int(text or DEFAULTS["seed"])
    except ValueError:
        raise ValueError(f"seed is {text[:40]!r}; allowed: a whole number") from None
    if abs(seed) > LARGEST_SEED:
        raise ValueError(f"seed is {text[:40]!r}; allowed: a whole number of no more than {LARGEST_SEED} in size")
    return seed


def _axes(text: str) -> str:
    axes = _name(text)
    if axes and not all("=" in part[1:] and "/" not in part for part in axes.split(";")):
        raise ValueError(f"axes is {axes[:60]!r}; allowed: KEY=VALUE;KEY=VALUE without '/', or nothing")
    return axes


def _direction(text: str) -> str:
    if text in ("high", "low", ""):
        return text or DEFAULTS["better"]
    raise ValueError(f"better is {text[:40]!r}; allowed: high, low")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        hint = "leave the line out where a value is missing" if not text else "with a point for decimals"
        raise ValueError(f"value is {text[:40]!r}; allowed: a number; {hint}") from None


def as_text(name: str) -> str:
    """A name that no spreadsheet takes for a formula: behind an apostrophe, where it would be one."""
    return f"'{name}" if name.lstrip("'").startswith(FORMULA) else name


def _name(text: str) -> str:
    """The name that `as_text` wrote."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text


_MEANS: Mapping[str, Callable[[str], Any]] = {
    "row": _one_name("row"),
    "seed": _seed,
    "axes": _axes,
    **{kind: _one_name(kind) for kind in ("branch", "case", "metric", "unit")},
    "better": _direction,
}
"""How the fields of a line are read, in the order of `_LineReader.line`."""
