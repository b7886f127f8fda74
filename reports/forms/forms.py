"""Forms of a report beside its page: Markdown, LaTeX, Parquet, and figures as files."""

from collections.abc import Collection, Mapping, Sequence

from reports.analysis import Analysis
from reports.comparable import violations
from reports.figures.style import Drawing
from reports.input import ReportInput

FORMATS: Mapping[str, tuple[str, ...]] = {"md": (), "latex": (), "parquet": ("pyarrow",), "svg": (), "pdf": ()}
"""Names of the forms -> the libraries that each needs beside those of every report."""


def forms(
    given: ReportInput, analysis: Analysis, drawings: Sequence[Drawing], formats: Collection[str]
) -> dict[str, bytes]:
    """The files of these forms, by name relative to the report's folder.

    Args:
        given: of the report.
        analysis: of the report.
        drawings: the figures of its page.
        formats: of `FORMATS`.

    Raises:
        ModuleNotFoundError: the library of a form is not installed.
    """
    found: dict[str, bytes] = {}
    if "md" in formats:
        from reports.forms.markdown import report_md

        found["report.md"] = report_md(given, analysis).encode("utf-8")
    if "latex" in formats:
        from reports.forms.latex import latex_files

        found |= {f"latex/{name}": text.encode("utf-8") for name, text in latex_files(given, analysis).items()}
    if "parquet" in formats:
        from reports.forms.parquet import results_parquet

        found["results.parquet"] = results_parquet(analysis.values, violations(given.controls))
    shown = [form for form in ("svg", "pdf") if form in formats]
    if shown:
        from reports.forms.figure_files import figure_files

        found |= {
            f"figures/{name}": content for name, content in figure_files(given, analysis, drawings, shown).items()
        }
    return found
