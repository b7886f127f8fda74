"""`status`, `logs`, `explain`, `path`: they read, and change nothing."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.plan.select import find_job
from orchestrator.status import explain_text, follow_log, last_attempt, request_by_hand, status_json, status_text
from orchestrator.study import DEFAULT_PROFILE, open_study, reopen_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JobArgument,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    Overrides,
    ProfileOption,
    print_json,
)


def status(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where every job stands: done, running, failed. Reads only."""
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    while True:
        if as_json:
            print_json(status_json(study))
        else:
            print(status_text(study))
        if not watch:
            return
        time.sleep(2.0)


def logs(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
) -> None:
    """Print what the last attempt of a job said."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    attempt = last_attempt(study, find_job(study.plan, job))
    follow_log(study, attempt, sys.stdout, follow=follow)


def explain(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    request: Annotated[
        bool, typer.Option("--request", help="Print the request, inputs fetched, for `python -m workloads.run`.")
    ] = False,
    work: Annotated[Path, typer.Option("--work", help="With --request: the folder it will write into.")] = Path(
        "by-hand"
    ),
) -> None:
    """Say why a job waits or what ended it, or print its request."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    if request:
        print_json(request_by_hand(study, found, work))
    else:
        print(explain_text(study, found))


def path(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Print where a done job's artifact lies."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    print(study.store.fetch(find_job(study.plan, job).fingerprint))
