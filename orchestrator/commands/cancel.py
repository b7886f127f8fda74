"""`cancel`: end jobs and keep them from running until they are retried."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.control import send_command
from orchestrator.commands.options import (
    DEFAULT_MATRIX,
    BranchesOption,
    ClusterOption,
    JobsArgument,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    RowsOption,
    SeedsOption,
)
from orchestrator.schedule.control.commands import select_jobs
from orchestrator.study import reopen_study


def cancel(
    jobs: JobsArgument = None,
    now: Annotated[bool, typer.Option("--now", help="Kill running attempts; do not wait for a checkpoint.")] = False,
    rows: RowsOption = None,
    seeds: SeedsOption = None,
    branches: BranchesOption = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel jobs until they are retried.

    Running attempts save a checkpoint first. Jobs that need a cancelled one are blocked. --rows, --seeds and
    --branches choose only jobs that no other cell uses.
    """
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    chosen = select_jobs("cancel", study.plan, study.standings(), jobs or (), rows=rows, seeds=seeds, branches=branches)
    send_command("cancel", study, chosen, now=now, as_json=as_json)


COMMAND = Command(
    function=cancel,
    group=Group.RUN,
    position=3,
    examples=[
        ("echo-matrix cancel STAGE/ROW/s0", "one job"),
        ("echo-matrix cancel 'STAGE/*' --now", "every job of a stage, at once"),
    ],
)
