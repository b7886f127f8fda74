"""`report`, `ui`, `sync`: what was found, for people."""

import sys
from typing import Annotated

import typer

from orchestrator.errors import PlanError
from orchestrator.results import report_if_needed
from orchestrator.schedule.lease import acquire
from orchestrator.study import DEFAULT_PROFILE, open_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JsonOption,
    MatrixOption,
    Overrides,
    ProfileOption,
    print_json,
)


def report(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    source: Annotated[
        str, typer.Option("--source", help="study: this study · published: the paper's tables.")
    ] = "study",
    as_json: JsonOption = False,
) -> None:
    """Write the report of all that is done, or print its numbers."""
    if source == "published":
        from reports.published import report_from_published

        print_json(report_from_published())
        return
    if source != "study":
        raise PlanError(f"--source is {source!r}; allowed: study, published")
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    report_if_needed(study.report_folder, study.plan, study.look(), study.store, study.home, study.cluster)
    if as_json:
        print((study.report_folder / "report.json").read_text(encoding="utf-8"))
    else:
        print(f"report: {study.report_folder / 'index.html'}")


def ui(
    matrix: MatrixOption = DEFAULT_MATRIX,
    cluster: ClusterOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow over this study's runs, until Ctrl-C."""
    from orchestrator.tracking.mlflow.ui import open_ui

    open_ui(open_study(matrix, cluster=cluster).home, host, port)


def sync(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything that is committed in MLflow; as often as one likes, but not beside a driver, which shows it."""
    from orchestrator.tracking.mlflow.sync import sync as sync_all

    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    with acquire(study.home, say=lambda text: print(text, file=sys.stderr)):  # it calls dead what a driver still runs
        shown = sync_all(study.plan, study.look(), study.store, study.home, study.cluster.tracking.uri)
    if as_json:
        print_json({"version": 1, "shown": shown})
    else:
        print(f"{shown} jobs shown")
