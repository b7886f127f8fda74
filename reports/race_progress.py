"""How far a race is, in numbers and in words, from what `reports.race` found."""

from collections import Counter
from collections.abc import Mapping, Sequence

from reports.formats import number, shown_unit
from reports.input import Race, RacedRow

FIRST = 3
"""Seeds before the first look: two decide nothing."""
LARGEST_E = 1e6
"""E-values above are shown as such."""


def looks(seeds: int) -> Sequence[int]:
    """The numbers of seeds after which a race over so many looks at the results."""
    return range(min(FIRST, max(seeds, 2)), seeds + 1)


def seeds_looked_at(of: Race) -> int:
    """How many seeds the last look was at; 0: there was none."""
    return max((one.seeds for one in of.rows), default=0)


def wanted(of: Race) -> Sequence[int]:
    """The seeds that the next look needs; empty: the race is over."""
    looked = seeds_looked_at(of)
    after = [number for number in looks(len(of.seeds)) if number > looked]
    return of.seeds[: after[0]] if after and any(one.outcome == "open" for one in of.rows) else ()


def stopped(of: Race) -> Mapping[str, RacedRow]:
    """Name of a row -> its comparison, of rows of which none is open; with axes, the one that stopped last."""
    by_row: dict[str, list[RacedRow]] = {}
    for one in of.rows:
        by_row.setdefault(one.row.partition("/")[0], []).append(one)
    found = {
        name: max(parts, key=lambda one: one.seeds)
        for name, parts in by_row.items()
        if all(one.outcome != "open" for one in parts)
    }
    return found | {name: found[row] for name, row in of.with_row.items() if row in found}


def saved_seeds(given: Race) -> tuple[int, int]:
    """(trainings of raced rows that stopping saved, all that were planned)."""
    return sum(len(given.seeds) - one.seeds for one in given.rows if one.outcome != "open"), (
        len(given.seeds) * len(given.rows)
    )


def outcome_words(one: RacedRow, given: Race) -> str:
    """`differs from ROW`, `within ±5 points of ROW`, `undecided`, or why it has no values."""
    if one.outcome == "within":
        return f"within ±{given.margin:g} {shown_unit(given.unit)} of {given.baseline}".replace("  ", " ")
    if one.outcome == "differs":
        return f"differs from {given.baseline}"
    if one.outcome == "open":
        return "open" if wanted(given) else "undecided"
    return f"no values: {one.reason}"


def stopped_words(given: Race) -> dict[str, tuple[int, str]]:
    """Name of a row that stopped -> (after how many seeds, why, for people)."""
    found = {
        name: (one.seeds, f"the race, after {one.seeds} seeds: {outcome_words(one, given)}")
        for name, one in stopped(given).items()
    }
    if not wanted(given):
        end = seeds_looked_at(given)
        ended = end, f"the race, after {end} seeds: no comparison is open"
        found |= dict.fromkeys((name for name, row in given.with_row.items() if not row), ended)
    return found


def difference_words(one: RacedRow) -> str:
    """`12.3 (10.1 to 14.5)`; empty: it was not looked at."""
    if one.effect is None:
        return ""
    limits = "" if one.low is None or one.high is None else f" ({number(one.low, 1)} to {number(one.high, 1)})"
    return f"{number(one.effect, 1)}{limits}"


def evidence_words(value: float) -> str:
    """An e-value, for people."""
    return f"> {LARGEST_E:,.0f}" if value > LARGEST_E else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def race_text(given: Race) -> str:
    """The race for a terminal: a line, and one for each comparison."""
    looked = seeds_looked_at(given)
    saved, planned = saved_seeds(given)
    counts: Counter[str] = Counter(one.outcome for one in given.rows)
    names = {"differs": "differs", "within": "within", "open": "open" if wanted(given) else "undecided"}
    names["no values"] = "no values"
    said = ", ".join(f"{counts[outcome]} {name}" for outcome, name in names.items() if counts[outcome])
    lines = [
        f"race against {given.baseline} on {given.metric}, after {looked} of {len(given.seeds)} seeds: {said}; "
        f"{saved} of {planned} trainings not needed"
    ]
    width = max((len(one.row) for one in given.rows), default=0)
    for one in given.rows:
        evidence = f"e {evidence_words(one.outside if one.outcome == 'within' else one.adjusted)}"
        parts = (difference_words(one), evidence, f"{one.seeds} seeds") if one.seeds else ()
        lines.append(f"  {one.row:<{width}}  {'; '.join((outcome_words(one, given), *parts))}")
    return "\n".join(lines)
