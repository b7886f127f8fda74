"""The page: one HTML file with everything in it, nothing fetched, readable without scripts."""

import json
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from reports import references
from reports.against import ResultsComparison
from reports.analysis import Analysis, analyse_published
from reports.durations import by_stage
from reports.factors import effects_of
from reports.figures.style import looks_of
from reports.formats import capitalised, commits, number, p_text, shown_unit
from reports.frontier import frontier
from reports.input import ReportInput
from reports.noise import competing, noise
from reports.page import agreement, figures, filters, groups, inversions, missing, tables
from reports.page.against import against_part
from reports.page.answer import answer_part
from reports.page.axes import axis_parts
from reports.page.costs import cost_table
from reports.page.findings import finding_groups
from reports.page.glossary import glossary
from reports.page.published import published_part
from reports.page.race import race_part
from reports.page.readable import anchor, readable
from reports.page.registration import registration_part
from reports.page.resolution import resolution_part
from reports.page.scale import scale_part
from reports.page.seeds import seed_table
from reports.page.sources import anchors, source_lines
from reports.page.strips import strips
from reports.page.tiles import tiles
from reports.page.videos import clips
from reports.power import power_json
from reports.ranking import ranking
from reports.spec import ImageSpec
from reports.statistics.intervals import LEVEL

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("report.css", "answer.css")
GLOSSARY = "<!-- glossary -->"
"""Where the glossary stands: its terms are those that the page before it uses."""


def page(given: ReportInput, analysis: Analysis, against: ResultsComparison | None = None) -> str:
    """The HTML of the report; `against`: its comparison with other results, as a section.

    Raises:
        FileNotFoundError: a strip's PNG is not where the input says.
    """
    with_again, found_noise, given = given, noise(given), competing(given)
    environment = _environment()
    spec, scoring = analysis.spec, analysis.scoring
    declared = None if spec.published is None else spec.published()
    published = None if declared is None else analyse_published(spec, declared)
    looks = looks_of(
        row.family for part in (analysis, published) if part is not None for row in part.rows if not row.reference
    )
    own_families = dict.fromkeys(row.family for row in analysis.rows if not row.reference)
    ranked, made = ranking(analysis), source_lines(given, analysis)
    judged, sized = analysis.instruments, frontier(analysis)
    chosen = filters.filters(analysis, given.seeds)
    shown = [tables.printed(analysis, name) for name in analysis.tables]
    every = [
        tables.every_metric(analysis, b)
        for b in (*scoring.names, *(branch.name for branch in scoring.unranked))
        if any(m.startswith(f"{b}/") for m in analysis.means)
    ]
    html = environment.get_template("report.html.j2").render(
        against=None if against is None else against_part(against),
        filters=chosen,
        rules=filters.rules(chosen),
        row_in=filters.classes(analysis),
        table_in=filters.table_classes(analysis),
        seed_in={seed: f" s{place}" for place, seed in enumerate(given.seeds)},
        seeds_of=seed_table(analysis, given.seeds),
        css=Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in STYLES)),
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
        left_out=missing.left_out(given),
        data=figures.figures_data(given, analysis, ranked),
        answer=answer_part(given, analysis, figures.looks_of_rows(analysis, looks), ranked),
        clips=clips(given, analysis, ranked),
        sources=made,
        source_of=anchors(made, analysis),
        has_runs=any(job.run for line in made for job in line.jobs),
        not_comparable=() if analysis.crossed_out is None else analysis.crossed_out.violations,
        tiles=tiles(given, analysis),
        noise=found_noise,
        resolution=resolution_part(power_json(with_again, analysis, analysis.main), spec),
        registration=registration_part(given.registration, analysis),
        race=race_part(given.race),
        legend=[(looks[family].css, spec.family_labels.get(family, family)) for family in own_families],
        figures=figures.page_figures(given, analysis, looks, sized, ranked),
        frontier=sized,
        effects=effects_of(analysis),
        scaling=figures.scalings(analysis, looks),
        group_curves=groups.curves_parts(analysis, figures.looks_of_rows(analysis, looks)),
        group_falls=groups.falls_parts(analysis),
        scale=scale_part(analysis, figures.looks_of_rows(analysis, looks)),
        tables=shown,
        marks_note=tables.marks_note(analysis, [*shown, *every]),
        without_rows=[
            (name, rows)
            for name, rows in analysis.lacking.items()
            if all(name != printed.partition("/")[0] for printed in analysis.tables)
        ],
        every=every,
        agreement=agreement.lines(analysis),
        agreement_notes=agreement.limits_notes(analysis),
        instruments=judged,
        instruments_caption=agreement.instruments_caption(spec, judged),
        inversions=inversions.inversion_tables(analysis),
        findings=finding_groups(analysis, given.defaults),
        axes=axis_parts(analysis, given.defaults),
        comparisons=tables.row_to_row(analysis),
        gains=analysis.gains,
        images=spec.images or ImageSpec(),
        strips=strips(given, analysis),
        costs=cost_table(analysis),
        durations=by_stage(given.durations),
        excluded=missing.excluded(given),
        row_css=figures.row_css(analysis, looks),
        price_name=figures.price_of_all(analysis, ranked)[1],
        quality=figures.quality_branch(scoring),
        sections=json.dumps(given.sections, indent=2, sort_keys=True, ensure_ascii=False),
        published=None if declared is None or published is None else published_part(declared, published, looks),
        level=round(100 * LEVEL),
        lone_seed=len(set(given.seeds)) == 1,
    )
    whole, used = readable(html, glossary(spec))
    terms = [(anchor(term), term) for term in used]
    return whole.replace(GLOSSARY, environment.get_template("sections/glossary.j2").render(terms=terms))


def load_templates() -> None:
    """Compile all templates, a fifth of a second: this process does not compile them again."""
    environment = _environment()
    for name in environment.list_templates(["j2"]):
        environment.get_template(name)


@cache
def _environment() -> jinja2.Environment:
    """What renders the page; it compiles each template once."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["p"] = p_text
    environment.filters["unit"] = shown_unit
    environment.filters["commits"] = commits
    environment.filters["capital"] = capitalised
    return environment
