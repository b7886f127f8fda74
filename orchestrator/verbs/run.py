"""`plan` and `run`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.backends.registry import backends
from orchestrator.detach import FLAG, settle, start_detached
from orchestrator.plan.select import find_jobs, select, with_needs
from orchestrator.plan.show import plan_json, plan_text
from orchestrator.refresh import Withdrawal, look_without, to_withdraw, withdraw
from orchestrator.running import Ran, run_study
from orchestrator.schedule.failed import failures_json, failures_text
from orchestrator.spec.cluster import is_name
from orchestrator.stopping import refuse_a_second_driver
from orchestrator.study import DEFAULT_PROFILE, Study, open_study
from orchestrator.terminal import SteadyView, steady_print
from orchestrator.ui.progress import make_view
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    BranchesOption,
    ClusterOption,
    JsonOption,
    MatrixOption,
    Overrides,
    ProfileOption,
    RefreshOption,
    RowsOption,
    SeedsOption,
    SmokeOption,
    YesOption,
    print_json,
    sure,
)
from workloads.study.cases import check_cases
from workloads.study.estimate import check_fits, plan_disk, row_sizes, sizes_json, sizes_text

MOST_SHOWN = 20
"""COMMITs that are listed by label before they are withdrawn."""


def plan(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    smoke: SmokeOption = False,
    refresh: RefreshOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would run, why, and what each row costs; refuse what cannot fit or be evaluated. Changes nothing."""
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster, smoke=smoke)
    withdrawals = _withdrawals(study, refresh)
    standing = look_without(study, withdrawals) if refresh else study.look()
    sizes = row_sizes(study.plan, study.cluster)
    disk = plan_disk(study.plan, sizes)
    if as_json:
        asked = {"refresh": [one.label for one in withdrawals]} if refresh else {}
        print_json({**plan_json(study.plan, standing), **asked, **sizes_json(sizes, disk)})
    else:
        print(sizes_text(sizes, disk))
        if refresh:
            print(_withdrawals_text(withdrawals), end="\n\n")
        print(plan_text(study.plan, standing))
    check_fits(sizes)
    check_cases(study.plan)


def run(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    branches: BranchesOption = None,
    smoke: SmokeOption = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Drive without a terminal; returns once the first attempt is started.")
    ] = False,
    refresh: RefreshOption = None,
    yes: YesOption = False,
    detached_to: Annotated[Path | None, typer.Option(FLAG, hidden=True)] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the study to what the matrix declares, then write the report. Ctrl-C leaves everything resumable."""
    on_lease = None if detached_to is None else settle(detached_to)
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster, smoke=smoke)
    selected = select(study.plan, rows, seeds, branches)
    check_fits(row_sizes(study.plan, study.cluster, selected))
    check_cases(study.plan, selected)
    withdrawals = _agreed(study, refresh, yes) if refresh else ()
    if not detach:
        selected |= _refresh(study, withdrawals)
    chosen = {key: value for key, value in (("rows", rows), ("seeds", seeds), ("branches", branches)) if value}
    if detach and (withdrawals or any(study.look()[job_id].state != "done" for job_id in selected)):
        refuse_a_second_driver(study.home)
        options = {"--matrix": str(matrix.resolve()), "--profile": profile, "--rows": rows, "--seeds": seeds}
        options |= {"--branches": branches, "--cluster": _same_elsewhere(cluster)}
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        given += [f"--refresh={name}" for name in refresh or ()]  # who withdraws makes again, whatever rows it runs
        flags = [name for name, asked in (("--smoke", smoke), ("--json", as_json), ("--yes", withdrawals)) if asked]
        raise typer.Exit(_detach([*given, *flags, "--", *(overrides or ())], study, cluster, as_json))
    view = SteadyView(make_view(sys.stderr if as_json else sys.stdout))
    ran = run_study(study, selected, view, chosen | ({"smoke": True} if smoke else {}), on_lease)
    if as_json:
        print_json(ran_json(study, ran))
    else:
        steady_print(ran_text(ran))
    raise typer.Exit(ran.outcome.exit_code)


def _same_elsewhere(cluster: Path | None) -> str | None:
    """`--cluster` as another process understands it: a name stays one, it is looked for beside the matrix."""
    return None if cluster is None else str(cluster if is_name(cluster, backends()) else cluster.resolve())


def _agreed(study: Study, names: list[str], yes: bool) -> tuple[Withdrawal, ...]:
    """What is to be withdrawn, once the user has seen it.

    Raises:
        typer.Abort: the user does not want it.
    """
    refuse_a_second_driver(study.home)
    withdrawals = _withdrawals(study, names)
    print(_withdrawals_text(withdrawals), file=sys.stderr)
    if withdrawals and not sure("withdraw them, and make again what this plan asks for?", yes):
        raise typer.Abort
    return withdrawals


def _refresh(study: Study, withdrawals: Sequence[Withdrawal]) -> frozenset[str]:
    """Withdraw what is to be made again; ids of the jobs that make it and of what they need."""
    if withdrawals:
        withdraw(study.home, study.store, withdrawals)
    gone = {one.fingerprint for one in withdrawals}
    again = [job.id for job in study.plan.jobs.values() if job.fingerprint in gone]
    return with_needs(study.plan, again)


def _withdrawals(study: Study, names: list[str] | None) -> tuple[Withdrawal, ...]:
    if not names:
        return ()
    return to_withdraw(study.plan, study.store, [job.fingerprint for job in find_jobs(study.plan, names)])


def _withdrawals_text(withdrawals: Sequence[Withdrawal]) -> str:
    if not withdrawals:
        return "nothing to withdraw: no COMMIT of these jobs, nor of what is made from them"
    lines = [f"COMMITs to withdraw, furthest first ({len(withdrawals)})"]
    lines += [f"  {one.label}" for one in withdrawals[:MOST_SHOWN]]
    if len(withdrawals) > MOST_SHOWN:
        lines.append(f"  ... and {len(withdrawals) - MOST_SHOWN} more")
    return "\n".join(lines)


def _detach(arguments: list[str], study: Study, cluster: Path | None, as_json: bool) -> int:
    found = start_detached(arguments, study.home, lambda text: print(text, file=sys.stderr))
    if found.exit_code is not None:
        print(found.said, end="", file=sys.stdout if found.exit_code == 0 else sys.stderr)
        return found.exit_code
    if as_json:
        print_json({"version": 1, "pid": found.pid, "works": found.works, "output": str(found.out)})
        return 0
    named = "" if study.matrix == DEFAULT_MATRIX else f" --matrix {study.matrix}"
    named += "" if cluster is None else f" --cluster {cluster}"
    works = "drives the study" if found.works else "drives the study, and has started no attempt yet"
    print(
        f"pid {found.pid} {works}; what it says goes to {found.out}\n"
        f"  echo-matrix status --watch{named}\n"
        f"  echo-matrix logs JOB --follow{named}\n"
        f"  echo-matrix stop{named}"
    )
    return 0


def ran_json(study: Study, ran: Ran) -> dict[str, object]:
    """What `run --json` prints."""
    outcome = ran.outcome
    return {
        "version": 1,
        "study": study.plan.study,
        "profile": study.plan.profile,
        "counts": outcome.counts,
        "started": outcome.submitted,
        "interrupted": outcome.interrupted,
        "failures": failures_json(outcome.failures),
        "paused": dict(outcome.paused),
        "report": str(ran.report) if ran.report else None,
    }


def ran_text(ran: Ran) -> str:
    """What `run` says at its end."""
    outcome = ran.outcome
    lines: list[str] = []
    if failed := failures_text(outcome.failures, outcome.paused):
        lines += ["", failed]
    if outcome.note:
        lines.append(outcome.note)
    if not outcome.submitted and outcome.exit_code == 0:
        lines.append(f"nothing to do: {outcome.counts.get('done', 0)} of {sum(outcome.counts.values())} jobs are done")
    else:
        lines.append(", ".join(f"{number} {state}" for state, number in outcome.counts.items()))
    if ran.report:
        lines.append(f"report: {ran.report}")
    return "\n".join(lines)
