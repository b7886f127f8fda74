"""The page: one HTML file with everything in it, nothing fetched, readable without scripts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import instruments, references
from reports.analysis import Analysis, analyse_published
from reports.durations import by_stage
from reports.factors import effects_of
from reports.figures.style import FamilyLook, looks_of
from reports.formats import commits, decimals_of, number
from reports.frontier import frontier
from reports.input import ReportInput
from reports.noise import competing, noise
from reports.page import figures, groups, tables
from reports.page.costs import cost_table
from reports.page.strips import strips
from reports.page.tables import BUNDLE
from reports.page.tiles import tiles
from reports.spec import ImageSpec, PublishedTables, ReportSpec
from reports.statistics.intervals import LEVEL
from reports.statistics.panel import row_label
from reports.statistics.resampling import RESAMPLES
from reports.statistics.table import agreement, comparisons, inversions

TEMPLATES = Path(__file__).parent / "templates"

REFERENCE = "reference"
"""CSS class of reference rows."""


@dataclass(frozen=True, kw_only=True)
class InversionTable:
    """Pairs of rows of one table that the two branches order differently."""

    name: str
    headings: Sequence[str]
    """How far apart the pair is on either branch."""
    lines: Sequence[tuple[str, str, str, str, str]]
    """Better on the first branch, on the second, both differences, probability."""


@dataclass(frozen=True, kw_only=True)
class PublishedPart:
    """The section of published tables."""

    source: str
    caption: Markup
    findings: Sequence[Mapping[str, Any]]
    tables: Sequence[tables.PrintedTable]
    agreement: Sequence[tuple[str, list[str]]]
    figures: Mapping[str, Markup]
    css: Mapping[str, str]


def page(given: ReportInput, analysis: Analysis) -> str:
    """The HTML of the report.

    Raises:
        FileNotFoundError: a strip's PNG is not where the input says.
    """
    found_noise, given = noise(given), competing(given)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["commits"] = commits
    environment.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    spec, scoring = analysis.spec, analysis.scoring
    declared = None if spec.published is None else spec.published()
    published = None if declared is None else analyse_published(spec, declared)
    looks = looks_of(
        row.family for part in (analysis, published) if part is not None for row in part.rows if not row.reference
    )
    own_families = dict.fromkeys(row.family for row in analysis.rows if not row.reference)
    judged, sized = analysis.instruments, frontier(analysis)
    return environment.get_template("report.html.j2").render(
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        given=given,
        analysis=analysis,
        spec=spec,
        words=spec.words,
        contrast=scoring.contrast,
        pairs=scoring.pairs,
        main=analysis.main or spec.main_table,
        seeds=", ".join(map(str, given.seeds)),
        rows=sum(not row.reference for row in analysis.rows),
        distinct=sum(row.label == row.computed_by for row in analysis.rows if not row.reference),
        references=references.measures(analysis),
        lines=references.reference_lines(analysis),
        guards=references.guards(analysis),
        left_out=_left_out(given),
        tiles=tiles(given, analysis),
        noise=found_noise,
        legend=[(looks[family].css, spec.family_labels.get(family, family)) for family in own_families],
        figures=figures.page_figures(given, analysis, looks, sized),
        frontier=sized,
        effects=effects_of(analysis),
        scaling=figures.scalings(analysis, looks),
        group_curves=groups.curves_parts(analysis, figures.looks_of_rows(analysis, looks)),
        group_falls=groups.falls_parts(analysis),
        tables=[tables.printed(analysis, name) for name in analysis.tables],
        without_rows=[
            (name, rows)
            for name, rows in analysis.lacking.items()
            if all(name != printed.partition("/")[0] for printed in analysis.tables)
        ],
        every=[
            tables.every_metric(analysis, b)
            for b in (*scoring.names, *(branch.name for branch in scoring.unranked))
            if any(m.startswith(f"{b}/") for m in analysis.means)
        ],
        agreement=_agreement(analysis),
        instruments=judged,
        instruments_caption=_instruments_caption(spec, judged),
        inversions=_inversions(analysis),
        comparisons=_comparisons(analysis),
        gains=analysis.gains,
        images=spec.images or ImageSpec(),
        strips=strips(given, analysis),
        costs=cost_table(analysis),
        durations=by_stage(given.durations),
        excluded=_excluded(given),
        row_css=_row_css(analysis, looks),
        quality=figures.quality_branch(scoring),
        sections=json.dumps(given.sections, indent=2, sort_keys=True, ensure_ascii=False),
        published=None if declared is None or published is None else _published(declared, published, looks),
        resamples=RESAMPLES,
        level=round(100 * LEVEL),
        lone_seed=len(set(given.seeds)) == 1,
    )


def _left_out(given: ReportInput) -> list[tuple[str, str, str]]:
    """(row, branch, reason) of the branches on which a reference row has no meaning, once for all seeds."""
    return list(dict.fromkeys((row_label(one.row, one.axes), one.branch, one.reason) for one in given.left_out))


def _excluded(given: ReportInput) -> list[tuple[str, str, str, str]]:
    """(row, axes, seeds, entry) of the excluded cells, one for each row and combination of axis values."""
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for one in given.excluded:
        seeds.setdefault((one.row, one.axes, one.entry), []).append(one.seed)
    return [(row, axes, ", ".join(map(str, of)), entry) for (row, axes, entry), of in seeds.items()]


def _row_css(analysis: Analysis, looks: Mapping[str, FamilyLook]) -> dict[str, str]:
    return {row.label: REFERENCE if row.reference else looks[row.family].css for row in analysis.rows}


def _published(given: PublishedTables, published: Analysis, looks: Mapping[str, FamilyLook]) -> PublishedPart:
    drawn = figures.of_contrast(published, figures.looks_of_rows(published, looks))
    return PublishedPart(
        source=given.source,
        caption=Markup(given.caption),
        findings=published.findings,
        tables=[tables.printed(published, name) for name in published.tables],
        agreement=_agreement(published),
        figures={name: Markup(svg) for name, svg in drawn.items()},
        css=_row_css(published, looks),
    )


def _agreement(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """(table, [r, rho, tau of every pair of branches])."""
    return [
        (name, [number(values[key], 2) for values in agreement(table).values() for key in values])
        for name, table in analysis.tables.items()
    ]


def _inversions(analysis: Analysis) -> list[InversionTable]:
    contrast = analysis.scoring.contrast
    if contrast is None:
        return []
    first, second = contrast
    scores = [analysis.scoring.of(branch).score for branch in contrast]
    names = [BUNDLE if len(score) > 1 else score[0].metric if score else "" for score in scores]
    decimals = [
        2 if len(score) > 1 else decimals_of(analysis.spec, name) for score, name in zip(scores, names, strict=True)
    ]
    # Two metrics of one name, and a bundle always, are named with their branches.
    headings = [
        f"{branch} {name}" if name == BUNDLE or names[0] == names[1] else name
        for branch, name in zip(contrast, names, strict=True)
    ]
    return [
        InversionTable(
            name=name,
            headings=[f"difference in {heading}" for heading in headings],
            lines=[
                (
                    pair[f"better_on_{first}"],
                    pair[f"better_on_{second}"],
                    number(pair[f"{first}_difference"], decimals[0]),
                    number(pair[f"{second}_difference"], decimals[1]),
                    "–" if pair["probability"] is None else number(pair["probability"], 2),
                )
                for pair in pairs
            ],
        )
        for name, table in analysis.tables.items()
        if (pairs := inversions(table))
    ]


def _instruments_caption(spec: ReportSpec, judged: Sequence[instruments.InstrumentAgreement]) -> Markup:
    if spec.instruments is None or not judged:
        return Markup("")
    return Markup(spec.instruments.caption).format(leading=Markup("<code>{}</code>").format(judged[0].a))


def _comparisons(analysis: Analysis) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (name, found)
        for name, table in analysis.tables.items()
        if (found := comparisons(table, analysis.computed_by, analysis.panels))
    ]
