"""The report: results.csv, report.json, one self-contained page, and the forms of it that are asked for.

Everything is worked out before the first file is written, and each file appears whole.
"""

from collections.abc import Collection
from pathlib import Path

from reports.against import ResultsComparison, comparison_json
from reports.analysis import analyse
from reports.comparable import violations
from reports.figures.style import recorded
from reports.forms.against_text import against_md
from reports.forms.forms import forms
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from reports.json_text import indented
from reports.page.page import page
from reports.report_json import report_json
from reports.results_csv import results_csv


def build(
    folder: Path, input: ReportInput, formats: Collection[str] = (), against: ResultsComparison | None = None
) -> list[str]:
    """Write `results.csv`, `report.json` and `index.html` into `folder`, which is made if need be.

    Args:
        folder: of the report.
        input: of the report.
        formats: of `reports.forms.forms.FORMATS`, what else to write.
        against: with other results; the page has a section of it, and `against.md` and `against.json` are written.

    Returns:
        The files that were written, relative to `folder`.

    Raises:
        ValueError: input that contradicts itself (`checked`), or a table of unknown rows.
        FileNotFoundError: a strip's PNG is not where the input says.
        ModuleNotFoundError: a format needs a library that is not installed.
    """
    analysis = analyse(input)
    with recorded() as drawings:
        html = page(input, analysis, against)
    files = {NUMBERS: f"{indented(report_json(input, analysis))}\n".encode(), PAGE: html.encode()}
    # The values come last: their text is the largest, and the rest is made without it.
    files[RESULTS] = results_csv(analysis.values, violations(input.controls)).encode()
    files |= forms(input, analysis, drawings, formats)
    if against is not None:
        files["against.md"] = against_md(against).encode("utf-8")
        files["against.json"] = (indented(comparison_json(against)) + "\n").encode("utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)
    return list(files)
