"""`sync`: send completed jobs to MLflow."""

import sys

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides
from orchestrator.schedule.lease import acquire
from orchestrator.ui.terminal import print_json
from orchestrator.wording import counted


def sync(overrides: Overrides = None, *, options: LastRunOptions, as_json: JsonOption = False) -> None:
    """Send all completed jobs to MLflow, of the last run's profile and overrides unless others are given.

    It can be repeated, also to an empty server, but not during a run, which sends its results itself.
    """
    from orchestrator.commands.run.report import report_of
    from orchestrator.tracking.mlflow.sync import sync as sync_all

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    study = options.reopen(overrides, as_smoke=False)
    say("sending results to MLflow")
    with acquire(study.home, say=say):  # without a lease, it would mark running jobs as killed
        report_of(study)  # ranking, means and intervals of the runs are those of the report
        cluster = study.cluster
        shown = sync_all(
            *(study.plan, study.standings(), study.store, study.home, cluster.tracking.uri, say),
            attempts=study.attempts(),
            variables=cluster.environment.tracking,
        )
    if as_json:
        print_json({"version": 1, "shown": shown})
    else:
        print(f"{counted(shown, 'job')} sent to MLflow")


COMMAND = Command(function=sync, group=Group.RESULTS, position=2, examples=[("echo-matrix sync", "")])
