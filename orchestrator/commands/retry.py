"""`retry`: give failed or cancelled jobs another chance."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.control import send_command
from orchestrator.commands.options import JobsArgument, JsonOption, LastRunOptions, Selection
from orchestrator.schedule.control.commands import select_jobs


def retry(
    jobs: JobsArgument = None,
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="Every failed job; with JOB arguments, those of them that failed.")
    ] = False,
    selection: Selection,
    options: LastRunOptions,
    as_json: JsonOption = False,
) -> None:
    """Let failed or cancelled jobs run again.

    They resume from their newest checkpoints, with their retry counts reset. A run in progress picks them up;
    otherwise the next run does. For a blocked job, the jobs that block it are retried. A paused stage continues once
    fewer of its jobs have failed in the same way. --rows, --seeds and --branches choose only jobs that no other cell
    uses.
    """
    study = options.look(rows=selection.rows)
    chosen = select_jobs("retry", study.plan, study.standings(), jobs or (), failed=failed, **selection.given)
    send_command("retry", study, chosen, as_json=as_json)


COMMAND = Command(
    function=retry,
    group=Group.RUN,
    position=4,
    examples=[
        ("echo-matrix retry STAGE/ROW/s0", "one job"),
        ("echo-matrix retry --failed", "every job that failed"),
        ("echo-matrix retry --failed --rows family:NAME", "those of some rows"),
    ],
)
