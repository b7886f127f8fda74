"""`report`: write the report of all completed jobs, of results that were kept, or of any table of values."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import DEFAULT_MATRIX, JsonOption, PlanOptions
from orchestrator.errors import PlanError
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.rebuild import report_if_needed, write_report
from orchestrator.requirements import require_libraries
from orchestrator.spec.lines import printable
from orchestrator.spec.load import load_matrix
from orchestrator.study import Study, outputs_of, plan_of_matrix
from orchestrator.ui.terminal import print_json
from reports.input import NUMBERS, PAGE

if TYPE_CHECKING:  # what computes scores is imported when a report is written
    from reports.input import ReportInput

STUDY, PUBLISHED = "study", "published"
"""Sources that are no files."""
SOURCES = "study, published, or a folder that --export wrote, or a table FILE.csv or FILE.csv.gz"


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
    as_json: JsonOption = False,
) -> None:
    """Write the report of all completed jobs, or of other results."""
    if export is not None and source != STUDY:
        raise PlanError(f"--export writes results of the study; it takes no --source {source}")
    if source == PUBLISHED:
        _print_published(options.open(look=False))
        return
    wanted = _formats(formats)
    exported = ""
    if source == STUDY:
        study = options.open()
        folder = output or study.report_folder
        if output is None:
            report_if_needed(folder, study.plan, study.standings(), study.store, study.durations, wanted, _say)
        else:
            _written(folder, _of_study(study), wanted, source)
        exported = "" if export is None else _exported(study, export)
    else:
        given, usual = _of_path(options, Path(source))
        folder = output or usual
        _written(folder, given, wanted, source)
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
    from reports.forms.forms import FORMATS

    wanted = [name.strip() for name in text.split(",") if name.strip()]
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


def _of_study(study: Study) -> "ReportInput":
    from orchestrator.reporting.collect import report_input

    return report_input(study.plan, study.standings(), study.store, study.durations())


def _of_path(options: PlanOptions, source: Path) -> tuple["ReportInput", Path]:
    """The input of the report of a folder or file, and where it is written unless --output says otherwise."""
    from orchestrator.reporting.results_folder import INPUT, read_results_folder
    from orchestrator.reporting.table_source import input_of, read_values, row_names, stem_of, table_in

    if (source / INPUT).is_file():
        study = options.open(look=False)  # what was kept elsewhere needs neither store nor ledger
        return read_results_folder(source, study.plan), study.home / f"report-of-{source.resolve().name}"
    file = table_in(source)
    if file is None:
        raise PlanError(f"--source is {str(source)!r}; allowed: {SOURCES}")
    table, content = read_values(file)
    plan = _plan_for(options, row_names(table))
    home = outputs_of(options.matrix) / ("" if plan is None else plan.study)
    name = stem_of(file) if file == source else source.resolve().name
    return input_of(table, content, file, plan), home / f"report-of-{name}"


def _plan_for(options: PlanOptions, rows: Sequence[str]) -> Plan | None:
    """The plan of the matrix with these rows as far as it has them; None: there is no matrix, or it cannot be planned.

    A table can be of any study, so that nothing but an explicit `--matrix` has to be right.
    """
    if options.matrix == DEFAULT_MATRIX and not options.matrix.is_file():
        return None
    try:
        profile = options.profile or next(iter(load_matrix(options.matrix).profiles))
        return plan_of_matrix(options.matrix, profile, options.overrides or (), rows)
    except Exception as error:  # what a workload's module raises when it is imported
        if options.matrix != DEFAULT_MATRIX:
            raise
        _say(f"{options.matrix} cannot be planned ({printable(str(error))}): the report uses nothing of it")
        return None


def _written(folder: Path, given: "ReportInput", formats: Sequence[str], source: str) -> None:
    """Write a report of one's own.

    Raises:
        PlanError: the input contradicts itself.
    """
    try:
        write_report(folder, given, formats, _say)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # only values and images have a digest
        raise PlanError(f"--source {source}: {error}; it was edited, or written for another version") from error


def _exported(study: Study, export: Path) -> str:
    """Write the results folder; returns what to print of it."""
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there is nothing to export")
    from orchestrator.reporting.results_folder import write_results_folder

    size = write_results_folder(export, _of_study(study), study.plan, study.store.commits())
    return f"\nexported: {export}, {size / 1e6:.1f} MB; its report: echo-matrix report --source {export}"


def _say(sentence: str) -> None:
    print(f"echo-matrix: {sentence}", file=sys.stderr)


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
        ("echo-matrix report --formats md,latex,svg", "also as Markdown, LaTeX tables and figures"),
    ],
)
