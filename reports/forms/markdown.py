"""report.md: the report as GitHub shows it: answer, findings, tables, disagreement, what is missing, controls."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.analysis import Analysis, analyse_published
from reports.answer import answer
from reports.comparable import NOT_COMPARABLE
from reports.formats import capitalised, commits, number, p_text, shown_unit
from reports.input import ReportInput
from reports.page import agreement, inversions, missing
from reports.page.tables import PrintedTable, TableLine, marks_note, printed
from reports.ranking import ranking
from reports.scoreboard import headlines
from reports.statistics.best import BestRows
from reports.statistics.intervals import LEVEL

MOST_ABSENT = 30
"""Missing results that are listed; the others are counted."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
"""Characters with a meaning in Markdown or HTML."""


def report_md(given: ReportInput, analysis: Analysis) -> str:
    """The report as GitHub-flavoured Markdown."""
    parts = [
        f"# {escaped(given.study)} · {escaped(given.profile)}",
        _facts(given, analysis),
        "## Answer",
        "\n\n".join(map(escaped, answer(given, analysis, ranking(analysis)).sentences)),
        "### The best of each branch",
        *_best(analysis),
        *(["## Notes", list_md(map(escaped, given.notes))] if given.notes else []),
        *_findings("## Findings", analysis),
        *_tables("## Tables", analysis),
        *_disagreement(analysis),
        *_missing(given),
        *_controls(given),
        *_published(analysis),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def table_md(heading: Sequence[str], lines: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of Markdown; the first `left` columns are text, the others numbers."""
    rule = ["---" if i < left else "--:" for i in range(len(heading))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *lines))


def list_md(lines: Iterable[str]) -> str:
    """A list of Markdown."""
    return "\n".join(f"* {line}" for line in lines)


def _facts(given: ReportInput, analysis: Analysis) -> str:
    seeds = ", ".join(map(str, given.seeds))
    facts = [
        f"{'seed' if len(given.seeds) == 1 else 'seeds'} {seeds}",
        f"{sum(not row.reference for row in analysis.rows)} rows",
    ]
    facts += [f"controls `{given.controls.fingerprint[:12]}`"] if given.controls.fingerprint else []
    facts += [f"commit `{commits(given.git)}`"] if given.git else []
    return " · ".join(facts)


def _best(analysis: Analysis) -> list[str]:
    """The best rows of every branch, by the metric that stands for it."""
    lines = []
    rows = [row.label for row in analysis.rows if not row.reference]
    for column in headlines(analysis):
        name = f"{column.branch}/{column.metric}"
        means = {row: mean for row in rows if (mean := analysis.mean(name, row)) is not None}
        if not means:
            lines.append(f"**{escaped(column.branch)}**: no values.")
            continue
        best = analysis.best(name, rows, column.better)
        order = sorted(means, key=lambda row: means[row], reverse=column.better == "high")
        first = order[0]
        limits = analysis.limits(name, first)
        interval = "" if limits is None else f" ({_to(*limits, column.decimals)})"
        unit = f" {escaped(shown_unit(column.unit))}" if column.unit else ""
        lines.append(
            f"**{escaped(column.branch)}**, {escaped(column.name)}: {escaped(first)} has the best mean, "
            f"{number(means[first], column.decimals)}{unit}{interval}, of {len(means)} rows"
            f"{_shown_of(analysis, order, best)}."
        )
    crossed = () if analysis.crossed_out is None else analysis.crossed_out.violations
    for violation in crossed:
        rows_of = ", ".join(map(escaped, violation.rows)) or "every row"
        lines.append(f"Not comparable, as the control {escaped(violation.check)} did not hold: {rows_of}.")
    if not lines:
        return ["There are no values yet."]
    kinds = {i.kind for name in analysis.panels for row in rows if (i := analysis.interval(name, row)) is not None}
    units = analysis.spec.words.units
    said = f"{round(100 * LEVEL)} % intervals over {units}" + (
        " only: there is one seed, and another training may change the order."
        if "scenes only" in kinds
        else " and seeds."
    )
    return [list_md(lines), said if kinds else "There are no intervals: no row has two cases of one metric."]


def _shown_of(analysis: Analysis, order: Sequence[str], best: BestRows) -> str:
    """What is shown of the best of these rows; empty of a single one."""
    distinct = dict.fromkeys(analysis.computed_by[row] for row in order)
    if len(distinct) < 2:
        return ""
    if not best.is_shown:
        return "; no row is shown to be worse"
    if len(best.rows) == 1:
        return f"; every row but {escaped(*best.rows)} is shown to be worse"
    return f"; not shown to be worse, as others are: {', '.join(escaped(row) for row in order if row in best.rows)}"


def _findings(heading: str, analysis: Analysis) -> list[str]:
    if not analysis.findings:
        return []
    return [
        heading,
        table_md(
            ("", "statement", "verdict", "effect", "detail"),
            [
                (escaped(f["id"]), escaped(_statement(f)), escaped(f["verdict"]), _effect(f, analysis), _detail(f))
                for f in analysis.findings
            ],
            left=5,
        ),
    ]


def _statement(finding: Mapping[str, Any]) -> str:
    return f"{finding['statement']} ({finding['axes']})" if finding["axes"] else str(finding["statement"])


def _effect(finding: Mapping[str, Any], analysis: Analysis) -> str:
    if finding["effect"] is None:
        return "no value"
    decimals = analysis.spec.finding_decimals.get(finding["unit"], 2)
    low, high = finding["low"], finding["high"]
    interval = "" if low is None or high is None else f" ({_to(low, high, decimals)})"
    text = f"{number(finding['effect'], decimals)} {escaped(finding['unit'])}{interval}"
    return f"~~{text}~~" if finding["verdict"] == NOT_COMPARABLE else text


def _detail(finding: Mapping[str, Any]) -> str:
    p = finding["p_adjusted"]
    held = "" if p is None else f"p after Holm {p_text(p)}"
    possible = finding.get("verdicts_with_failures", [finding["verdict"]])
    failures = "" if possible == [finding["verdict"]] else f"with the unanswered cases: {' or '.join(possible)}"
    return "; ".join(filter(None, (escaped(finding["detail"]), held, failures)))


def _tables(heading: str, analysis: Analysis) -> list[str]:
    tables = [printed(analysis, name) for name in analysis.tables]
    if not tables:
        return []
    note = marks_note(analysis, tables)
    about = (
        f"Mean ± half of its interval; {f'{escaped(note)}. ' if note else ''}k/N: values present. "
        "Crossed out: a control did not hold, so that the number can be compared with no other."
    )
    parts = [part for table in tables for part in (f"### {escaped(table.name)}", _table(table), _sentence(table.note))]
    return [heading, about, *filter(None, parts)]


def _sentence(note: str) -> str:
    return f"{escaped(capitalised(note))}." if note else ""


def _table(table: PrintedTable) -> str:
    arrows = {"high": "↑", "low": "↓"}
    heading = [
        escaped(f"{column.branch} {column.name}")
        + f" {arrows[column.better]}"
        + (f" ({escaped(column.unit)})" if column.unit else "")
        for column in table.columns
    ]
    outside = [(escaped(row), "not in this profile", *("" for _ in table.columns[1:])) for row in table.outside]
    return table_md(("row", *heading), [*map(_line, table.lines), *outside, *map(_line, table.references)])


def _line(line: TableLine) -> list[str]:
    cells = [escaped(line.row) + (f" = {escaped(line.same_as)}" if line.same_as else "")]
    for cell in line.cells:
        text = cell.text or "missing"
        text = (f"**{text}**" if cell.mark == "best" else f"{text}{escaped(cell.sign)}") + (
            f" ±{cell.spread}" if cell.spread else ""
        )
        text = f"~~{text}~~" if cell.crossed_out else text
        beside = "; ".join(filter(None, (cell.present, cell.unanswered)))
        cells.append(text + (f" [{beside}]" if beside else ""))
    return cells


def _disagreement(analysis: Analysis) -> list[str]:
    pairs = analysis.scoring.pairs
    if not pairs:
        return []
    heading = ["table", *(escaped(f"{a} and {b}: {kind}") for a, b in pairs for kind in ("r", "ρ", "τ"))]
    parts = [
        "## Where the branches disagree",
        table_md(heading, [(escaped(n), *v) for n, v in agreement.lines(analysis)]),
    ]
    for table in inversions.inversion_tables(analysis):
        first, second = analysis.scoring.contrast or ("", "")
        columns = (f"better on {first}", f"better on {second}", *table.headings, "probability", "p adjusted")
        parts += [
            f"### {escaped(table.name)}: {table.count} of {table.pairs} pairs ordered differently",
            escaped(table.chance),
            table_md([*map(escaped, columns)], [[*map(escaped, line)] for line in table.lines], left=2),
        ]
    return parts


def _missing(given: ReportInput) -> list[str]:
    if not given.missing and not given.excluded:
        return ["## What is missing", "Nothing: every cell is complete."]
    lines = [
        [escaped(one) for one in (f"{m.row} {m.axes}".strip(), str(m.seed), m.branch, m.state, m.reason)]
        for m in given.missing
    ]
    more = len(lines) - MOST_ABSENT
    parts = ["## What is missing", table_md(("row", "seed", "part", "state", "reason"), lines[:MOST_ABSENT], left=5)]
    if not lines:
        parts = ["## What is missing", "Nothing but what is excluded."]
    parts += [f"And {more} more; report.json lists all."] if more > 0 else []
    excluded = [[escaped(one) for one in line] for line in missing.excluded(given)]
    return parts + (
        ["Excluded on purpose:", table_md(("row", "axes", "seeds", "by"), excluded, left=4)] if excluded else []
    )


def _controls(given: ReportInput) -> list[str]:
    controls = given.controls
    if not controls.fingerprint and not controls.verdicts:
        return ["## Controls", "What was held equal is not known."]
    parts = ["## Controls", f"Fingerprint `{controls.fingerprint}`"]
    lines = [
        [escaped(str(one.get(key, ""))) for key in ("check", "verdict", "detail")] + [str(len(one.get("cells", ())))]
        for one in controls.verdicts
    ]
    parts += [table_md(("check after the run", "verdict", "detail", "cells"), lines, left=3)] if lines else []
    deviations = [
        [escaped(str(one.get("key", ""))), escaped(", ".join(one.get("rows", ()))), escaped(str(one.get("reason", "")))]
        for one in controls.deviations
    ]
    return parts + (["Deviations:", table_md(("key", "rows", "reason"), deviations, left=3)] if deviations else [])


def _published(analysis: Analysis) -> list[str]:
    spec = analysis.spec
    if spec.published is None:
        return []
    declared = spec.published()
    found = analyse_published(spec, declared)
    about = f"{escaped(declared.source)}, through the same code; means without intervals."
    tables = [
        part for name in found.tables for part in (f"### {escaped(name)}, published", _table(printed(found, name)))
    ]
    return ["## Published numbers", about, *_findings("### Findings on the published numbers", found), *tables]


def _to(low: float, high: float, decimals: int) -> str:
    return f"{number(low, decimals)} to {number(high, decimals)}"
