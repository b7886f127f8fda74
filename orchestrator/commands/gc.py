"""`gc`: remove results that no profile needs, and leftovers."""

from typing import Annotated

import typer

from orchestrator.commands.active_run import refuse_second_run
from orchestrator.commands.command import Command, Group
from orchestrator.commands.garbage import Garbage, find_garbage, remove_garbage
from orchestrator.commands.options import JsonOption, StudyOptions, YesOption
from orchestrator.host.machine import GIB
from orchestrator.study import reopen_study
from orchestrator.ui.terminal import confirm, is_interactive, print_json
from orchestrator.wording import counted

SHOWN = 40
"""Paths that are listed; the others are counted."""


def gc(
    *,
    options: StudyOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove results that no profile needs, and leftovers of attempts.

    What a profile of the matrix or the last run needs is kept. Lists what it finds and asks before it removes
    anything; outside a terminal it removes only with --yes.
    """
    study = reopen_study(options.matrix, cluster=options.cluster, settings=options.settings or ())
    found = find_garbage(study, cluster=options.cluster)
    total = sum(one.size for one in found)
    if not as_json:
        print(_text(found, total))
    removed = False
    if found and not dry_run and (yes or (not as_json and is_interactive())):
        refuse_second_run(study.home)
        if not confirm("remove them permanently?", yes):
            raise typer.Abort
        remove_garbage(study, found, lambda _text: None)
        removed = True
    if as_json:
        paths = [{"path": str(one.path), "what": one.what, "bytes": one.size} for one in found]
        print_json({"version": 1, "bytes": total, "removed": removed, "found": paths})
    elif removed:
        print(f"removed {total / GIB:.3f} GiB")
    elif found:
        print("nothing was removed; `echo-matrix gc --yes` removes it")


COMMAND = Command(
    function=gc,
    group=Group.MAINTENANCE,
    position=1,
    examples=[("echo-matrix gc --dry-run", "list only"), ("echo-matrix gc --yes", "remove without asking")],
)


def _text(found: list[Garbage], total: int) -> str:
    if not found:
        return "nothing to remove"
    lines = [f"{one.size / 2**20:10.1f} MiB  {one.what}  {one.path}" for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  ... and {len(found) - SHOWN} more")
    return "\n".join([*lines, f"{counted(len(found), 'path')}, {total / GIB:.3f} GiB"])
