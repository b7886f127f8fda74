"""`report`: write the report of all completed jobs, or of results that were kept."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions
from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.rebuild import report_if_needed
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from reports.input import NUMBERS, PAGE

STUDY, PUBLISHED = "study", "published"
"""Sources that are no folders."""


def report(
    *,
    options: PlanOptions,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="NAME|FOLDER",
            help="study: the results of this study. published: published results, as JSON. A folder that --export "
            "wrote: the results in it, reported beside those of the study.",
        ),
    ] = STUDY,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Also write what the report is made from into this folder, small enough for a repository.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of all completed jobs."""
    if export is not None and source != STUDY:
        raise PlanError(f"--export writes results of the study; it takes no --source {source}")
    study = options.open(look=source == STUDY)  # what was kept elsewhere needs neither store nor ledger
    if source == PUBLISHED:
        _print_published(study)
        return
    if source == STUDY:
        report_if_needed(
            study.report_folder, study.plan, study.standings(), study.store, study.durations, study.registered
        )
        folder = study.report_folder
    else:
        folder = _of_folder(study, Path(source))
    exported = "" if export is None else _exported(study, export)
    if as_json:
        print((folder / NUMBERS).read_text(encoding="utf-8"))
    else:
        print(f"report: {folder / PAGE}{exported}")


def _print_published(study: Study) -> None:
    spec = report_spec(study.plan.workload)
    if spec.published is None:
        raise PlanError("--source published: the workload of this study has no published results; allowed: study")
    from reports.report_json import published_json

    print_json(published_json(spec, spec.published()))


def _of_folder(study: Study, source: Path) -> Path:
    """Make the report of a results folder; returns where it is."""
    if not source.is_dir():
        raise PlanError(f"--source is {str(source)!r}; allowed: study, published, or a folder that --export wrote")
    from orchestrator.reporting.results_folder import read_results_folder
    from reports.build import build

    given = read_results_folder(source, study.plan)
    folder = study.home / f"report-of-{source.resolve().name}"
    try:
        build(folder, given)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # only values and images have a digest
        raise PlanError(f"--source {source}: {error}; it was edited, or written for another version") from error
    return folder


def _exported(study: Study, export: Path) -> str:
    """Write the results folder; returns what to print of it."""
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there is nothing to export")
    from orchestrator.reporting.collect import report_input
    from orchestrator.reporting.results_folder import write_results_folder

    given = report_input(study.plan, study.standings(), study.store, study.durations(), study.registered)
    size = write_results_folder(export, given, study.plan, study.store.commits())
    return f"\nexported: {export}, {size / 1e6:.1f} MB; its report: echo-matrix report --source {export}"


COMMAND = Command(
    function=report,
    group=Group.RESULTS,
    position=1,
    examples=[
        ("echo-matrix report", "write the page and print where it is"),
        ("echo-matrix report --json", "write it and print its numbers"),
        ("echo-matrix report --source published", "print published results"),
        ("echo-matrix report --export results-of-may", "also keep what it is made from, for a repository"),
        ("echo-matrix report --source results-of-may", "write the page of what was kept"),
    ],
)
