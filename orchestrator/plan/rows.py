"""Rows of the plan: those of the profile, and those outside it that were asked for or have results. Pure functions.

A name after `--rows` asks for any row of the matrix. A glob or `family:NAME` chooses among the rows of the plan, so
that nobody pays for rows unasked; where it matches no row of the profile, it asks for all that it matches.
"""

from collections.abc import Collection, Iterable, Mapping

from orchestrator.plan.job import Plan, RowReason
from orchestrator.plan.select import Patterns, patterns_of
from orchestrator.spec.patterns import matching_rows

REASONS: Mapping[RowReason, str] = {
    "profile": "of the profile",
    "results": "with results",
    "named": "named by --rows",
    "asked": "named by --rows of an earlier run",
}
"""Why a row is in the plan, for people."""


def rows_of_plan(
    rows: Iterable[str],
    profile: Collection[str],
    *,
    results: Collection[str] = (),
    named: Collection[str] = (),
    asked: Collection[str] = (),
) -> dict[str, RowReason]:
    """The rows of the plan in file order, and why each is in it: the first reason that holds.

    Args:
        rows: of the matrix.
        profile: those that the profile has.
        results: those with results of their own (`rows_with_results`).
        named: those that the command line asks for (`named_rows`).
        asked: those that earlier runs asked for.
    """
    reasons: Mapping[RowReason, Collection[str]] = {
        "profile": profile, "results": results, "named": named, "asked": asked,
    }  # fmt: skip
    found = {row: next((why for why, those in reasons.items() if row in those), None) for row in rows}
    return {row: why for row, why in found.items() if why is not None}


def named_rows(patterns: Patterns, family_of: Mapping[str, str], profile: Collection[str]) -> frozenset[str]:
    """The rows that `--rows` asks for; those that match nothing are left to `select`, which refuses them.

    Args:
        patterns: as after `--rows`.
        family_of: row of the matrix -> its family.
        profile: the rows that the profile has.
    """
    found: set[str] = set()
    for pattern in patterns_of(patterns) or ():
        matches = matching_rows(pattern, family_of)
        if pattern in family_of or not any(row in profile for row in matches):
            found.update(matches)
    return frozenset(found)


def rows_with_results(whole: Plan, rows: Collection[str], commits: Collection[str]) -> frozenset[str]:
    """Those of these rows that have a result of their own: of a job that no other computation uses.

    A shared result tells nothing of a row: data are of all rows, and a training may be another row's.

    Args:
        whole: the plan of all rows of the matrix.
        rows: that are looked for.
        commits: fingerprints of completed jobs.
    """
    computation = {cell.id: cell.alias_of or cell.id for cell in whole.cells}
    shared = whole.workload.shared
    found: set[str] = set()
    for cell in whole.cells:
        if cell.row not in rows or cell.row in found:
            continue
        own = computation[cell.id]
        for name, job_id in whole.jobs_of[cell.id].items():
            job = whole.jobs[job_id]
            if (
                job.fingerprint in commits
                and name not in shared
                and all(computation[other] == own for other in job.cells)
            ):
                found.add(cell.row)
                break
    return frozenset(found)


def left_outside(patterns: Patterns, plan: Plan) -> list[str]:
    """Rows outside the plan that a glob or family of `--rows` matches too, in file order."""
    found = {row for pattern in patterns_of(patterns) or () for row in matching_rows(pattern, plan.outside)}
    return [row for row in plan.outside if row in found]
