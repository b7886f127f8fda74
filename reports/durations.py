"""Durations: what was estimated when the run began, and what was measured, by stage and branch."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.input import JobDuration

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class StageDuration:
    """The jobs of one stage and branch that have an estimate, or of all."""

    stage: str
    """`evaluate/near`, or `ALL`."""
    jobs: int
    estimated_s: float
    """Sum over the jobs."""
    measured_s: float
    ratio: float | None
    """Measured over estimated; None: nothing was estimated."""
    within: float | None
    """Share of the jobs that took no longer than the 95 % quantile of their estimate; None: of none is it known."""
    basis: str
    """What the estimates were made from, `measured 3, flops 1`."""


def by_stage(durations: Sequence[JobDuration]) -> list[StageDuration]:
    """One line for each stage and branch in their order, and one for all; empty without estimates."""
    groups: dict[str, list[JobDuration]] = {}
    for one in durations:
        if one.estimated_s is not None:
            groups.setdefault(f"{one.stage}/{one.branch}" if one.branch else one.stage, []).append(one)
    if not groups:
        return []
    whole = [one for group in groups.values() for one in group]
    return [_summed(name, group) for name, group in (*groups.items(), (ALL, whole))]


def _summed(name: str, group: Sequence[JobDuration]) -> StageDuration:
    estimated, measured = sum(one.estimated_s or 0.0 for one in group), sum(one.measured_s for one in group)
    bases = [one.basis for one in group]
    within = [one.measured_s <= one.p95_s for one in group if one.p95_s is not None]
    return StageDuration(
        stage=name,
        jobs=len(group),
        estimated_s=estimated,
        measured_s=measured,
        ratio=measured / estimated if estimated > 0 else None,
        within=sum(within) / len(within) if within else None,
        basis=", ".join(f"{basis} {bases.count(basis)}" for basis in dict.fromkeys(bases)),
    )
