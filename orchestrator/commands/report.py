"""`report`: write the report of all completed jobs."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, PlanOptions
from orchestrator.errors import PlanError
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.rebuild import report_if_needed
from orchestrator.ui.terminal import print_json
from reports.input import NUMBERS


def report(
    *,
    options: PlanOptions,
    source: Annotated[
        str,
        typer.Option(
            "--source", metavar="NAME", help="study: the results of this study. published: published results, as JSON."
        ),
    ] = "study",
    as_json: JsonOption = False,
) -> None:
    """Write the report of all completed jobs."""
    if source not in ("study", "published"):
        raise PlanError(f"--source is {source!r}; allowed: study, published")
    study = options.open()
    if source == "published":
        spec = report_spec(study.plan.workload)
        if spec.published is None:
            raise PlanError("--source published: the workload of this study has no published results; allowed: study")
        from reports.report_json import published_json

        print_json(published_json(spec, spec.published()))
        return
    report_if_needed(study.report_folder, study.plan, study.standings(), study.store, study.durations)
    if as_json:
        print((study.report_folder / NUMBERS).read_text(encoding="utf-8"))
    else:
        print(f"report: {study.report_folder / 'index.html'}")


COMMAND = Command(
    function=report,
    group=Group.RESULTS,
    position=1,
    examples=[
        ("echo-matrix report", "write the page and print where it is"),
        ("echo-matrix report --json", "write it and print its numbers"),
        ("echo-matrix report --source published", "print published results"),
    ],
)
