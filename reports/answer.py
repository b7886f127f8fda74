"""Answer: what the numbers say, in sentences, and no more than their statistics carry.

Which row is best on the branch that answers the question, how sure that is, on which scale, and first of all whether
the branches of the contrast disagree. With one seed nothing is said about another training.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reports.analysis import Analysis
from reports.formats import capitalised, number
from reports.input import ReportInput
from reports.marks import too_few
from reports.ranking import RankedBranch, Ranking, ranking
from reports.spec import ReferenceSpec, ReportSpec, Words
from reports.statistics.intervals import LEVEL, Interval

MOST_NAMED = 4
"""Rows that a sentence names; of more it says how many."""
FEWEST_PAIRS = 6
"""Of a table that is named as the one with the largest share of pairs that change order."""


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """Sentences without markup; an empty one is not said."""

    disagreement: str
    """Whether the branches order the rows alike."""
    disagrees: bool
    """Whether some pair of rows is surely ordered differently: then `disagreement` comes first."""
    claim: str
    """Which row is best, or why none can be called so."""
    surety: str
    """Interval, units and seeds, and the difference from the baseline."""
    gaps: str
    """What is missing of it."""
    limits: str
    """What this scale cannot tell."""

    @property
    def sentences(self) -> list[str]:
        """All that is said, in order."""
        first = [self.disagreement, self.claim] if self.disagrees else [self.claim, self.disagreement]
        return [text for text in (*first, self.surety, self.gaps, self.limits) if text]


def answer(given: ReportInput, analysis: Analysis, found: Ranking | None) -> StudyAnswer:
    """The answer of a study."""
    spec = analysis.spec
    limits = given.notes[0] if given.notes else ""
    if found is None or not found.last.order:
        asked = "" if found is None else f" on {found.last.branch}"
        crossed = [] if found is None else _crossed_out(analysis, found)
        claim = f"No {spec.words.row} has a score{asked} yet, so there is no answer."
        if crossed:
            claim = f"No {spec.words.row} can be compared{asked}: controls are violated, so there is no answer."
        gaps = _gaps(given, analysis, None)
        return StudyAnswer(disagreement="", disagrees=False, claim=claim, surety="", gaps=gaps, limits=limits)
    return StudyAnswer(
        disagreement=_disagreement(analysis, found),
        disagrees=bool(found.sure),
        claim=_claim(spec, found),
        surety=_surety(spec, found),
        gaps=_gaps(given, analysis, found),
        limits=limits,
    )


def answer_json(given: ReportInput, analysis: Analysis) -> dict[str, Any]:
    """The answer as in report.json: sentences, the rows that may be called best, and the pairs that change order."""
    found = ranking(analysis)
    return {
        "sentences": answer(given, analysis, found).sentences,
        "branch": "" if found is None else found.last.branch,
        "best": [] if found is None else [row for row in found.last.order if row in found.best.rows],
        "pairs": 0 if found is None else found.pairs,
        "inverted": 0 if found is None else found.inverted,
        "surely_inverted": [] if found is None else [asdict(pair) for pair in found.sure],
    }


def _claim(spec: ReportSpec, ranked: Ranking) -> str:
    words, last = spec.words, ranked.last
    first = last.order[0]
    few = len(last.order) < len(ranked.rows)
    among = f"On {last.branch}" + (f", of the {len(last.order)} {words.rows} with a score" if few else "")
    value = f"{_value(last, last.scores[first])}{_on_scale(spec.references, last)}"
    behind_floor = _behind_floor(spec, ranked)
    if behind_floor:
        return f"On {last.branch}, {behind_floor}"
    if len(last.order) == 1:
        return f"On {last.branch}, {first} is the only {words.row} with a score: {value}."
    may_be_best = ranked.best.rows
    if len(may_be_best) == 1 and first in may_be_best:
        seeds = f",{' and' if few else ''} of the networks trained here" if ranked.seeds == 1 else ""
        return f"{among}{seeds}, {first} {words.best}: {value}."
    others = [row for row in last.order if row in may_be_best and row != first]
    if not ranked.best.is_shown:
        lacking = too_few({last.branch: ranked.best.scenes}, words.units)
        return (
            f"{among}, no {words.row} can be called better than another: {first} has the best mean, {value}, and none "
            f"of the others is significantly worse{f'; {lacking}' if lacking else ''}."
        )
    if first not in may_be_best:
        return (
            f"{among}, {first} has the best mean, {value}, and is significantly worse than another where both have "
            f"values; {_named(others, words)} may be best."
        )
    verb = "is" if len(others) == 1 else "are"
    return (
        f"{among}, {first} has the best mean, {value}; {_named(others, words)} {verb} not significantly worse, so "
        f"that none of these {len(may_be_best)} can be called better than another."
    )


def _behind_floor(spec: ReportSpec, ranked: Ranking) -> str:
    """What is said where the best row is not shown to do better than the floor; else empty."""
    words, last, over = spec.words, ranked.last, ranked.over_floor
    if last.floor is None or spec.references is None:
        return ""
    first, sign = last.order[0], 1.0 if last.better == "high" else -1.0
    name, floor = _floor_name(spec.references), _value(last, last.floor)
    if sign * (last.scores[first] - last.floor) <= 0:
        return (
            f"{words.nothing}: the floor ({name}) scores {floor}, and the best mean, of {first}, is "
            f"{_value(last, last.scores[first])}; this score rewards something else."
        )
    if over is not None and over.low <= 0:
        return (
            f"{words.nothing}: the best mean, of {first}, is {_value(last, last.scores[first])}, and its difference "
            f"from the floor ({name}: {floor}) may be chance ({_between(last, over)})."
        )
    return ""


def _surety(spec: ReportSpec, ranked: Ranking) -> str:
    words, last = spec.words, ranked.last
    first = last.order[0]
    found, limits = [], last.limits.get(first)
    units = words.units
    if limits is not None:
        over = f"{ranked.scenes} {units}" + (
            ", one seed" if ranked.interval_seeds == 1 else f" and {ranked.interval_seeds} seeds"
        )
        low, high = (number(limit, last.decimals) for limit in limits)
        found.append(f"The {round(100 * LEVEL)} % interval of {first} is {low} to {high}, over {over}")
    else:
        found.append(f"The score of {first} has no interval")
    over_baseline = ranked.over_baseline
    if over_baseline is not None and spec.references is not None:
        sure = "" if over_baseline.low > 0 else ", which may be chance"
        found[-1] += (
            f"; it is {_value(last, over_baseline.mean)} better than {spec.references.baseline} "
            f"({_between(last, over_baseline)}){sure}"
        )
    if ranked.seeds == 1:
        found.append(
            f"One seed gives no verdict: another training may order the {words.rows} differently, and an interval over "
            f"{units} says nothing of it"
        )
    if spec.references is not None:
        for line, score in ranked.lines_above.items():
            about = spec.references.lines[line]
            found.append(f"No {words.row} is above the line {line}, {_value(last, score)} ({about})")
    return ". ".join(found) + "."


def _disagreement(analysis: Analysis, ranked: Ranking) -> str:
    if len(ranked.branches) < 2 or not ranked.pairs:
        return ""
    words = analysis.spec.words
    first, last = ranked.branches
    names = f"{first.branch} and {last.branch}"
    pairs = f"{ranked.pairs} pairs of {words.rows}" if ranked.pairs > 1 else f"one pair of {words.rows}"
    if not ranked.inverted and ranked.tied:
        if ranked.pairs == 1:
            return f"The {pairs.removeprefix('one ')} is tied on {names}, or on one of them."
        is_tied = f"{ranked.tied} {'is' if ranked.tied == 1 else 'are'} tied"
        return f"None of {pairs} changes order between {names}; {is_tied} on one of them or both."
    if not ranked.inverted:
        return f"{capitalised(names)} order {'all ' if ranked.pairs > 1 else 'the '}{pairs} alike."
    change = f"{ranked.inverted} of {pairs} change{'s' if ranked.inverted == 1 else ''} order between {names}"
    leaders = ""
    if first.order[0] != last.order[0]:
        leaders = f"; the best mean on {first.branch} is that of {first.order[0]}"
    most = _most(analysis)
    if not ranked.sure:
        none = "not surely" if ranked.inverted == 1 else "none of them surely"
        return f"{change}{most}, {none}: that the branches disagree is not shown{leaders}."
    one = ranked.sure[0]
    surely = f"{len(ranked.sure)} of them surely" if ranked.inverted > 1 else "surely"
    here = ", for the networks trained here" if ranked.seeds == 1 else ""
    return (
        f"The branches disagree: {change}{most}, {surely}{here}, clearest {one.better_on_first} (better on "
        f"{first.branch}) and {one.better_on_second} (better on {last.branch}){leaders}."
    )


def _most(analysis: Analysis) -> str:
    """The table with the largest share of pairs that change order, beside what noise alone would give there."""
    counts = [(name, count) for name in analysis.tables if (count := analysis.inversions[name].count) is not None]
    large = [(name, count) for name, count in counts if count.observed and count.pairs >= FEWEST_PAIRS]
    if len(analysis.tables) < 2 or not large:
        return ""
    name, most = max(large, key=lambda one: one[1].observed / one[1].pairs)
    noise = "" if most.expected is None else f", where noise alone would give {number(most.expected, 1)}"
    return f" (most in the table {name}: {most.observed} of {most.pairs}{noise})"


def _gaps(given: ReportInput, analysis: Analysis, ranked: Ranking | None) -> str:
    found = []
    if ranked is not None:
        crossed = _crossed_out(analysis, ranked)
        if crossed:
            found.append(f"left out, as a control is violated: {_named(crossed, given.spec.words)}")
        lacking = [row for row in ranked.rows if row not in ranked.last.scores and row not in crossed]
        if lacking:
            found.append(f"without a score on {ranked.last.branch}: {_named(lacking, given.spec.words)}")
    if given.missing:
        found.append("missing: one result" if len(given.missing) == 1 else f"missing: {len(given.missing)} results")
    return "" if not found else f"{capitalised('; '.join(found))}. The answer may change with them."


def _crossed_out(analysis: Analysis, ranked: Ranking) -> list[str]:
    """Rows that a violated control takes out of the comparison."""
    if analysis.crossed_out is None:
        return []
    crossed = set(analysis.crossed_out.rows([branch.branch for branch in ranked.branches]))
    return [row for row in ranked.rows if row in crossed]


def _on_scale(references: ReferenceSpec | None, last: RankedBranch) -> str:
    """The scale's ends."""
    if references is None or last.floor is None or last.ceiling is None:
        return ""
    floor, ceiling = number(last.floor, last.decimals), number(last.ceiling, last.decimals)
    return (
        f", on a scale from {floor} (floor: {_floor_name(references)}) to {ceiling} "
        f"(ceiling: {_ceiling_name(references)})"
    )


def _floor_name(references: ReferenceSpec) -> str:
    return references.floor if references.floor_name == "floor" else references.floor_name


def _ceiling_name(references: ReferenceSpec) -> str:
    return references.ceiling if references.ceiling_name == "ceiling" else references.ceiling_name


def _value(of: RankedBranch, value: float) -> str:
    return f"{number(value, of.decimals)} {of.unit}".strip()


def _between(of: RankedBranch, interval: Interval) -> str:
    return f"{number(interval.low, of.decimals)} to {number(interval.high, of.decimals)}"


def _named(rows: Collection[str], words: Words) -> str:
    names: Sequence[str] = list(rows)
    if len(names) > MOST_NAMED:
        names = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} other {words.rows}"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
