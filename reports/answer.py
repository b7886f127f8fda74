"""Answer: what the numbers say, in sentences, and no more than their statistics carry.

Which row is best on the branch that answers the question, how sure that is, on which scale, and first of all whether
the branches of the contrast disagree. With one seed nothing is said about another training.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.formats import number
from reports.input import ReportInput
from reports.ranking import RankedBranch, Ranking
from reports.spec import ReferenceSpec, ReportSpec, Words
from reports.statistics.intervals import LEVEL, Interval
from reports.statistics.inversions import inverted

MOST_NAMED = 4
"""Rows that a sentence names; of more it says how many."""
FEWEST_PAIRS = 6
"""Of a table that is named as the one with the largest share of pairs that change order."""


@dataclass(frozen=True, kw_only=True)
class Answer:
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


def answer(given: ReportInput, analysis: Analysis, ranking: Ranking | None) -> Answer:
    """The answer of a study."""
    spec = analysis.spec
    limits = given.notes[0] if given.notes else ""
    if ranking is None or not ranking.last.order:
        asked = "" if ranking is None else f" on {ranking.last.branch}"
        crossed = [] if ranking is None else _crossed_out(analysis, ranking)
        claim = f"No {spec.words.row} has a score{asked} yet, so there is no answer."
        if crossed:
            claim = f"No {spec.words.row} can be compared{asked}: controls are violated, so there is no answer."
        gaps = _gaps(given, analysis, None)
        return Answer(disagreement="", disagrees=False, claim=claim, surety="", gaps=gaps, limits=limits)
    return Answer(
        disagreement=_disagreement(analysis, ranking),
        disagrees=bool(ranking.sure),
        claim=_claim(spec, ranking),
        surety=_surety(spec, ranking),
        gaps=_gaps(given, analysis, ranking),
        limits=limits,
    )


def _claim(spec: ReportSpec, ranking: Ranking) -> str:
    words, last = spec.words, ranking.last
    first = last.order[0]
    among = f"On {last.branch}"
    value = f"{_value(last, last.scores[first])}{_on_scale(spec.references, last)}"
    behind_floor = _behind_floor(spec, ranking)
    if behind_floor:
        return f"{among}, {behind_floor}"
    if len(last.order) == 1:
        return f"{among}, {first} is the only {words.row} with a score: {value}."
    if len(ranking.best) <= 1:
        seeds = ", of the networks trained here" if ranking.seeds == 1 else ""
        return f"{among}{seeds}, {first} {words.best}: {value}."
    others = [row for row in last.order if row in ranking.best and row != first]
    if len(ranking.best) >= len(last.order):
        return (
            f"{among}, no {words.row} can be called better than another: {first} has the best mean, {value}, and none "
            f"of the others is significantly worse."
        )
    verb = "is" if len(others) == 1 else "are"
    return (
        f"{among}, {first} has the best mean, {value}; {_named(others, words)} {verb} not significantly worse, so "
        f"that none of these {len(ranking.best)} can be called better than another."
    )


def _behind_floor(spec: ReportSpec, ranking: Ranking) -> str:
    """What is said where the best row is not shown to do better than the floor; else empty."""
    words, last, over = spec.words, ranking.last, ranking.over_floor
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


def _surety(spec: ReportSpec, ranking: Ranking) -> str:
    words, last = spec.words, ranking.last
    first = last.order[0]
    found, limits = [], last.limits.get(first)
    units = words.units
    if limits is not None:
        over = f"{ranking.scenes} {units}" + (", one seed" if ranking.seeds == 1 else f" and {ranking.seeds} seeds")
        low, high = (number(limit, last.decimals) for limit in limits)
        found.append(f"The {round(100 * LEVEL)} % interval of {first} is {low} to {high}, over {over}")
    else:
        found.append(f"The score of {first} has no interval")
    over_baseline = ranking.over_baseline
    if over_baseline is not None and spec.references is not None:
        sure = "" if over_baseline.low > 0 else ", which may be chance"
        found[-1] += (
            f"; it is {_value(last, over_baseline.mean)} better than {spec.references.baseline} "
            f"({_between(last, over_baseline)}){sure}"
        )
    if ranking.seeds == 1:
        found.append(
            f"One seed gives no verdict: another training may order the {words.rows} differently, and an interval over "
            f"{units} says nothing of it"
        )
    return ". ".join(found) + "."


def _disagreement(analysis: Analysis, ranking: Ranking) -> str:
    if len(ranking.branches) < 2 or not ranking.pairs:
        return ""
    words = analysis.spec.words
    first, last = ranking.branches
    names = f"{first.branch} and {last.branch}"
    pairs = f"{ranking.pairs} pairs of {words.rows}" if ranking.pairs > 1 else f"one pair of {words.rows}"
    if not ranking.inverted:
        return f"{_capital(names)} order {'all ' if ranking.pairs > 1 else 'the '}{pairs} alike."
    change = f"{ranking.inverted} of {pairs} change{'s' if ranking.inverted == 1 else ''} order between {names}"
    leaders = ""
    if first.order[0] != last.order[0]:
        leaders = f"; the best mean on {first.branch} is that of {first.order[0]}"
    most = _most(analysis)
    if not ranking.sure:
        none = "not surely" if ranking.inverted == 1 else "none of them surely"
        return f"{change}{most}, {none}: that the branches disagree is not shown{leaders}."
    one = ranking.sure[0]
    surely = f"{len(ranking.sure)} of them surely" if ranking.inverted > 1 else "surely"
    here = ", for the networks trained here" if ranking.seeds == 1 else ""
    return (
        f"The branches disagree: {change}{most}, {surely}{here}, clearest {one.better_on_first} (better on "
        f"{first.branch}) and {one.better_on_second} (better on {last.branch}){leaders}."
    )


def _most(analysis: Analysis) -> str:
    """The table with the largest share of pairs that change order."""
    shares = []
    for name, table in analysis.tables.items():
        count = len(table.rows) * (len(table.rows) - 1) // 2
        found = len(inverted(table))
        if found and count >= FEWEST_PAIRS:
            shares.append((found / count, name, found, count))
    if len(analysis.tables) < 2 or not shares:
        return ""
    _, name, found, count = max(shares, key=lambda one: one[0])
    return f" (most in the table {name}: {found} of {count})"


def _gaps(given: ReportInput, analysis: Analysis, ranking: Ranking | None) -> str:
    found = []
    if ranking is not None:
        crossed = _crossed_out(analysis, ranking)
        if crossed:
            found.append(f"left out, as a control is violated: {_named(crossed, given.spec.words)}")
        lacking = [row for row in ranking.rows if row not in ranking.last.scores and row not in crossed]
        if lacking:
            found.append(f"without a score on {ranking.last.branch}: {_named(lacking, given.spec.words)}")
    if given.missing:
        found.append("missing: one result" if len(given.missing) == 1 else f"missing: {len(given.missing)} results")
    return "" if not found else f"{_capital('; '.join(found))}. The answer may change with them."


def _crossed_out(analysis: Analysis, ranking: Ranking) -> list[str]:
    """Rows that a violated control takes out of the comparison."""
    if analysis.crossed_out is None:
        return []
    crossed = set(analysis.crossed_out.rows([branch.branch for branch in ranking.branches]))
    return [row for row in ranking.rows if row in crossed]


def _on_scale(references: ReferenceSpec | None, last: RankedBranch) -> str:
    """The scale's ends."""
    if references is None or last.floor is None or last.ceiling is None:
        return ""
    floor, ceiling = number(last.floor, last.decimals), number(last.ceiling, last.decimals)
    return (
        f", on a scale from {floor} (floor: {_floor_name(references)}) to {ceiling} "
        f"(ceiling: {references.ceiling_name})"
    )


def _floor_name(references: ReferenceSpec) -> str:
    return references.floor if references.floor_name == "floor" else references.floor_name


def _value(of: RankedBranch, value: float) -> str:
    return f"{number(value, of.decimals)} {of.unit}".strip()


def _between(of: RankedBranch, interval: Interval) -> str:
    return f"{number(interval.low, of.decimals)} to {number(interval.high, of.decimals)}"


def _named(rows: Collection[str], words: Words) -> str:
    names: Sequence[str] = list(rows)
    if len(names) > MOST_NAMED:
        names = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} other {words.rows}"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
