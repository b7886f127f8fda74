"""The first screen: the answer in words, the ranking of all rows, and strips of the best, the middle and the floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.analysis import Analysis
from reports.answer import StudyAnswer, answer
from reports.figures.ranking import MOST_ROWS, drawn_rows, ranking_chart
from reports.figures.style import FamilyLook
from reports.formats import number
from reports.input import ReportInput
from reports.marks import explained
from reports.page.data_links import Behind
from reports.page.frames import Frames, frames_of
from reports.page.shown import shown_rows
from reports.page.strips import chosen
from reports.ranking import RankedBranch, Ranking
from reports.spec import ImageSpec


@dataclass(frozen=True, kw_only=True)
class AnswerStrip:
    """One line of pictures: which row, why it is shown, and its score."""

    row: str
    place: str
    """`best`, `middle`, the names of ceiling and floor."""
    score: str
    frames: Frames


@dataclass(frozen=True, kw_only=True)
class AnswerPart:
    """What the first screen shows."""

    answer: StudyAnswer
    ranking: Ranking | None
    chart: Markup
    caption: str
    behind: Behind | None
    branch: str
    """Of the strips."""
    case: str
    strips: Sequence[AnswerStrip]
    """Empty: no image is there of the branch that answers."""


def answer_part(
    given: ReportInput, analysis: Analysis, looks: Mapping[str, FamilyLook], found: Ranking | None
) -> AnswerPart:
    """The first screen; `looks`: of the rows."""
    case, strips = ("", ()) if found is None else _strips(given, analysis, found)
    chart = "" if found is None else ranking_chart(found, looks, [_title(branch) for branch in found.branches])
    return AnswerPart(
        answer=answer(given, analysis, found),
        ranking=found,
        chart=Markup(chart),
        caption="" if found is None else _caption(analysis, found),
        behind=None if found is None or not chart else behind(found),
        branch="" if found is None else found.last.branch,
        case=case,
        strips=strips,
    )


def _strips(given: ReportInput, analysis: Analysis, found: Ranking) -> tuple[str, list[AnswerStrip]]:
    spec = analysis.spec.images or ImageSpec()
    for branch, case, by_row in chosen(given, analysis):
        if branch != found.last.branch:
            continue
        strips = []
        for row, place in shown_rows(analysis, found):
            if row in by_row:
                mean = analysis.mean(found.last.metric, row) if found.last.metric else None
                score = number(mean, found.last.decimals)
                frames = frames_of(by_row[row].path, spec, spec.chosen)
                if frames is not None:
                    strips.append(AnswerStrip(row=row, place=place, score=score, frames=frames))
        return case, strips
    return "", []


def _title(branch: RankedBranch) -> str:
    unit = f", {branch.unit}" if branch.unit not in ("", branch.name) else ""
    name = branch.name if branch.metric else f"{branch.name} (worst 0, best 1)"
    return f"{branch.branch}: {name}{unit}{' (less is better)' if branch.better == 'low' else ''}"


def _caption(analysis: Analysis, found: Ranking) -> str:
    first, last = found.branches[0].branch, found.last.branch
    drawn = len(drawn_rows(found))
    total = len(found.rows)
    text = f"Every distinct row, best at the top{f', on {first} and on {last}' if first != last else ''}"
    if total > drawn == MOST_ROWS:
        text = f"The best {drawn} of {total} distinct rows on {last}, best at the top"
    over = (
        f"over {analysis.spec.words.units} only" if found.seeds == 1 else f"over {analysis.spec.words.units} and seeds"
    )
    bars = f" Bars: 95 % intervals {over}." if any(branch.limits for branch in found.branches) else ""
    thick = " Thick: surely ordered differently." if found.sure else ""
    marks = {mark for row in found.last.order if (mark := found.best.mark(row))}
    filled = "".join(f" {line}." for line in explained(marks, dict.fromkeys(marks, f"What is filled on {last}")))
    return f"{text}.{bars}{filled}{thick}"


def behind(found: Ranking) -> Behind:
    """The data of the ranking chart."""
    headings = ["row"]
    for branch in found.branches:
        headings += [f"{branch.branch} rank", f"{branch.branch} {branch.name}", "from", "to"]
    lines: list[list[str | float | None]] = []
    for row in dict.fromkeys(row for branch in reversed(found.branches) for row in branch.order):
        line: list[str | float | None] = [row]
        for branch in found.branches:
            place = branch.order.index(row) + 1 if row in branch.scores else None
            line += [place, branch.scores.get(row), *branch.limits.get(row, (None, None))]
        lines.append(line)
    return Behind(name="ranking", headings=headings, lines=lines)
