"""A table of values as the source of a report: a file with the columns of results.csv, of this study or of anybody."""

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec, restricted
from orchestrator.reporting.collect import rows_of
from orchestrator.reporting.rebuild import remembered_files
from orchestrator.reporting.results_folder import INPUT, VALUES
from reports.any_table import report_of_table
from reports.input import RESULTS, ReportInput
from reports.results_csv import ValueTable, read_table
from workloads.contract.json_files import read_object, read_plain

MOST_BYTES = 1 << 29
"""Of a table, decompressed: some five million lines."""
GZIP = b"\x1f\x8b"
"""How a compressed file begins."""
ENDINGS = (".csv.gz", ".csv")


def table_in(source: Path) -> Path | None:
    """The table that a source names: a file, or a folder with one; None: there is none."""
    if source.is_file():
        return source
    return next((path for name in (RESULTS, VALUES) if (path := source / name).is_file()), None)


def stem_of(file: Path) -> str:
    """The name of a table without `.csv` or `.csv.gz`."""
    return next((file.name.removesuffix(end) for end in ENDINGS if file.name.endswith(end)), file.stem)


def read_values(file: Path) -> tuple[ValueTable, bytes]:
    """The values of a file, and its content, decompressed.

    Raises:
        PlanError: it cannot be read, is no table, or is not the file that the `input.json` or report beside it was
            written with.
    """
    try:
        content = _content(file)
        _check_digest(file, hashlib.sha256(content).hexdigest())
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise ValueError(f"{file}:{line}: is not UTF-8; save the table as UTF-8") from error
        table = read_table(text, str(file))
        if not table.values:
            raise ValueError(f"{file}: has no values; allowed: a header and a line for each value")
        return table, content
    except OSError as error:
        raise PlanError(f"--source {file}: {error}; allowed: a file with the columns of results.csv") from error
    except ValueError as error:
        raise PlanError(str(error)) from error


def input_of(table: ValueTable, content: bytes, file: Path, plan: Plan | None) -> ReportInput:
    """The input of a report of a table.

    Args:
        table: the values.
        content: of the file.
        file: the file.
        plan: of a matrix; its study's report specification is used if it has all rows and branches of the table.

    Raises:
        PlanError: the values contradict each other.
    """
    try:
        if plan is None or not knows(plan, table):
            return report_of_table(table, study=stem_of(file), name=file.name, content=content)
        branches = {value.branch for value in table.values}
        return report_of_table(
            table,
            study=plan.study,
            name=file.name,
            content=content,
            spec=restricted(report_spec(plan.workload), branches),
            rows=rows_of(plan.cells, plan.workload),
            tables=plan.tables,
        )
    except ValueError as error:
        raise PlanError(str(error)) from error


def knows(plan: Plan, table: ValueTable) -> bool:
    """Whether all rows and branches of a table are those of a study."""
    return not any(strangers(plan, table))


def strangers(plan: Plan, table: ValueTable) -> tuple[list[str], list[str]]:
    """The rows, and the branches, of a table that a study does not have."""
    rows, branches = {cell.row for cell in plan.cells}, set(plan.workload.branch_names)
    found = row_names(table), list(dict.fromkeys(value.branch for value in table.values))
    return [row for row in found[0] if row not in rows], [name for name in found[1] if name not in branches]


def row_names(table: ValueTable) -> Sequence[str]:
    """The rows of a table, each once."""
    return list(dict.fromkeys(value.row for value in table.values))


def _content(file: Path) -> bytes:
    raw = read_plain(file, MOST_BYTES)
    if not raw.startswith(GZIP):
        return raw
    try:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(raw, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"{file}: is a damaged gzip file: {error}") from error
    if not stream.eof:
        raise ValueError(f"{file}: ends early, or has more than {MOST_BYTES} bytes")
    return content


def _check_digest(file: Path, digest: str) -> None:
    """Refuse a table that was edited: `input.json`, or the report, beside it says which bytes it had."""
    written, by = "", ""
    if file.name in (VALUES, RESULTS) and (file.parent / INPUT).is_file():
        written, by = _input_digest(file.parent / INPUT), INPUT
    elif known := remembered_files(file.parent).get(file.name):
        written, by = known, "the report beside it"
    if written and written != digest:
        raise ValueError(
            f"{file}: was edited: its sha256 is {digest[:12]}, and {by} was written with {written[:12]}; put the file "
            "back, or report a copy of it in a folder of its own"
        )


def _input_digest(path: Path) -> str:
    """The digest that an input.json of ours names; empty: it is somebody else's."""
    try:
        found = read_object(path).get("values_sha256")
    except ValueError:
        return ""
    return found if isinstance(found, str) else ""
