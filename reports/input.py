"""Report input: plain values, collected by the orchestrator from committed results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reports.spec import ReportSpec

RESULTS, NUMBERS, PAGE = "results.csv", "report.json", "index.html"
"""Files of a report."""


@dataclass(frozen=True, kw_only=True)
class OfCell:
    """Something that belongs to a cell."""

    row: str
    seed: int
    axes: str
    """`key=value;...`, empty without axes."""


@dataclass(frozen=True, kw_only=True)
class ResultLine(OfCell):
    """One line of results.csv."""

    branch: str
    case: str
    metric: str
    unit: str
    better: Literal["high", "low"]
    value: float


@dataclass(frozen=True, kw_only=True)
class RowInfo:
    """A row as the report names it."""

    name: str
    family: str
    alias_of: str | None
    reference: bool = False
    """A ceiling or floor: scored like the others, but not ranked."""
    factors: Mapping[str, str] = field(default_factory=dict)
    """What it is made of, factor -> level; empty: not known."""
    sizes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Values of the axes -> name -> number that follows from its declaration."""


@dataclass(frozen=True, kw_only=True)
class Missing(OfCell):
    """A missing result of a cell, and why it is missing."""

    branch: str
    """The branch, or the stage if it has no branches."""
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Excluded(OfCell):
    """A cell that the study leaves out on purpose: it is not missing."""

    entry: str
    """The entry of the matrix that leaves it out, `exclude[0]: rows: ssm-*`; or why the race stopped its row before."""
    by: Literal["matrix", "race"] = "matrix"


@dataclass(frozen=True, kw_only=True)
class LeftOut(OfCell):
    """A branch on which a reference row has no meaning: it has no values there, and none is missing."""

    branch: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class JobDuration:
    """How long a job took, all its attempts together, and what had been estimated when its run began."""

    stage: str
    branch: str
    """Empty: its stage has none."""
    estimated_s: float | None
    """None: nothing was estimated."""
    basis: str
    """What it was estimated from: `measured`, `flops` or `guess`; empty: nothing was."""
    measured_s: float
    p95_s: float | None = None
    """95 % quantile of the estimate; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Cost(OfCell):
    """Cost of one job of a cell."""

    stage: str
    branch: str | None
    values: Mapping[str, float]
    """`device_s`, `peak_mib`, `tokens`, `flops`, `parameters_added`, `s_per_step`, ... as recorded."""


@dataclass(frozen=True, kw_only=True)
class Strip(OfCell):
    """An image of one case."""

    branch: str
    case: str
    path: str
    """PNG file on this machine."""


@dataclass(frozen=True, kw_only=True)
class Video(OfCell):
    """A video of one case."""

    branch: str
    case: str
    path: str
    """MP4 file on this machine."""


@dataclass(frozen=True, kw_only=True)
class Source(OfCell):
    """A job whose result is in the values of a cell."""

    stage: str
    branch: str
    """Empty: its stage has none."""
    job: str
    """Its label, as commands take it."""
    fingerprint: str
    run: str = ""
    """http address of its cell's run in the tracker; empty: not known."""


@dataclass(frozen=True, kw_only=True)
class Curve(OfCell):
    """The training loss of one cell."""

    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ControlsCertificate:
    """Controls: their values, the intended deviations, and whether the records of the cells agree."""

    fingerprint: str = ""
    deviations: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    verdicts: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """`{"check", "verdict": "held" | "violated" | "mixed" | "open", "detail", "cells": [...], "branch"}`; `branch` is
    the only one whose numbers rest on the check, empty or absent where all do."""


RegistrationStatus = Literal["registered", "changed", "explored"]
"""Declared before the first evaluation, and so still; declared before, and changed since; not declared before."""


@dataclass(frozen=True, kw_only=True)
class Amendment:
    """A registration that was changed."""

    at: float
    """Seconds since 1970."""
    commit: str
    digest: str
    evaluations: int
    """Evaluations that were done by then."""
    changes: Sequence[str]
    """In words, from the entry before."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What was declared of a study before its first evaluation, and what was changed since."""

    at: float
    """Of the first entry, seconds since 1970."""
    commit: str
    digest: str
    """Of the last entry, which has those of all before."""
    evaluations: int
    """Evaluations that were done at the first entry; above 0 nothing counts as registered."""
    amendments: Sequence[Amendment]
    changes: Sequence[str]
    """In words: from what was registered last before the first evaluation to what is reported."""
    findings: Mapping[str, RegistrationStatus]
    rows: Mapping[str, RegistrationStatus]
    metrics: Sequence[str]
    """`branch/metric` of those that were registered."""


RaceOutcome = Literal["differs", "within", "open", "no values"]
"""`no values`: results of a seed are missing and will not come, so that the row cannot go on."""


@dataclass(frozen=True, kw_only=True)
class RacedRow:
    """A comparison of a row with the baseline of a race, at the last look at it (`reports.race`)."""

    row: str
    """Its label."""
    outcome: RaceOutcome
    seeds: int
    """That were looked at; 0: none yet."""
    effect: float | None = None
    """Mean of the row less the baseline."""
    low: float | None = None
    high: float | None = None
    """Limits that hold at every look, of this comparison by itself; None: there are none with so few seeds."""
    evidence: float = 1.0
    """E-value against no difference."""
    adjusted: float = 1.0
    """The same, adjusted for the family."""
    outside: float = 0.0
    """E-value against a difference of the margin or more."""
    reason: str = ""
    """Why it has no values."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """How far a race is."""

    metric: str
    """`branch/metric`."""
    unit: str
    baseline: str
    margin: float
    reason: str
    """Why this margin."""
    seeds: Sequence[int]
    """All that it may use, in order."""
    rows: Sequence[RacedRow]
    with_row: Mapping[str, str] = field(default_factory=dict)
    """Rows that are not compared -> the row that they stop with: other names of it, and the same row again. Empty for
    the baseline and references: they stop when the race is over."""
    alpha: float = 0.05
    """Probability of calling some row different that is not, and of stopping one row that differs by the margin."""


@dataclass(frozen=True, kw_only=True)
class CaseValues:
    """The measured values of a study: everything that scores are computed from."""

    study: str
    profile: str
    seeds: Sequence[int]
    rows: Sequence[RowInfo]
    """All rows of the plan, or those that were asked for, in file order."""
    values: Sequence[ResultLine]
    missing: Sequence[Missing]
    sections: Mapping[str, Any]
    """The resolved controls."""
    excluded: Sequence[Excluded] = field(default_factory=tuple)
    left_out: Sequence[LeftOut] = field(default_factory=tuple)
    outside: Sequence[str] = field(default_factory=tuple)
    """Rows of the matrix that the profile does not have, in file order: none of their results is missing."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Axis -> the study's own value of its control, which it has without the axis; it need not be among the values."""
    spec: ReportSpec = field(default_factory=ReportSpec)
    """The report specification of the study."""
    controls: ControlsCertificate = field(default_factory=ControlsCertificate)
    """Of all compared cells of the plan, whichever of them the values are of."""


@dataclass(frozen=True, kw_only=True)
class ReportInput(CaseValues):
    """Everything a report is made from."""

    git: str
    tables: Mapping[str, Sequence[str]]
    costs: Sequence[Cost]
    strips: Sequence[Strip]
    curves: Sequence[Curve]
    durations: Sequence[JobDuration] = field(default_factory=tuple)
    registration: Registration | None = None
    """None: nothing was registered."""
    race: Race | None = None
    """None: the rows did not race."""
    notes: Sequence[str] = field(default_factory=tuple)
    """Notes for the first page, such as what this scale can and cannot show; the first stands beside the answer."""
    sources: Sequence[Source] = field(default_factory=tuple)
    """The jobs that the values come from."""
    videos: Sequence[Video] = field(default_factory=tuple)
