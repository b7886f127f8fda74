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
    "named": "named by --rows",
    "asked": "named by --rows of an earlier run",
    "results": "with results",
}
"""Why a row is in the plan, for people."""


def rows_of_plan(
    rows: Iterable[str],
    profile: Collection[str],
    *,
    named: Collection[str] = (),
    asked: Collection[str] = (),
    results: Collection[str] = (),
) -> dict[str, RowReason]:
    """The rows of the plan in file order, and why each is in it: the first reason that holds.

    Args:
        rows: of the matrix.
        profile: those that the profile has.
        named: those that the command line asks for (`named_rows`).
        asked: those that earlier runs asked for.
        results: those with results of their own (`rows_with_results`).
    """
    reasons: Mapping[RowReason, Collection[str]] = {
        "profile": profile, "named": named, "asked": asked, "results": results,
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


def rows_with_results(whole: Plan, planned: Collection[str], commits: Collection[str]) -> frozenset[str]:
    """The rows beside those planned that have a result of their own: of a job that no other computation uses.

    A shared result tells nothing of a row: data are of all rows, and a training may be another row's. Of several names
    of one computation, only the first brings it into the plan, and none if it is there already: else a row would come
    up in the tables because another was run.

    Args:
        whole: the plan of all rows of the matrix.
        planned: rows that are in the plan anyway.
        commits: fingerprints of completed jobs.
    """
    computation = {cell.id: cell.alias_of or cell.id for cell in whole.cells}
    of_row: dict[str, set[str]] = {}
    for cell in whole.cells:
        of_row.setdefault(cell.row, set()).add(computation[cell.id])
    there = set[str]().union(*(of_row.get(row, ()) for row in planned))
    found: set[str] = set()
    for cell in whole.cells:
        if cell.row in planned or cell.row in found or computation[cell.id] in there:
            continue
        if any(_is_own_result(whole, computation, job, commits) for job in whole.jobs_of[cell.id].values()):
            found.add(cell.row)
            there |= of_row[cell.row]
    return frozenset(found)


def _is_own_result(whole: Plan, computation: Mapping[str, str], job_id: str, commits: Collection[str]) -> bool:
    job = whole.jobs[job_id]
    if job.fingerprint not in commits or job.stage in whole.workload.shared:
        return False
    return len({computation[cell] for cell in job.cells}) == 1


def left_outside(patterns: Patterns, plan: Plan) -> list[str]:
    """Rows outside the plan that a glob or family of `--rows` matches too, in file order."""
    found = {row for pattern in patterns_of(patterns) or () for row in matching_rows(pattern, plan.outside)}
    return [row for row in plan.outside if row in found]
