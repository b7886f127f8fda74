"""`sync`: send to MLflow what it has missed."""

import sys

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JsonOption,
    MatrixOption,
    Overrides,
    ProfileOption,
)
from orchestrator.schedule.lease import acquire
from orchestrator.study import DEFAULT_PROFILE, open_study
from orchestrator.ui.terminal import print_json


def sync(
    overrides: Overrides = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: ProfileOption = DEFAULT_PROFILE,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send every completed job to MLflow.

    Can be repeated at any time except during a run, which sends its results itself.
    """
    from orchestrator.tracking.mlflow.sync import sync as sync_all

    study = open_study(matrix, profile=profile, overrides=overrides or (), cluster=cluster)
    with acquire(study.home, say=lambda text: print(text, file=sys.stderr)):  # sync marks as dead what a run still runs
        shown = sync_all(study.plan, study.standings(), study.store, study.home, study.cluster.tracking.uri)
    if as_json:
        print_json({"version": 1, "shown": shown})
    else:
        print(f"{shown} job{'' if shown == 1 else 's'} sent to MLflow")


COMMAND = Command(function=sync, group=Group.RESULTS, position=2, examples=[("echo-matrix sync", "")])
