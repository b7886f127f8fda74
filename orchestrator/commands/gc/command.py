"""`gc`: remove results that nothing needs, and leftovers."""

import shlex
import sys
from typing import Annotated

import typer

from orchestrator.commands.active_run import refuse_second_run
from orchestrator.commands.command import Command, Group
from orchestrator.commands.gc.garbage import Apart, FoundGarbage, find_garbage, remove_garbage
from orchestrator.commands.gc.kept_results import KEEP_DAYS, RECENT, UNKNOWN
from orchestrator.commands.options import JsonOption, StudyOptions, YesOption, study_options
from orchestrator.host.machine import GIB
from orchestrator.ui.terminal import confirm, is_interactive, print_json
from orchestrator.wording import counted, local_time, shortened_lines

SHOWN = 40
"""Paths that are listed; the others are counted."""


def gc(
    *,
    options: StudyOptions,
    keep_days: Annotated[
        float,
        typer.Option("--keep-days", min=0, metavar="N", help="Keep what runs of this matrix file asked for in N days."),
    ] = KEEP_DAYS,
    made_by: Annotated[
        list[str] | None,
        typer.Option(
            "--made-by",
            metavar="FILE",
            help="Also remove what only runs of this other matrix file asked for; 'unknown': what no recorded run "
            "asked for. Repeatable.",
        ),
    ] = None,
    old_versions: Annotated[
        bool,
        typer.Option(
            "--old-versions", help="Also delete what a bucket with versioning keeps of deleted objects, for good."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove results that nothing needs, and leftovers of attempts.

    Kept is what any row of the matrix needs at the scale of a profile, what its last run needs, and what its runs
    asked for in the last days. What other matrix files of the same study made is listed apart. Lists what it finds
    and asks before it removes anything; outside a terminal it removes only with --yes.
    """
    study = options.reopen()
    if old_versions and not study.store_location.url:
        print(f"echo-matrix: {study.store_location.folder} is a folder, and keeps no old versions", file=sys.stderr)
    found = find_garbage(study, keep_days=keep_days, made_by=made_by or (), old_versions=old_versions)
    total = sum(one.size for one in found.garbage)
    if not as_json:
        print(_text(found, total, keep_days, study.cluster.keep_videos_gib))
    removed = False
    if found.garbage and not dry_run and (yes or (not as_json and is_interactive())):
        refuse_second_run(study.home)
        if not confirm("remove them permanently?", yes):
            raise typer.Abort
        remove_garbage(study, found, lambda _text: None)
        removed = True
    if as_json:
        paths = [{"path": one.where, "what": one.what, "bytes": one.size} for one in found.garbage]
        kept = [
            {"made_by": one.name, "results": one.results, "bytes": one.size, "last_run": one.at or None}
            for one in found.apart
        ]
        print_json(
            {"version": 1, "bytes": total, "removed": removed, "found": paths, "kept": kept, "videos": found.videos}
        )
    elif removed:
        print(f"removed {total / GIB:.3f} GiB")
    elif found.garbage:
        given = "" if keep_days == KEEP_DAYS else f" --keep-days {keep_days:g}"
        given += "".join(f" --made-by {shlex.quote(name)}" for name in made_by or ())
        given += " --old-versions" if old_versions else ""
        print(f"nothing was removed; `echo-matrix gc{study_options(study)}{given} --yes` removes it")


COMMAND = Command(
    function=gc,
    group=Group.MAINTENANCE,
    position=1,
    examples=[
        ("echo-matrix gc --dry-run", "list only"),
        ("echo-matrix gc --yes", "remove without asking"),
        ("echo-matrix gc --keep-days 0", "keep only what profiles and last run need"),
        ("echo-matrix gc --made-by unknown", "also what no recorded run asked for"),
        ("echo-matrix gc --old-versions --yes", "on S3: what was deleted cannot be restored afterwards"),
    ],
)


def _text(found: FoundGarbage, total: int, keep_days: float, keep_videos_gib: float | None) -> str:
    number = len(found.garbage)
    lines = shortened_lines([f"{one.size / 2**20:10.1f} MiB  {one.what}  {one.where}" for one in found.garbage], SHOWN)
    lines += [_kept(one, keep_days) for one in found.apart]
    if keep_videos_gib is not None and found.videos > keep_videos_gib * GIB:
        lines.append(
            f"kept: {found.videos / GIB:.3f} GiB of videos, more than keep_videos_gib ({keep_videos_gib:g}): "
            "open jobs read them; `run`, then `gc` again"
        )
    whole = f"{counted(number, 'path')} to remove, {total / GIB:.3f} GiB"
    return "\n".join([*lines, whole if number else "nothing to remove"])


def _kept(one: Apart, keep_days: float) -> str:
    results = f"kept: {counted(one.results, 'result')}, {one.size / 2**20:.1f} MiB"
    if one.name == RECENT:
        return f"{results}, of runs of the last {keep_days:g} days; `--keep-days` changes how long"
    if one.name == UNKNOWN:
        why = "an older version made them, or the ledger was rebuilt"
        return f"{results}, that no recorded run asked for ({why}); `--made-by {UNKNOWN}` removes them"
    at = local_time(one.at, seconds=False)
    if one.elsewhere:
        return f"{results}, that runs of {one.name} asked for, which shares the store, the last at {at}"
    return f"{results}, that runs of {one.name} asked for, the last at {at}; `--made-by {one.name}` removes them"
