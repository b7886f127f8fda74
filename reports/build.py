"""The report: results.csv, report.json, one self-contained page, and the forms of it that are asked for.

Everything is worked out, and every file is written beside its place, before the first one appears; each appears whole.
"""

from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure

from reports.against import ResultsComparison, comparison_json
from reports.analysis import analyse
from reports.comparable import violations
from reports.figures.style import drawn, recorded
from reports.forms.against_text import against_md
from reports.forms.forms import forms
from reports.input import NUMBERS, PAGE, RESULTS, ReportInput
from reports.json_text import indented, pieces
from reports.page.page import load_templates, page
from reports.report_json import report_json
from reports.results_csv import results_pieces


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
    numbers = report_json(input, analysis)
    files: dict[str, Iterable[bytes]] = {
        RESULTS: (text.encode() for text in results_pieces(analysis.values, violations(input.controls))),
        NUMBERS: (text.encode() for text in chain(pieces(numbers), ["\n"])),
        PAGE: [html.encode()],
        **{name: [content] for name, content in forms(input, analysis, drawings, formats).items()},
    }
    if against is not None:
        files["against.md"] = [against_md(against).encode()]
        files["against.json"] = [f"{indented(comparison_json(against))}\n".encode()]
    folder.mkdir(parents=True, exist_ok=True)
    written = {name: _written(folder / name, content) for name, content in files.items()}
    for name, temporary in written.items():
        temporary.replace(folder / name)
    return list(files)


def warm_up() -> None:
    """Do once what takes this process longer the first time: importing this did, compiling templates, loading fonts."""

    def draw(figure: Figure) -> None:
        figure.subplots().set_title("0")

    load_templates()
    drawn(1.0, 1.0, draw)


def _written(path: Path, content: Iterable[bytes]) -> Path:
    """A temporary file beside `path` with this content, in pieces: texts of millions of values are never whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.writelines(content)
    return temporary
