"""`stop`, `retry`, `cancel`: what is asked of the driver, or booked where none runs."""

import sys
from typing import Annotated

import typer

from orchestrator.plan.job import Job
from orchestrator.schedule.control.commands import JobVerb, request, select_jobs
from orchestrator.schedule.lease import STALE_AFTER_S, living_holder
from orchestrator.stopping import ask_to_stop, wait_for_end
from orchestrator.study import Study, open_study, reopen_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    BranchesOption,
    ClusterOption,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    RowsOption,
    SeedsOption,
    print_json,
)

SHOWN = 12
"""Labels that are printed; the others are counted."""

JobsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="JOB...", help="Labels, ids, unique prefixes of ids, globs ('train/context-*')."),
]


def stop(
    matrix: MatrixOption = DEFAULT_MATRIX,
    cluster: ClusterOption = None,
    now: Annotated[bool, typer.Option("--now", help="End attempts at once, not at their next checkpoint.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Ask, and do not wait for the end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the driver to end as Ctrl-C does where it runs: at a checkpoint, everything resumable."""
    home = open_study(matrix, cluster=cluster).home
    out = sys.stderr if as_json else sys.stdout
    driver = living_holder(home)
    ended = driver is None
    if driver is None:
        print("nobody drives the study; there is nothing to stop", file=out)
    else:
        ask_to_stop(home, driver, now=now)
        how = " at once" if now else " at a checkpoint"
        print(f"asked pid {driver.pid} on {driver.host} to stop{how}", file=out, flush=True)
        if not no_wait:
            ended = wait_for_end(home, driver, lambda text: print(text, file=out, flush=True))
            how = "has ended" if ended else f"has not moved for {STALE_AFTER_S:g} s, its machine may be gone"
            print(f"it {how}; `echo-matrix run` goes on from there", file=out)
    if as_json:
        who = None if driver is None else {"pid": driver.pid, "host": driver.host}
        print_json({"version": 1, "asked": who, "ended": ended})


def retry(
    jobs: JobsArgument = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All that failed, or of the JOBs those that failed.")
    ] = False,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    branches: BranchesOption = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forgive failed or cancelled jobs: the next run, or the one that runs, takes them up again where they were.

    A paused stage goes on as soon as fewer of its jobs stand as failed alike. Of a blocked job, what it waits for is
    retried.
    """
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    chosen = select_jobs(
        "retry", study.plan, study.look(), jobs or (), failed=failed, rows=rows, seeds=seeds, branches=branches
    )
    _ask("retry", study, chosen, as_json=as_json)


def cancel(
    jobs: JobsArgument = None,
    now: Annotated[bool, typer.Option("--now", help="Kill running attempts; do not wait for a checkpoint.")] = False,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    branches: BranchesOption = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel jobs until they are retried. Running attempts save a checkpoint first; what needs them is blocked."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    chosen = select_jobs("cancel", study.plan, study.look(), jobs or (), rows=rows, seeds=seeds, branches=branches)
    _ask("cancel", study, chosen, now=now, as_json=as_json)


def _ask(verb: JobVerb, study: Study, jobs: tuple[Job, ...], *, now: bool = False, as_json: bool) -> None:
    answer = request(verb, jobs, home=study.home, now=now)
    if as_json:
        print_json({"version": 1, "verb": verb, "answer": answer, "jobs": [job.label for job in jobs]})
        return
    what = "asked the driver" if answer == "asked" else "booked"
    for job in jobs[:SHOWN]:
        print(f"{job.label}: {what}")
    if len(jobs) > SHOWN:
        print(f"and {len(jobs) - SHOWN} more")
    if verb == "retry" and answer == "booked":
        print("`echo-matrix run` takes up what it asks for")
