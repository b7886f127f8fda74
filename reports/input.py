"""The report's input: plain values, put together by the orchestrator from what is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reports.spec import ReportSpec


@dataclass(frozen=True, kw_only=True)
class ResultLine:
    """One line of results.csv."""

    row: str
    seed: int
    axes: str
    """`key=value;...`, empty without axes."""
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
    description: str = ""
    reference: bool = False
    """A ceiling or floor: scored like a row, and takes no rank."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A part of a cell without results, and why."""

    row: str
    seed: int
    axes: str
    branch: str
    """Name of the stage where a stage without branches is missing."""
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one job of a cell cost. Units: s, MiB, FLOP."""

    row: str
    seed: int
    axes: str
    stage: str
    branch: str | None
    values: Mapping[str, float]
    """`device_s`, `peak_mib`, `tokens`, `flops`, `parameters_added`, `s_per_step`, ... as recorded."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """An image of one case."""

    row: str
    seed: int
    axes: str
    branch: str
    case: str
    path: str
    """PNG file on this machine."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The training loss of one cell."""

    row: str
    seed: int
    axes: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ControlsCertificate:
    """The certificate: what was held still, and whether it was."""

    fingerprint: str
    deviations: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    """`{"check", "verdict": "held" | "violated" | "mixed" | "open", "detail", "cells": [...]}`"""
    sections: Mapping[str, Any]
    """The resolved controls, for the reader."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """All that a report is made of."""

    study: str
    profile: str
    git: str
    seeds: Sequence[int]
    rows: Sequence[RowInfo]
    """All rows of the matrix, in file order."""
    tables: Mapping[str, Sequence[str]]
    values: Sequence[ResultLine]
    missing: Sequence[Missing]
    costs: Sequence[Cost]
    strips: Sequence[Strip]
    curves: Sequence[Curve]
    controls: ControlsCertificate
    notes: Sequence[str] = field(default_factory=tuple)
    """What this scale can and cannot tell, and other plain words for the first page."""
    spec: ReportSpec = field(default_factory=ReportSpec)
    """What the study tells the report beyond its values."""
