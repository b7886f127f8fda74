"""`doctor`: check everything that a run needs."""

import os

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.doctor.checks import examine, findings_json, findings_text, worst
from orchestrator.commands.doctor.subject import Subject
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides
from orchestrator.requirements import require_platform
from orchestrator.ui.terminal import print_json


def doctor(overrides: Overrides = None, *, options: LastRunOptions, as_json: JsonOption = False) -> None:
    """Check that everything a run needs works.

    Examines machine, cluster file, store, ledger, backend and services, and prints a remedy for each problem. It
    changes and submits nothing.
    """
    require_platform()
    study = options.reopen(overrides, look=False)
    found = examine(Subject(study=study, environment=os.environ))
    if as_json:
        print_json(findings_json(found))
    else:
        print(findings_text(found))
    raise typer.Exit(1 if worst(found) == "bad" else 0)


COMMAND = Command(
    function=doctor,
    group=Group.MAINTENANCE,
    position=0,
    examples=[
        ("echo-matrix doctor", "for the last run"),
        ("echo-matrix doctor --backend slurm", "also whether each stage is within the limits of the site"),
        ("echo-matrix doctor --profile NAME --cluster FILE", "for another profile and cluster"),
    ],
    exit_codes={0: "no problem, or only warnings", 1: "a run cannot work", 2: "bad input, or not Linux"},
)
