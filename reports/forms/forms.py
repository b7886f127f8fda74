"""Forms of a report beside its page: Markdown, LaTeX, Parquet, and figures as files."""

from collections.abc import Collection, Mapping

from reports.analysis import Analysis
from reports.input import ReportInput

FORMATS: Mapping[str, str] = {}


def forms(given: ReportInput, analysis: Analysis, formats: Collection[str]) -> dict[str, bytes]:
    return {}
