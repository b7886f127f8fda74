"""Marks of the best rows in tables: their signs and words, the same on the page, in every file and in `results`.

`statistics.best` says which row has which. Standard library only.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

Mark = Literal["best", "may be best", "best mean", ""]

FEWEST_SCENES = 6
"""Fewer than two rows share show no difference: 6 is the fewest with which a sign test of two rows can be significant,
as 2 / 2^6 is below 0.05 and 2 / 2^5 is not."""

SIGNS: Mapping[Mark, str] = {"best": "*", "may be best": "?", "best mean": "^"}
"""Mark -> what stands behind a number."""
PRINTED: Mapping[Mark, str] = {**SIGNS, "best": "bold"}
"""The same where print can be bold."""

MEANINGS: Mapping[Mark, str] = {
    "best": "is the best: every other row is shown to be worse",
    "may be best": "may be the best: it is not shown to be worse, as other rows are",
    "best mean": "is the best mean, and no more: no row is shown to be worse",
}
"""Mark -> what it says of its column."""


def sign_of(mark: Mark) -> str:
    """What stands behind a number; empty without a mark."""
    return SIGNS.get(mark, "")


def printed_sign_of(mark: Mark) -> str:
    """The same where a number of the mark `best` is bold instead."""
    return "" if mark == "best" else sign_of(mark)


TEST = "Holm within the column, p < 0.05"


def test_of(units: str, seeds: int) -> str:
    """How it is shown that a row is worse.

    Args:
        units: name of the sampling units besides seeds (`Words.units`).
        seeds: of the study.
    """
    return f"worse: paired over {units}{' and seeds' if seeds > 1 else ' only'}, {TEST}"


def explained(marks: Iterable[Mark], signs: Mapping[Mark, str] = SIGNS) -> list[str]:
    """A line for each of these marks."""
    there = set(marks)
    return [f"{signs[mark]} {meaning}" for mark, meaning in MEANINGS.items() if mark in there]


def too_few(columns: Mapping[str, int], units: str) -> str:
    """Which columns can show no difference of rows, whatever their values are; empty: each of them can.

    Args:
        columns: name -> units that most two of its rows share.
        units: their name.
    """
    few: dict[int, list[str]] = {}
    for name, scenes in columns.items():
        if scenes < FEWEST_SCENES:
            few.setdefault(scenes, []).append(name)
    counts = "; ".join(f"{scenes or 'none'} of {', '.join(names)}" for scenes, names in few.items())
    return f"too few {units} to show that a row is worse: {counts} ({FEWEST_SCENES} are needed)" if few else ""
