"""`cancel`: end jobs and keep them from running until they are retried."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.control import send_command
from orchestrator.commands.options import JobsArgument, JsonOption, LastRunOptions, Selection
from orchestrator.schedule.control.commands import select_jobs


def cancel(
    jobs: JobsArgument = None,
    *,
    now: Annotated[bool, typer.Option("--now", help="Kill running attempts; do not wait for a checkpoint.")] = False,
    selection: Selection,
    options: LastRunOptions,
    as_json: JsonOption = False,
) -> None:
    """Cancel jobs until they are retried.

    Running attempts save a checkpoint first. Jobs that need a cancelled one are blocked. --rows, --seeds and
    --branches choose only jobs that no other cell uses.
    """
    study = options.look(rows=selection.rows)
    chosen = select_jobs("cancel", study.plan, study.standings(), jobs or (), failed=False, **selection.given)
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
