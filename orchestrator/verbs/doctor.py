"""`doctor`."""

import os

import typer

from orchestrator.doctor.checks import examine, found_json, found_text, worst
from orchestrator.doctor.finding import Subject
from orchestrator.study import reopen_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    Overrides,
    print_json,
)


def doctor(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether machine, cluster file, store, tracker and judge are usable, and what to do. Ends with 1 if not."""
    study = reopen_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    found = examine(Subject(study=study, environment=os.environ))
    if as_json:
        print_json(found_json(found))
    else:
        print(found_text(found))
    raise typer.Exit(1 if worst(found) == "bad" else 0)
