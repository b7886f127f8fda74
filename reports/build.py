"""The report: results.csv, report.json and one self-contained page.

Everything is worked out before the first file is written, and each file appears whole.
"""

import json
from pathlib import Path
from typing import Any

from reports import judges
from reports.analysis import Analysis, analyse, as_json, plain
from reports.input import ReportInput
from reports.page import page
from reports.results_csv import results_csv

VERSION = 1


def build(folder: Path, input: ReportInput) -> None:
    """Write `results.csv`, `report.json` and `index.html` into `folder`, which is made if need be.

    Raises:
        ValueError: input that contradicts itself (two values of one case, a table of unknown rows).
        FileNotFoundError: a strip's PNG is not where the input says.
    """
    analysis = analyse(input)
    files = {
        "results.csv": results_csv(input.values),
        "report.json": json.dumps(report_json(input, analysis), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "index.html": page(input, analysis),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)


def report_json(given: ReportInput, analysis: Analysis) -> dict[str, Any]:
    """The object of report.json."""
    whole = {
        "version": VERSION,
        "study": given.study,
        "profile": given.profile,
        "git": given.git,
        "seeds": list(given.seeds),
        **as_json(analysis),
        "controls": {
            "fingerprint": given.controls.fingerprint,
            "deviations": [dict(deviation) for deviation in given.controls.deviations],
            "verdicts": [dict(verdict) for verdict in given.controls.verdicts],
        },
        "judges": judges.as_json(given),
        "intervals": "over scenes only: one seed" if len(set(given.seeds)) == 1 else "over scenes and seeds",
        "missing": [
            {
                "row": part.row,
                "seed": part.seed,
                "axes": part.axes,
                "branch": part.branch,
                "state": part.state,
                "reason": part.reason,
            }
            for part in given.missing
        ],
        "notes": list(given.notes),
    }
    found: dict[str, Any] = plain(whole)
    return found
