"""An audit of a crate: everything that can be checked with the crate and this software alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.description import CrateDescription, read_description, read_plan
from orchestrator.crate.findings import AuditCheck, Mismatch
from orchestrator.crate.listing import listing_of
from orchestrator.crate.recorded_checks import (
    check_artifacts,
    check_chain,
    check_code,
    check_commits,
    check_environment,
    check_files,
)
from orchestrator.crate.remade_report import BROKEN, check_controls, check_report, input_of
from orchestrator.crate.replanning import NotAllowed, check_own_fingerprints, check_plan, plan_anew, usable_plan
from orchestrator.errors import ControlsError, CrateError, MatrixError, PlanError
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.plan.job import Plan
from orchestrator.spec.workload import package_of
from orchestrator.store.protocol import Commit


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found, and what a rerun needs."""

    digest: str
    """Of the crate."""
    description: CrateDescription
    commits: Mapping[str, Commit]
    """By job id."""
    anew: Plan | None
    """The matrix planned by this installation; None: it cannot be."""
    checks: Sequence[AuditCheck]


def audit_crate(folder: Path, allowed: Collection[str] = (), expected: str = "") -> Audit:
    """Check the crate in `folder`.

    Args:
        folder: of the crate (`opened_crate`).
        allowed: modules of workloads that may be imported, besides those of this software.
        expected: the published digest of the crate, or its first digits.

    Raises:
        CrateError: it is not written as `export` writes a crate.
    """
    try:
        return _audit(folder, allowed, expected)
    except RecursionError as error:
        raise CrateError("a file of the crate is nested too deep; `export` writes none like that") from error


def _audit(folder: Path, allowed: Collection[str], expected: str) -> Audit:
    description, recorded = read_description(folder), read_plan(folder)
    digest, commits, checks = audit_records(folder, recorded, description, expected)
    planned: Plan | MatrixError | ControlsError | NotAllowed
    try:
        planned = plan_anew(folder, description, allowed, rows={cell.row for cell in recorded.cells})
    except (MatrixError, ControlsError, NotAllowed) as error:
        planned = error
    checks.append(check_plan(recorded, planned))
    anew = None if isinstance(planned, Exception) else planned
    here = "" if anew is None else digest_of(code_files(CHECKOUT, package_of(anew.workload_name)))
    checks.append(check_code(folder, commits, here))
    checks += _report_checks(folder, recorded, anew, description)
    return Audit(digest=digest, description=description, commits=commits, anew=anew, checks=checks)


def audit_records(
    folder: Path, recorded: Plan, description: CrateDescription, expected: str = ""
) -> tuple[str, Mapping[str, Commit], list[AuditCheck]]:
    """The digest of the crate, its commit records by job id, and the checks that need no code of its study.

    Raises:
        CrateError: the metadata are not as `export` writes them.
    """
    listing = listing_of(folder)
    store = CrateStore(folder)
    checked, commits = check_commits(store, recorded, description)
    return (
        listing.digest,
        commits,
        [
            check_files(folder, listing, expected),
            checked,
            check_chain(recorded, commits, store),
            check_artifacts(folder, recorded, commits),
            check_own_fingerprints(recorded),
            check_environment(folder, commits),
        ],
    )


def _report_checks(folder: Path, recorded: Plan, anew: Plan | None, description: CrateDescription) -> list[AuditCheck]:
    if anew is None:
        why = "the matrix cannot be planned here: see plan"
        return [
            AuditCheck(name="controls", says="the controls certificate", unchecked=[why]),
            AuditCheck(name="report", says="the report, made again", unchecked=[why]),
        ]
    try:
        given = input_of(folder, usable_plan(recorded, anew), description)
        return [check_controls(folder, given, recorded), check_report(folder, given)]
    except PlanError as error:
        return [AuditCheck(name="report", says="the report, made again", unchecked=[str(error)])]
    except BROKEN as error:
        means = "values, records or curves are not as jobs write them"
        found = Mismatch(where="report", expected="a report of the values", found=f"none: {error}", means=means)
        return [AuditCheck(name="report", says="the report, made again", differences=[found])]
