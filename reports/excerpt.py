"""Excerpt: the input of a report as it is kept beside its values, small enough for a repository.

All values, costs, verdicts and durations stay. Strips and curves are chosen and thinned; nothing that is computed
depends on them.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from reports.analysis import Analysis, analyse
from reports.input import ReportInput, Strip
from reports.page.figures import quality_branch
from reports.page.shown import shown_rows
from reports.page.strips import chosen, evenly
from reports.page.videos import shown_videos
from reports.ranking import ranking
from reports.statistics.scores import headline
from reports.thinning import thinned

CURVE_POINTS = 100
"""Most points of a curve."""
BY_EYE = 10
"""Strips of the branch that stands for quality."""


def excerpt(given: ReportInput) -> ReportInput:
    """The input with fewer strips and thinner curves.

    Strips are of the case that the page shows. On the branch that stands for quality they are of ten rows from the best
    to the worst, evenly over their ranks, and of those on the first screen; on the others of the best and the middle
    one. Ceiling and floor are added. Videos are those that the page shows.
    """
    analysis = analyse(given)
    found = ranking(analysis)
    videos = [video for _, video in shown_videos(given, analysis, found) if Path(video.path).is_file()]
    return replace(
        given,
        strips=_strips(given, analysis, set() if found is None else {row for row, _ in shown_rows(analysis, found)}),
        videos=videos,
        curves=[thinned(curve, CURVE_POINTS) for curve in given.curves],
    )


def _strips(given: ReportInput, analysis: Analysis, first_screen: Collection[str]) -> list[Strip]:
    found: list[Strip] = []
    spec = analysis.spec.references
    bounds = set() if spec is None else {spec.ceiling, spec.floor}
    for branch, _, by_row in chosen(given, analysis):
        metric, better = headline(analysis.scoring.of(branch), analysis.means.keys())
        means = analysis.means.get(metric, {})
        ranked = [
            row.label
            for row in analysis.rows
            if not row.reference and row.label == row.computed_by and row.label in by_row and row.label in means
        ]
        ranked.sort(key=lambda row: means[row], reverse=better == "high")
        most = BY_EYE if branch == quality_branch(analysis.scoring) else 2
        kept = (
            {*first_screen, *(ranked[i] for i in evenly(len(ranked), most))}
            if most > 2
            else {*ranked[:1], *ranked[len(ranked) // 2 :][:1]}
        )
        found += [strip for row, strip in by_row.items() if row in kept or row.split("/")[0] in bounds]
    return found
