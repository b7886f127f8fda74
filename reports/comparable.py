"""Comparable results: which rows a violated control takes out of every comparison.

A check that is `violated` lists the cells that did other than the rest (`ControlsCertificate.verdicts`); `mixed` and
`open` take nothing away. A row's mean rests on all its seeds, so one such cell makes the row's numbers not comparable
on the branch that the check is about, or on all branches. They are still shown, crossed out, and take part in no
difference, rank, score of several rows or figure. A violated check that lists no cell concerns every row.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reports.columns import Bools, Columns
from reports.input import CaseValues, ControlsCertificate
from reports.statistics.panel import row_label

VIOLATED = "violated"
"""Verdict of a check that did not hold, and what a line of results.csv of such a cell says."""

NOT_COMPARABLE = "not comparable"
"""Verdict of a finding that rests on such a row."""

DIGITS = 9
"""Two findings are the same answer where they agree to as many significant digits."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A control that did not hold."""

    check: str
    detail: str
    branch: str
    """The only branch whose numbers rest on it; empty: all do."""
    cells: frozenset[str]
    """Ids of the cells, `ROW/KEY=VALUE/s0`; empty: every cell."""

    def concerns(self, label: str, branch: str) -> bool:
        """Whether numbers of a row (`row_label`) on a branch rest on it."""
        return (not self.cells or label in self._labels) and self.branch in ("", branch)

    @property
    def rows(self) -> list[str]:
        """Labels of its rows, by name; empty: every row."""
        return sorted(self._labels)

    @cached_property
    def _labels(self) -> frozenset[str]:
        return frozenset(map(row_of, self.cells))


def violations(controls: ControlsCertificate) -> tuple[Violation, ...]:
    """The controls that did not hold, in the order of the checks."""
    return tuple(
        Violation(
            check=str(one["check"]),
            detail=str(one.get("detail", "")),
            branch=str(one.get("branch", "")),
            cells=frozenset(map(str, one.get("cells", ()))),
        )
        for one in controls.verdicts
        if one["verdict"] == VIOLATED
    )


def row_of(cell: str) -> str:
    """The row's label in a cell's id: all but the seed."""
    return cell.rpartition("/")[0]


def violated(found: Sequence[Violation], values: Columns) -> Bools:
    """Whether each value rests on a violated control, (values,)."""
    cells, at = values.distinct("row", "axes", "seed", "branch")
    named = [(f"{row_label(row, axes)}/s{seed}", branch) for row, axes, seed, branch in cells]
    bad = [
        any((not one.cells or cell in one.cells) and one.branch in ("", branch) for one in found)
        for cell, branch in named
    ]
    return np.array(bad, dtype=np.bool_)[at]


@dataclass(frozen=True, kw_only=True)
class CrossedOut:
    """The rows that are not comparable on some branch."""

    violations: tuple[Violation, ...]
    same: Mapping[str, frozenset[str]]
    """Label -> all labels of the same computation; of the rows that take part in comparisons."""

    def concerning(self, label: str, branch: str) -> list[Violation]:
        """The violated controls that a row's numbers on a branch rest on, under any of its names."""
        names = self.same.get(label, frozenset())
        return [one for one in self.violations if any(one.concerns(name, branch) for name in names)]

    def has_seed(self, label: str, branch: str, seed: int) -> bool:
        """Whether the row's cell of one seed, under any of its names, is one that a violated control lists."""
        cells = {f"{name}/s{seed}" for name in self.same.get(label, frozenset())}
        return any(not one.cells or one.cells & cells for one in self.concerning(label, branch))

    def rows(self, branches: Collection[str]) -> list[str]:
        """Labels of the rows that are not comparable on one of these branches, in order."""
        return [label for label in self.same if any(self.concerning(label, branch) for branch in branches)]


def crossed_out(given: CaseValues, computed_by: Mapping[str, str]) -> CrossedOut | None:
    """The rows that are not comparable; None: every control held.

    Args:
        given: with the controls.
        computed_by: label -> label of the row with the same computation, of every row that is compared.
    """
    found = violations(given.controls)
    if not found:
        return None
    names: dict[str, list[str]] = {}
    for label, original in computed_by.items():
        names.setdefault(original, []).append(label)
    return CrossedOut(
        violations=found, same={label: frozenset(names[original]) for label, original in computed_by.items()}
    )


def answered(
    without: Sequence[Mapping[str, Any]], of_all: Sequence[Mapping[str, Any]], rows: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Findings, of which those that rest on rows that are not comparable say so instead of giving a verdict.

    A finding rests on such rows where its answer is another one without them: it was asked of all its rows, and of
    fewer it would be another question. Its numbers are those of all rows, to be crossed out.

    Args:
        without: findings over comparable rows, as `findings.findings` gives them.
        of_all: the same findings over all rows.
        rows: that are not comparable.
    """
    why = f"a control of {', '.join(rows)} is violated"
    found: list[Mapping[str, Any]] = []
    for here, there in zip(without, of_all, strict=True):
        if _comparison(here) == _comparison(there):
            found.append(here)
            continue
        detail = "; ".join(filter(None, (why, str(there["detail"]))))
        found.append({**there, "verdict": NOT_COMPARABLE, "p_adjusted": None, "detail": detail})
    return found


def _comparison(finding: Mapping[str, Any]) -> str:
    """A finding's own answer as text: what depends on the other findings is left out."""
    own = {key: value for key, value in finding.items() if key not in ("verdict", "p_adjusted")}
    return json.dumps(_rounded(own), sort_keys=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None
