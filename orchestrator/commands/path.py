"""`path`: where the artifact of a completed job is."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JobArgument, JsonOption, LastRunOptions
from orchestrator.plan.select import find_job
from orchestrator.ui.terminal import print_json


def path(
    job: JobArgument,
    *,
    options: LastRunOptions,
    verify: Annotated[
        bool, typer.Option("--verify", help="First compare every byte with the checksums of the commit record.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the folder of a job's result."""
    study = options.look()
    found = find_job(study.plan, job)
    folder = study.result_of(found)
    if verify:
        study.store.verify(found.fingerprint)
    if as_json:
        print_json({"version": 1, "label": found.label, "path": str(folder)})
    else:
        print(folder)


COMMAND = Command(
    function=path,
    group=Group.INSPECT,
    position=4,
    examples=[("ls $(echo-matrix path STAGE/ROW/s0)", ""), ("echo-matrix path STAGE/ROW/s0 --verify", "")],
)
