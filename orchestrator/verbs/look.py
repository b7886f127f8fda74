"""`status`, `logs`, `explain`, `show`, `path`: they read, and change nothing."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.explain import explain_json, explain_text, story_of
from orchestrator.logs import NAME as LOG
from orchestrator.logs import find_attempt, follow_attempt, follow_job, last_attempt, print_log
from orchestrator.plan.select import find_job
from orchestrator.status import request_by_hand, status_json, status_text
from orchestrator.store.manifest import verify_bytes
from orchestrator.story import story_json, story_text
from orchestrator.study import reopen_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JobArgument,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    Overrides,
    print_json,
)
from orchestrator.watching import make_screen, selected_last
from orchestrator.watching import watch as watch_study


def status(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the run has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where every job stands: done, running, failed. Reads only; ends like the run with --watch."""
    study = reopen_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    if watch:
        with _until_ctrl_c():
            raise typer.Exit(watch_study(study, selected_last(study), make_screen(sys.stdout, as_json=as_json)))
    if as_json:
        print_json(status_json(study))
    else:
        print(status_text(study))


def logs(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the log grows, over attempts, until the job has ended.")
    ] = False,
    attempt: Annotated[str | None, typer.Option("--attempt", metavar="ID", help="Of this attempt alone.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, metavar="N", help="Begin with the last N lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print which attempt it is and where its log lies.")] = False,
) -> None:
    """Print what the last attempt of a job said."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    with _until_ctrl_c():
        if follow and attempt is None and not as_json:
            follow_job(study, found, sys.stdout, tail=tail, say=lambda text: print(text, file=sys.stderr))
            return
        chosen = last_attempt(study, found) if attempt is None else find_attempt(study, found, attempt)
        if as_json:
            log = study.folder_of(chosen) / LOG
            print_json({"version": 1, "label": found.label, "attempt": chosen.id, "log": str(log)})
        else:
            (follow_attempt if follow else print_log)(study, chosen, sys.stdout, tail=tail)


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
    as_json: JsonOption = False,
) -> None:
    """Tell a job's story: why it waits or what ended it, its attempts and budgets, what comes next; or its request."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    if request:
        print_json(request_by_hand(study, found, work))
    elif as_json:
        print_json(explain_json(story_of(study, found)))
    else:
        print(explain_text(story_of(study, found)))


def show(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the story of a job's artifact: from what it was made, by whom, at what cost, and where it lies."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    if as_json:
        print_json(story_json(study, found))
    else:
        print(story_text(study, found))


def path(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte first: is it what was committed?")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print where a done job's artifact lies."""
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    folder = study.store.fetch(found.fingerprint)
    if verify:
        verify_bytes(folder, study.store.read(found.fingerprint).manifest)
    if as_json:
        print_json({"version": 1, "label": found.label, "path": str(folder)})
    else:
        print(folder)


@contextlib.contextmanager
def _until_ctrl_c() -> Iterator[None]:
    """Whoever only looks may end it by Ctrl-C without a word."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
