"""Findings: hypotheses of the study, each tested for an effect, an interval, a p value and a verdict.

Holm's adjustment is over all findings with a p value. Without case values there is none, and the verdict is "point
estimate".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reports.statistics.intervals import holm
from reports.statistics.panel import Panel
from reports.statistics.table import Table

Verdict = Literal["supported", "contradicted", "undecided", "point estimate", "not comparable"]
"""`not comparable`: it rests on a row whose controls did not hold (`comparable.answered`)."""

ALPHA = 0.05


def not_in_profile(rows: Iterable[str]) -> str:
    """`a and b are not in this profile`; empty without rows."""
    named = list(dict.fromkeys(rows))
    return f"{' and '.join(named)} {'is' if len(named) == 1 else 'are'} not in this profile" if named else ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The data that findings are tested on."""

    table: Table
    """The main table; without one, a table of all rows."""
    computed_by: Mapping[str, str]
    means: Mapping[str, Mapping[str, float]]
    panels: Mapping[str, Panel]
    """Empty without case values."""
    cost: Mapping[str, float]
    """Price of each distinct row; empty where unknown."""
    cost_name: str = ""
    suffix: str = ""
    """Values of the axes, as row labels end in them; empty without axes."""

    outside: frozenset[str] = frozenset()
    """Labels of rows that are not in this profile."""

    def without(self, rows: Iterable[str]) -> str:
        """`context-k5 is not in this profile`, of these row labels; empty: the profile has all of them."""
        return not_in_profile(row for row in rows if row in self.outside)

    def label(self, row: str) -> str:
        """The row's label among rows with axes."""
        return f"{row}/{self.suffix}" if self.suffix else row

    @property
    def has_cases(self) -> bool:
        """Whether there are case values, not only means."""
        return self.table.draws is not None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Result of a finding, before the adjustment."""

    effect: float | None
    low: float | None = None
    high: float | None = None
    p_supported: float | None = None
    """p value for the claim; None: the effect has the other sign, or there are no cases."""
    p_contradicted: float | None = None
    unit: str = ""
    detail: str = ""
    parts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def findings(
    questions: Sequence[tuple[str, str, Callable[[Material], Answer]]], material: Material
) -> list[dict[str, Any]]:
    """All findings as in report.json: `{"id", "statement", "effect", "low", "high", "verdict"}` and more."""
    answers = [question(material) for _, _, question in questions]
    best = [_smaller(answer.p_supported, answer.p_contradicted) for answer in answers]
    asked = [i for i, p in enumerate(best) if p is not None]
    adjusted = dict(zip(asked, holm([p for p in best if p is not None]), strict=True))
    return [
        {
            "id": name,
            "statement": statement,
            "effect": answer.effect,
            "low": answer.low,
            "high": answer.high,
            "verdict": _verdict(answer, adjusted.get(i), material.has_cases),
            "unit": answer.unit,
            "p_adjusted": adjusted.get(i),
            "detail": answer.detail,
            "parts": [dict(part) for part in answer.parts],
        }
        for i, ((name, statement, _), answer) in enumerate(zip(questions, answers, strict=True))
    ]


def _smaller(a: float | None, b: float | None) -> float | None:
    known = [p for p in (a, b) if p is not None]
    return min(known) if known else None


def _verdict(answer: Answer, p: float | None, has_cases: bool) -> Verdict:
    if answer.effect is not None and not has_cases:
        return "point estimate"
    if answer.effect is None or p is None or p > ALPHA:
        return "undecided"
    for_it = answer.p_supported if answer.p_supported is not None else 2.0
    against = answer.p_contradicted if answer.p_contradicted is not None else 2.0
    return "supported" if for_it <= against else "contradicted"
