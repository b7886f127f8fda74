"""The page: one HTML file with everything in it, nothing fetched, readable without scripts."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from reports import bounds, figures, judges, tables
from reports.analysis import BOUND, Analysis
from reports.differences import DIFFERENCES
from reports.input import ReportInput, Strip
from reports.published import SOURCE, analyse_published
from reports.statistics.agreement import kendall, pearson
from reports.statistics.intervals import LEVEL, complete, interval_or_none
from reports.statistics.panel import row_label
from reports.statistics.resampling import RESAMPLES, limits
from reports.statistics.scores import BRANCHES, bundle_name
from reports.statistics.table import Table, agreement, comparisons, inversions
from reports.tables import number

TEMPLATES = Path(__file__).parent / "templates"

STRIP_ORDER = ("return", "loop", "replay")


SI = "si"
"""Shape of a number printed with a factor of a thousand as a letter."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number of the first screen."""

    value: str
    name: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The strip of one row: a data URI."""

    row: str
    family: str
    same: str
    image: str


def page(given: ReportInput, analysis: Analysis) -> str:
    """The HTML of the report.

    Raises:
        FileNotFoundError: a strip's PNG is not where the input says.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    published = analyse_published()
    table = analysis.tables.get(analysis.main)
    return environment.get_template("report.html.j2").render(
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        given=given,
        analysis=analysis,
        seeds=", ".join(map(str, given.seeds)),
        rows=sum(row.family != BOUND for row in analysis.rows),
        distinct=sum(row.label == row.computed_by for row in analysis.rows if row.family != BOUND),
        bounds=bounds.measures(analysis),
        ceiling=bounds.CEILING,
        floor=bounds.FLOOR,
        tiles=_tiles(given, analysis),
        figures=_figures(given, analysis, table),
        tables=[tables.printed(analysis, name) for name in analysis.tables],
        every=[
            tables.every_metric(analysis, b) for b in BRANCHES if any(m.startswith(f"{b}/") for m in analysis.means)
        ],
        agreement=_agreement(analysis),
        judges=judges.agreement(given),
        inversions=_inversions(analysis),
        comparisons=_comparisons(analysis),
        gains=analysis.gains,
        strips=_strips(given, analysis),
        costs=_costs(analysis),
        family={row.label: row.family for row in analysis.rows},
        sections=json.dumps(given.controls.sections, indent=2, sort_keys=True, ensure_ascii=False),
        differences=DIFFERENCES,
        published=published,
        published_source=SOURCE,
        published_tables=[tables.printed(published, name) for name in published.tables],
        published_agreement=_agreement(published),
        published_figures=_published_figures(published),
        resamples=RESAMPLES,
        level=round(100 * LEVEL),
        lone_seed=len(set(given.seeds)) == 1,
    )


def _tiles(given: ReportInput, analysis: Analysis) -> list[Tile]:
    found = []
    table = analysis.tables.get(analysis.main)
    if table is not None and np.isfinite(r := float(pearson(table.scores["replay"], table.scores["return"]))):
        tau = float(kendall(table.scores["replay"], table.scores["return"]))
        detail = f"Kendall's τ {number(tau, 2)}"
        if table.draws is not None:
            between = limits(pearson(table.draws["replay"], table.draws["return"]), LEVEL)
            if between is not None:
                detail = f"{number(between[0], 2)} to {number(between[1], 2)} over resamples; {detail}"
        found.append(Tile(value=number(r, 2), name="r of replay and return over the rows", detail=detail))
    if table is not None:
        found += _winners(table)
    found += _memory(analysis)
    trained = [row.label for row in analysis.rows if row.family != BOUND and row.computed_by == row.label]
    total = sum(panel.expected * len(trained) for panel in analysis.panels.values())
    there = sum(analysis.counted(name, row)[0] for name in analysis.panels for row in trained)
    missing = len(given.missing)
    found.append(
        Tile(
            value=f"{1000 * there // total / 10:g} %" if total else "0 %",
            # How many values a metric without any would have had is not known.
            name="of the values are there" + (", of metrics that have any" if missing else ""),
            detail=(f"not there: {total - there}; " if there < total else "")
            + (f"missing: {missing} of the cells' parts" if missing else "no cell is missing a part"),
        )
    )
    return found


def _winners(table: Table) -> list[Tile]:
    scores = table.scores
    if not all(np.isfinite(scores[branch]).any() for branch in ("replay", "return")):
        return []
    best = {branch: table.rows[int(np.nanargmax(scores[branch]))] for branch in ("replay", "return")}
    inverting = len(inversions(table))
    both = int((np.isfinite(scores["replay"]) & np.isfinite(scores["return"])).sum())
    return [
        Tile(
            value=f"{inverting} of {both * (both - 1) // 2}",
            name="pairs of rows change order between replay and return",
            detail=f"best on replay: {best['replay']}; on return: {best['return']}".replace(
                "-", "\N{NON-BREAKING HYPHEN}"
            ),
        )
    ]


def _memory(analysis: Analysis) -> list[Tile]:
    """What context gains where the camera comes back, against the anchor alone."""
    suffix = analysis.main.partition("/")[2]
    found = []
    for metric, unit, decimals in (("return/psnr_truth_last", "dB", 1), ("return/judge", "points", 0)):
        panel = analysis.panels.get(metric)
        for long in ("context-k20", "context-k5"):
            labels = [row_label(row, suffix.replace("/", ";")) for row in (long, "context-k1")]
            a, b = (analysis.computed_by.get(label, label) for label in labels)
            if panel is None or a not in panel.rows or b not in panel.rows:
                continue
            cut = complete([panel.layout(a), panel.layout(b)])
            interval = interval_or_none(cut.layouts[0] - cut.layouts[1])
            if interval is not None:
                sign = "+" if interval.mean >= 0 else ""
                between = f"{number(interval.low, decimals)} to {number(interval.high, decimals)}"
                name = "against the rendered truth" if unit == "dB" else "of the judge"
                found.append(
                    Tile(
                        value=f"{sign}{number(interval.mean, decimals)} {unit}",
                        name=f"{name} on return, {long} over context-k1",
                        detail=f"{between} {unit}, {interval.kind}",
                    )
                )
                break
    return found


def _figures(given: ReportInput, analysis: Analysis, table: Table | None) -> Mapping[str, Markup]:
    family = {row.label: row.family for row in analysis.rows}
    found = dict.fromkeys(("normalised", "scatter", "ranks", "cost", "scaling", "loss"), "")
    if table is not None and _scored(table) >= 2:
        unit = analysis.panels["return/judge"].unit
        judge = f"return: judge ({unit})"
        found["normalised"] = figures.normalised_branches(table, family)
        found["scatter"] = figures.scatter(table, family, (f"replay: {bundle_name(set(analysis.means))}", judge))
        found["ranks"] = figures.rank_slopes(table, family)
        if sum(row in analysis.price for row in table.rows) >= 2:
            found["cost"] = figures.quality_against_cost(analysis, table, family, judge)
    context = [
        (int(row.label.split("/")[0].removeprefix("context-k")), row.label)
        for row in analysis.rows
        if row.label.split("/")[0].removeprefix("context-k").isdigit()
        and row.label.partition("/")[2] == analysis.main.partition("/")[2]
    ]
    metrics = [
        (metric, label)
        for metric, label in (
            ("replay/psnr", "replay PSNR, dB"),
            ("return/judge", "return judge, points"),
            ("return/psnr_truth_last", "return PSNR to truth, dB"),
        )
        if metric in analysis.means
    ]
    if len(context) > 1 and metrics:
        found["scaling"] = figures.context_scaling(analysis, sorted(context), metrics)
    if given.curves:
        found["loss"] = figures.loss_curves(given.curves, family)
    return {name: Markup(svg) for name, svg in found.items()}


def _published_figures(published: Analysis) -> Mapping[str, Markup]:
    family = {row.label: row.family for row in published.rows}
    table = published.tables["families"]
    drawn = {
        "scatter": figures.scatter(table, family, ("replay: replay_bundle", "return: judge (points, VLM)")),
        "ranks": figures.rank_slopes(table, family),
    }
    return {name: Markup(svg) for name, svg in drawn.items()}


def _scored(table: Table) -> int:
    return int((np.isfinite(table.scores["replay"]) & np.isfinite(table.scores["return"])).sum())


def _agreement(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """(table, [r, rho, tau of replay and return, then of replay and loop, then of loop and return])."""
    return [
        (name, [number(values[key], 2) for values in agreement(table).values() for key in values])
        for name, table in analysis.tables.items()
    ]


def _inversions(analysis: Analysis) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(name, pairs) for name, table in analysis.tables.items() if (pairs := inversions(table))]


def _comparisons(analysis: Analysis) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (name, found)
        for name, table in analysis.tables.items()
        if (found := comparisons(table, analysis.computed_by, analysis.panels))
    ]


def _strips(given: ReportInput, analysis: Analysis) -> list[tuple[str, str, list[Picture]]]:
    """(branch, case, pictures): per branch the case that most rows have, one picture a distinct row."""
    found = []
    for branch in STRIP_ORDER:
        by_case: dict[str, dict[str, Strip]] = {}
        for strip in sorted((s for s in given.strips if s.branch == branch), key=lambda s: s.seed):
            by_case.setdefault(strip.case, {}).setdefault(row_label(strip.row, strip.axes), strip)
        if not by_case:
            continue
        case = min(by_case, key=lambda c: (-len(by_case[c]), c))
        pictures = [_picture(row.label, row.family, analysis, by_case[case]) for row in analysis.rows]
        found.append((branch, case, [picture for picture in pictures if picture is not None]))
    return found


def _picture(row: str, family: str, analysis: Analysis, strips: Mapping[str, Strip]) -> Picture | None:
    if analysis.computed_by[row] != row or row not in strips:
        return None
    same = [label for label, by in analysis.computed_by.items() if by == row and label != row]
    data = base64.b64encode(Path(strips[row].path).read_bytes()).decode("ascii")
    return Picture(row=row, family=family, same=", ".join(same), image=f"data:image/png;base64,{data}")


def _costs(analysis: Analysis) -> tuple[Sequence[str], list[tuple[str, list[str]]]]:
    """Column names and (row, cells): training counted and measured, then seconds of every other stage."""
    wanted = [
        ("train", "parameters_added", "parameters added", "{:,.0f}"),
        ("train", "tokens", "tokens per forward", SI),
        ("train", "tokens_written", "tokens per write", SI),
        ("train", "flops", "FLOPs per step", SI),
        ("train", "s_per_step", "s per step", "{:.3f}"),
        ("train", "device_s", "train, s", "{:.0f}"),
        ("train", "peak_mib", "train peak, MiB", "{:.0f}"),
    ]
    stages = sorted({stage for by in analysis.costs.values() for stage in by} - {"train"})
    wanted += [(stage, "device_s", f"{stage}, s", "{:.0f}") for stage in stages]
    wanted = [w for w in wanted if any(w[1] in by.get(w[0], {}) for by in analysis.costs.values())]
    lines = []
    for row in analysis.rows:
        by = analysis.costs.get(row.label)
        if by is not None:
            values = [(by.get(stage, {}).get(key), shape) for stage, key, _, shape in wanted]
            lines.append((row.label, ["" if value is None else _shaped(value, shape) for value, shape in values]))
    return [name for _, _, name, _ in wanted], lines


def _shaped(value: float, shape: str) -> str:
    """`value` by a format, or as three digits and a letter: 8.00 G."""
    if shape != SI:
        return shape.format(value)
    power = min(6, max(0, int(np.log10(value) // 3))) if value > 0 else 0
    return f"{value / 1000.0**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}".strip()
