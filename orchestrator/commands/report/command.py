"""`report`: write the report of all completed jobs, of results that were kept, or of any table of values."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions
from orchestrator.commands.report.sources import (
    PUBLISHED,
    STUDY,
    compare_with,
    name_of,
    of_path,
    of_study,
    say,
    text_of,
)
from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.rebuild import report_if_needed, write_report
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.requirements import require_libraries
from orchestrator.study import Study
from orchestrator.ui.terminal import print_json
from reports.input import NUMBERS, PAGE

if TYPE_CHECKING:  # what computes scores is imported when a report is written
    from reports.against import ResultsComparison
    from reports.input import ReportInput


def report(
    *,
    options: PlanOptions,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="NAME|FOLDER|FILE",
            help="study: the results of this study. published: published results, as JSON. A folder that --export "
            "wrote: the results in it. A FILE.csv or FILE.csv.gz with the columns of results.csv: its values, of any "
            "study.",
        ),
    ] = STUDY,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FOLDER",
            help="Write the report into this folder. Default: outputs/STUDY/report, and for another source "
            "report-of-NAME beside it.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Also write what the report is made from into this folder, small enough for a repository.",
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--formats",
            metavar="LIST",
            help="Also write these forms, comma-separated: md (report.md), latex (tables), parquet (results.parquet), "
            "svg and pdf (every figure, with its data as CSV). They are kept up to date from then on.",
        ),
    ] = "",
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME|FOLDER|FILE",
            help="Set these results against others, which are given as for --source, or as a report's folder or "
            "report.json: what changed, row by row, with intervals. Printed, and a section of a report of its own.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of all completed jobs, or of other results."""
    if export is not None and source != STUDY:
        raise PlanError(f"--export writes results of the study; it takes no --source {source}")
    if source == PUBLISHED:
        if against is not None:
            raise PlanError("--source published has no values to compare; give it as --against published")
        if output is not None or formats:
            raise PlanError("--source published prints JSON and writes nothing; it takes no --output and no --formats")
        _print_published(options.open(look=False))
        return
    wanted = _formats(formats)
    if source == STUDY and output is None and against is None:
        study = options.open()
        report_if_needed(
            study.report_folder,
            study.plan,
            study.standings(),
            study.store,
            study.durations,
            study.registered,
            wanted,
            say,
            study.tracked_runs,
            ResultsCache.of(study.home),
            study.race,
        )
        _print_report(study.report_folder, as_json, "" if export is None else _exported(study, export, of_study(study)))
        return
    exported = ""
    if source == STUDY:
        study = options.open()
        given, usual = of_study(study), study.report_folder
        exported = "" if export is None else _exported(study, export, given)
    else:
        given, usual = of_path(options, Path(source), "--source")
    if against is None:
        _written(output or usual, given, wanted, source)
        _print_report(output or usual, as_json, exported)
    else:
        from reports.against import Side

        name = given.study if source == STUDY else source
        found = compare_with(options, Side(name=name, given=given), against)
        folder = output or usual.with_name(f"{usual.name}-against-{name_of(against)}")
        _written(folder, given, wanted, source, found)
        print(text_of(found, as_json))
        if not as_json:
            print(f"report: {folder / PAGE}{exported}")


def _print_report(folder: Path, as_json: bool, exported: str) -> None:
    if as_json:
        print((folder / NUMBERS).read_text(encoding="utf-8"))
    else:
        print(f"report: {folder / PAGE}{exported}")


def _formats(text: str) -> Sequence[str]:
    """The forms that are asked for.

    Raises:
        PlanError: one that is not known.
        RequirementError: its library is not installed.
    """
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if not wanted:
        return wanted
    from reports.forms.forms import FORMATS  # all that computes and draws, which a report that is there does not need

    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise PlanError(f"--formats is {text!r}; allowed: {', '.join(FORMATS)}, comma-separated")
    for name in wanted:
        require_libraries(FORMATS[name], f"--formats {name}")
    return wanted


def _print_published(study: Study) -> None:
    spec = report_spec(study.plan.workload)
    if spec.published is None:
        raise PlanError("--source published: the workload of this study has no published results; allowed: study")
    from reports.report_json import published_json

    print_json(published_json(spec, spec.published()))


def _written(
    folder: Path, given: "ReportInput", formats: Sequence[str], source: str, against: "ResultsComparison | None" = None
) -> None:
    """Write a report of one's own.

    Raises:
        PlanError: the input contradicts itself.
    """
    try:
        write_report(folder, given, formats, say, against)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # only values and images have a digest
        raise PlanError(f"--source {source}: {error}; it was edited, or written for another version") from error


def _exported(study: Study, export: Path, given: "ReportInput") -> str:
    """Write the results folder; returns what to print of it."""
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there is nothing to export")
    from orchestrator.reporting.results_folder import write_results_folder

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
        ("echo-matrix report --source scores.csv --output scores-report", "of a table of any study"),
        ("echo-matrix report --against results-of-may", "what changed since, with intervals"),
        ("echo-matrix report --formats md,latex,svg", "also as Markdown, LaTeX tables and figures"),
    ],
)
