"""Findings: hypotheses of the study, each tested for an effect, an interval, a p value and a verdict.

Holm's adjustment is over all findings with a p value, of all combinations of axis values. Without case values there is
none, and the verdict is "point estimate". With one seed there is none either, and the verdict is "one seed": limits
over cases say nothing of another training.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reports.statistics.intervals import ALPHA, FEWEST_SEEDS, holm
from reports.statistics.panel import Panel
from reports.statistics.table import Table

Verdict = Literal["supported", "contradicted", "undecided", "point estimate", "one seed", "not comparable"]
"""`not comparable`: it rests on a row whose controls did not hold (`comparable.answered`)."""

WANTED_SEEDS = 3
"""That a study with one seed is advised to have: two are enough for a verdict, and find little."""


def not_in_profile(rows: Iterable[str]) -> str:
    """`a and b are not in this profile`; empty without rows."""
    named = list(dict.fromkeys(rows))
    return f"{' and '.join(named)} {'is' if len(named) == 1 else 'are'} not in this profile" if named else ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The data that findings are tested on, of one combination of axis values."""

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
    pool: tuple[str, ...] = ()
    """The distinct rows that are trained, with these values of the axes: their scatter over seeds is pooled."""
    seeds: tuple[int, ...] = ()
    units: str = "cases"
    """Name of the sampling units besides seeds."""

    def without(self, rows: Iterable[str]) -> str:
        """`small is not in this profile`, of these row labels; empty: the profile has all of them."""
        return not_in_profile(row for row in rows if row in self.outside)

    def label(self, row: str) -> str:
        """The row's label among rows with axes."""
        return f"{row}/{self.suffix}" if self.suffix else row

    def known(self, *rows: str) -> bool:
        """Whether the study has all of these rows, in this profile or outside of it."""
        return all(row in self.computed_by or row in self.outside for row in map(self.label, rows))

    @property
    def has_cases(self) -> bool:
        """Whether there are case values, not only means."""
        return bool(self.panels)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Result of a finding, before the adjustment."""

    effect: float | None
    low: float | None = None
    high: float | None = None
    p_supported: float | None = None
    """p value for the claim; None: the effect has the other sign, or there are no cases."""
    p_contradicted: float | None = None
    seeds: int | None = None
    """Seeds that the limits rest on; None: there are no limits."""
    unit: str = ""
    detail: str = ""
    parts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """`{"name", "effect", "low", "high", "unit"}`"""


Question = tuple[str, str, Callable[[Material], Answer | None]]
"""(id, statement, test); None: the study has none of what the question is about, and it is not asked."""


def findings(questions: Sequence[Question], materials: Sequence[Material]) -> list[dict[str, Any]]:
    """All findings as in report.json: `{"id", "axes", "statement", "effect", "low", "high", "verdict"}` and more.

    Args:
        questions: of the study.
        materials: one for each combination of axis values.
    """
    asked = [
        (material, name, statement, answer)
        for material in materials
        for name, statement, question in questions
        if (answer := question(material)) is not None
    ]
    best = [
        None if _one_seed(answer, material) else _smaller(answer.p_supported, answer.p_contradicted)
        for material, _, _, answer in asked
    ]
    tested = [i for i, p in enumerate(best) if p is not None]
    adjusted = dict(zip(tested, holm([p for p in best if p is not None]), strict=True))
    return [
        {
            "id": name,
            "axes": material.suffix,
            "statement": statement,
            "effect": answer.effect,
            "low": answer.low,
            "high": answer.high,
            "verdict": _verdict(answer, adjusted.get(i), material),
            "unit": answer.unit,
            "p_adjusted": adjusted.get(i),
            "seeds": answer.seeds,
            "detail": "; ".join(filter(None, (answer.detail, _wanting(answer, material)))),
            "parts": [dict(part) for part in answer.parts],
        }
        for i, (material, name, statement, answer) in enumerate(asked)
    ]


def _smaller(a: float | None, b: float | None) -> float | None:
    known = [p for p in (a, b) if p is not None]
    return min(known) if known else None


def _one_seed(answer: Answer, material: Material) -> bool:
    """Whether there are values of cases, but of a single training of each row."""
    seeds = len(set(material.seeds)) if answer.seeds is None else answer.seeds
    return material.has_cases and answer.effect is not None and 0 < seeds < FEWEST_SEEDS


def _wanting(answer: Answer, material: Material) -> str:
    """What a finding with one seed lacks; empty: it has more."""
    if not _one_seed(answer, material):
        return ""
    limits = f"limits are over {material.units} only; " if answer.low is not None else ""
    seeds = sorted(set(material.seeds))
    if len(seeds) >= FEWEST_SEEDS:
        return f"{limits}its rows share one seed; a verdict needs their results for at least two"
    more = seeds + [seed for seed in range(seeds[-1] + 1, seeds[-1] + WANTED_SEEDS)]
    return f"{limits}a verdict needs at least two seeds: run with 'seeds=[{','.join(map(str, more))}]'"


def _verdict(answer: Answer, p: float | None, material: Material) -> Verdict:
    if answer.effect is not None and not material.has_cases:
        return "point estimate"
    if _one_seed(answer, material):
        return "one seed"
    if answer.effect is None or p is None or p > ALPHA:
        return "undecided"
    for_it = answer.p_supported if answer.p_supported is not None else 2.0
    against = answer.p_contradicted if answer.p_contradicted is not None else 2.0
    return "supported" if for_it <= against else "contradicted"
