"""The report: results.csv, report.json and one self-contained page.

Everything is worked out before the first file is written, and each file appears whole.
"""

from pathlib import Path

from reports.analysis import analyse
from reports.comparable import violations
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from reports.json_text import indented
from reports.page.page import page
from reports.report_json import report_json
from reports.results_csv import results_csv


def build(folder: Path, input: ReportInput) -> None:
    """Write `results.csv`, `report.json` and `index.html` into `folder`, which is made if need be.

    Raises:
        ValueError: input that contradicts itself (two values of one case, a table of unknown rows).
        FileNotFoundError: a strip's PNG is not where the input says.
    """
    analysis = analyse(input)
    files = {
        RESULTS: results_csv(analysis.values, violations(input.controls)),
        NUMBERS: indented(report_json(input, analysis)) + "\n",
        PAGE: page(input, analysis),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
