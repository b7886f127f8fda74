"""The race: which comparisons with the baseline stopped, after how many seeds, and by which e-value."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.formats import shown_unit
from reports.input import Race, RacedRow
from reports.race_progress import difference_words, evidence_words, outcome_words, saved_seeds, wanted


@dataclass(frozen=True, kw_only=True)
class RacePart:
    """The section."""

    intro: str
    lines: Sequence[tuple[str, str, str, str, str, str]]
    """Row, what became of it, seeds, difference with its limits, e-value of the family, e-value against the margin."""


def race_part(given: Race | None) -> RacePart | None:
    """The section; None: the rows did not race."""
    if given is None:
        return None
    level, unit = f"{100 * given.alpha:g} %", shown_unit(given.unit)
    margin = f"{given.margin:g} {unit}".strip()
    end = "It goes on." if wanted(given) else "It is over."
    saved, planned = saved_seeds(given)
    return RacePart(
        intro=(
            f"Every row against {given.baseline} on {given.metric}: seed after seed, until its comparison is decided. "
            f"It differs where its e-value, adjusted for all {len(given.rows)} comparisons, reaches "
            f"{1 / given.alpha:g}: with probability {level} at most, whenever one looks, some row is called different "
            f"that is not. It stops as within the margin where its e-value against a difference of {margin} or more "
            f"does{f' ({given.reason})' if given.reason else ''}: so would {level} at most of rows that differ by as "
            f"much. Limits hold at every look, for one row. {end} {saved} of {planned} trainings were not needed."
        ),
        lines=[_line(one, given) for one in given.rows],
    )


def _line(one: RacedRow, given: Race) -> tuple[str, str, str, str, str, str]:
    return (
        one.row,
        outcome_words(one, given),
        str(one.seeds),
        difference_words(one),
        evidence_words(one.adjusted),
        evidence_words(one.outside),
    )
