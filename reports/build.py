"""The report: results.csv, report.json, one self-contained page, and the forms of it that are asked for.

Everything is worked out before the first file is written, and each file appears whole.
"""

import json
from collections.abc import Collection
from pathlib import Path

from reports.analysis import analyse
from reports.figures.style import recorded
from reports.forms.forms import forms
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from reports.page.page import page
from reports.report_json import report_json
from reports.results_csv import results_csv


def build(folder: Path, input: ReportInput, formats: Collection[str] = ()) -> list[str]:
    """Write `results.csv`, `report.json` and `index.html` into `folder`, which is made if need be.

    Args:
        folder: of the report.
        input: of the report.
        formats: of `reports.forms.forms.FORMATS`, what else to write.

    Returns:
        The files that were written, relative to `folder`.

    Raises:
        ValueError: input that contradicts itself (`checked`), or a table of unknown rows.
        FileNotFoundError: a strip's PNG is not where the input says.
        ModuleNotFoundError: a format needs a library that is not installed.
    """
    analysis = analyse(input)
    with recorded() as drawings:
        html = page(input, analysis)
    files: dict[str, bytes] = {
        name: text.encode("utf-8")
        for name, text in {
            RESULTS: results_csv(input.values),
            NUMBERS: json.dumps(report_json(input, analysis), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            PAGE: html,
        }.items()
    }
    files |= forms(input, analysis, drawings, formats)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)
    return list(files)
