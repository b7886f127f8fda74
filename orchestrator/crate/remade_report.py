"""The report of a crate made again from its values, and compared byte for byte with the one that it holds."""

import csv
import io
import itertools
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.description import LARGEST, CrateDescription
from orchestrator.crate.environment import report_versions
from orchestrator.crate.findings import AuditCheck, Mismatch
from orchestrator.crate.layout import ENVIRONMENT, REPORT
from orchestrator.errors import StoreError
from orchestrator.plan.job import SHORT, Plan
from orchestrator.reporting.collect import report_input
from orchestrator.reporting.rebuild import report_code
from orchestrator.wording import counted, shortened
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from workloads.contract.json_files import object_of, read_object, read_plain

CLOSE = 1e-9
"""Relative difference of numbers that other versions of the same libraries may compute."""
SHOWN = 5
BROKEN = (StoreError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError)
"""What reading and computing raise from content that `export` never writes."""


def input_of(folder: Path, plan: Plan, description: CrateDescription) -> ReportInput:
    """What the report is made from, of the crate alone.

    Raises:
        One of `BROKEN`: values, records or curves are not as jobs write them.
    """
    return report_input(
        plan,
        description.standings(plan),
        CrateStore(folder),
        description.durations,
        description.registered,
        race=description.race,
    )


def check_controls(folder: Path, given: ReportInput, recorded: Plan) -> AuditCheck:
    """The controls certificate, computed anew from the matrix and the records of the jobs, against the report's."""
    computed = {
        "fingerprint": given.controls.fingerprint,
        "deviations": json.loads(json.dumps(given.controls.deviations)),
        "verdicts": json.loads(json.dumps(given.controls.verdicts)),
    }
    differences = []
    try:
        written = read_object(folder / REPORT / NUMBERS, LARGEST)["controls"]
        for key, value in computed.items():
            differences += [
                Mismatch(where=f"{REPORT}/{NUMBERS}: controls.{key}{at}", expected=a, found=b)
                for at, a, b in itertools.islice(json_differences(value, written[key]), SHOWN)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = f"{REPORT}/{NUMBERS}"
        differences.append(Mismatch(where=where, expected="a controls certificate", found=f"none: {error!r}"))
    if recorded.controls_fingerprint != given.controls.fingerprint:
        expected, found = given.controls.fingerprint, recorded.controls_fingerprint
        differences.append(Mismatch(where="plan.json: controls_fingerprint", expected=expected, found=found))
    counts = Counter(str(verdict["verdict"]) for verdict in given.controls.verdicts)
    says = f"certificate {given.controls.fingerprint[:SHORT]}, {counted(len(given.controls.verdicts), 'verdict')}: " + (
        ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items())) or "none"
    )
    notes = [
        f"{verdict['verdict']}: {verdict['check']}: {verdict['detail']}"
        for verdict in given.controls.verdicts
        if verdict["verdict"] != "held"
    ]
    return AuditCheck(name="controls", says=says, differences=differences, notes=notes)


def check_report(folder: Path, given: ReportInput) -> AuditCheck:
    """The three files of the report, made again, against those in the crate."""
    from reports.build import build

    others = other_software(folder, given)
    differences: list[Mismatch] = []
    unchecked: list[str] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="echo-matrix-report-") as temporary:
        build(Path(temporary), given)
        for name in (RESULTS, NUMBERS, PAGE):
            where = f"{REPORT}/{name}"
            made = (Path(temporary) / name).read_bytes()
            try:
                written = read_plain(folder / where, LARGEST, links=False)
            except (OSError, ValueError) as error:
                differences.append(Mismatch(where=where, expected="the report", found=str(error)))
                continue
            if made == written:
                continue
            found = list(itertools.islice(_differences(name, where, made, written), SHOWN + 1))
            if name == RESULTS or not others:
                differences += found
            elif found and name == NUMBERS:
                unchecked.append(f"{where} is another: {_first(found)}; {others}")
            else:
                notes.append(f"{where} has other bytes, as other versions may draw it: {others}")
    equal = 3 - len({one.where.partition(":")[0] for one in differences}) - len(unchecked) - len(notes)
    says = f"{len(given.values)} values; {equal} of 3 files made again byte for byte"
    return AuditCheck(name="report", says=says, differences=differences, unchecked=unchecked, notes=notes)


def _first(found: list[Mismatch]) -> str:
    return shortened([f"{one.where.partition(': ')[2]} {one.expected} here, {one.found} there" for one in found], 1)


def other_software(folder: Path, given: ReportInput) -> str:
    """In which software this machine differs from the one that wrote the report; empty: in none."""
    try:
        environment = read_object(folder / ENVIRONMENT, LARGEST)
        written, code = dict(environment["report"]["versions"]), environment["report"]["code"]
        program = str(environment["program"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{ENVIRONMENT} does not say with what it was written"
    here = report_versions()
    found = [f"{name} {written.get(name)} there, {here[name]} here" for name in here if written.get(name) != here[name]]
    if code != report_code(given.spec):
        found.append(f"the code of the report was another (echo-matrix {program})")
    return ", ".join(found)


def _differences(name: str, where: str, made: bytes, written: bytes) -> Iterator[Mismatch]:
    if name == RESULTS:
        yield from _value_differences(where, made, written)
    elif name == NUMBERS:
        try:
            there = object_of(written, where)
        except ValueError as error:
            yield Mismatch(where=where, expected="a JSON object", found=str(error))
            return
        for at, expected, found in json_differences(object_of(made, where), there):
            yield Mismatch(where=f"{where}: {at.lstrip('.')}", expected=expected, found=found)
    else:
        lines = itertools.zip_longest(made.splitlines(), written.splitlines(), fillvalue=b"")
        number = next((n for n, (a, b) in enumerate(lines, 1) if a != b), 0)
        yield Mismatch(where=f"{where}: line {number}", expected=f"{len(made)} bytes", found=f"{len(written)} bytes")


def _value_differences(where: str, made: bytes, written: bytes) -> Iterator[Mismatch]:
    """Lines of results.csv that differ; the values of the crate are the expected ones."""
    ours, theirs = _lines(made), _lines(written)
    means = "the table is not that of the values in the crate: one of them was changed"
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            expected, found = ours.get(key, "no such value"), theirs.get(key, "no such value")
            yield Mismatch(where=f"{where}: {key}", expected=expected, found=found, means=means)
    if ours == theirs:
        yield Mismatch(where=where, expected="the same values in order", found="other bytes", means=means)


def _lines(content: bytes) -> dict[str, str]:
    """What a value is of -> the value as text."""
    rows = csv.reader(io.StringIO(content.decode("utf-8", errors="replace")))
    return {" ".join(filter(None, row[:-1])): row[-1] for row in rows if row}


def json_differences(ours: Any, theirs: Any, at: str = "") -> Iterator[tuple[str, str, str]]:
    """(place, ours, theirs) where two JSON values differ; numbers that are close are equal."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from json_differences(ours.get(key, ABSENT), theirs.get(key, ABSENT), f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        for number, (a, b) in enumerate(itertools.zip_longest(ours, theirs, fillvalue=ABSENT)):
            yield from json_differences(a, b, f"{at}[{number}]")
    elif not _equal(ours, theirs):
        yield at, _short(ours), _short(theirs)


ABSENT = "absent"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float) and not isinstance(b, bool):
        return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)
    return type(a) is type(b) and bool(a == b)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
