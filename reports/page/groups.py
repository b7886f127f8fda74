"""Sections of the page for branches whose cases have groups: curves with half-lives, and tables of falls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.analysis import Analysis
from reports.figures import groups as drawing
from reports.figures.style import FamilyLook
from reports.formats import decimals_of, number
from reports.group_results import changes, half_lives, shown
from reports.groups import grouped
from reports.spec import GroupChanges, GroupCurves


@dataclass(frozen=True, kw_only=True)
class CurvesPart:
    """A figure, and the half-life of each row on each of its metrics."""

    curves: GroupCurves
    figure: Markup
    headings: Sequence[str]
    lines: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """Row, and for each metric its half-life and why there is none."""


@dataclass(frozen=True, kw_only=True)
class FallCell:
    """One fall; `text` empty: not measured."""

    text: str
    spread: str
    """Half its interval; empty without one."""
    clear: bool
    """Its interval excludes 0."""


@dataclass(frozen=True, kw_only=True)
class FallsPart:
    """The table of one metric."""

    table: GroupChanges
    first: bool
    """The first one of its table, above which the caption stands."""
    name: str
    unit: str
    lines: Sequence[tuple[str, str, Sequence[FallCell]]]
    """Row, its baseline, and a fall for each group."""


def curves_parts(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> list[CurvesPart]:
    """The figures that have something to draw; `looks`: of the rows."""
    found = []
    for curves in analysis.spec.group_curves:
        figure = drawing.group_curves(analysis, curves, looks)
        lives = {
            title: known for metric, title in shown(analysis, curves) if (known := half_lives(analysis, curves, metric))
        }
        if figure:
            rows = [row.label for row in analysis.rows if any(row.label in known for known in lives.values())]
            lines = [(row, [(known[row].text, known[row].reason) for known in lives.values()]) for row in rows]
            found.append(CurvesPart(curves=curves, figure=Markup(figure), headings=list(lives), lines=lines))
    return found


def falls_parts(analysis: Analysis) -> list[FallsPart]:
    """The tables that have lines."""
    found: list[FallsPart] = []
    for table in analysis.spec.group_changes:
        for metric, name in shown(analysis, table):
            by_row: dict[str, dict[str, FallCell]] = {}
            decimals = decimals_of(analysis.spec, metric)
            for one in changes(analysis, table, metric):
                spread = "" if one.low is None or one.high is None else number((one.high - one.low) / 2, decimals)
                clear = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
                cell = FallCell(text=number(one.fall, decimals), spread=spread, clear=clear)
                by_row.setdefault(one.row, {})[one.group] = cell
            base = grouped(f"{table.branch}/{metric}", table.baseline)
            none = FallCell(text="", spread="", clear=False)
            lines = [
                (row, number(analysis.mean(base, row), decimals), [cells.get(group, none) for group, _ in table.groups])
                for row, cells in by_row.items()
            ]
            if lines:
                first, unit = not any(part.table is table for part in found), analysis.panels[base].unit
                found.append(FallsPart(table=table, first=first, name=name, unit=unit, lines=lines))
    return found
