"""The section of published tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports.analysis import Analysis
from reports.figures.style import FamilyLook
from reports.page import agreement, figure_data, figures, tables
from reports.page.data_links import Behind
from reports.spec import PublishedTables


@dataclass(frozen=True, kw_only=True)
class PublishedPart:
    """Published tables, as the page prints them."""

    source: str
    caption: Markup
    findings: Sequence[Mapping[str, Any]]
    tables: Sequence[tables.PrintedTable]
    marks: str
    """What their marks mean."""
    agreement: Sequence[tuple[str, list[str]]]
    figures: Mapping[str, Markup]
    behind: Behind | None
    """Data of the figures."""
    css: Mapping[str, str]


def published_part(given: PublishedTables, published: Analysis, looks: Mapping[str, FamilyLook]) -> PublishedPart:
    """The section; `published` is the analysis of `given`."""
    drawn = figures.of_contrast(published, figures.looks_of_rows(published, looks))
    shown = [tables.printed(published, name) for name in published.tables]
    return PublishedPart(
        source=given.source,
        caption=Markup(given.caption),
        findings=published.findings,
        tables=shown,
        marks=tables.marks_note(published, shown),
        agreement=agreement.lines(published),
        figures={name: Markup(svg) for name, svg in drawn.items()},
        behind=figure_data.of_branches(published, "published"),
        css=figures.row_css(published, looks),
    )
