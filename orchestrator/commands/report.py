"""`report`: write the report of everything that is done."""

import importlib
from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JsonOption,
    MatrixOption,
    Overrides,
    ProfileOption,
)
from orchestrator.errors import PlanError
from orchestrator.results import report_if_needed
from orchestrator.study import DEFAULT_PROFILE, open_study
from orchestrator.ui.terminal import print_json


def report(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    source: Annotated[
        str,
        typer.Option(
            "--source", metavar="NAME", help="study: the results of this study. published: published results, as JSON."
        ),
    ] = "study",
    as_json: JsonOption = False,
) -> None:
    """Write the report of everything that is done."""
    if source not in ("study", "published"):
        raise PlanError(f"--source is {source!r}; allowed: study, published")
    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    if source == "published":
        module = study.plan.workload.published
        if not module:
            raise PlanError("--source published: the workload of this study has no published results")
        made = getattr(importlib.import_module(module), "report_from_published", None)
        if made is None:
            raise PlanError(f"--source published: {module}, which `published` names, has no report_from_published()")
        print_json(made())
        return
    report_if_needed(study.report_folder, study.plan, study.standings(), study.store, study.home)
    if as_json:
        print((study.report_folder / "report.json").read_text(encoding="utf-8"))
    else:
        print(f"report: {study.report_folder / 'index.html'}")


COMMAND = Command(
    function=report,
    group=Group.RESULTS,
    position=0,
    examples=[
        ("echo-matrix report", "write the page and print where it is"),
        ("echo-matrix report --json", "write it and print its numbers"),
        ("echo-matrix report --source published", "print published results"),
    ],
)
