"""`gc` and `reshard`: what is kept of a study."""

from typing import Annotated

import typer

from orchestrator.garbage import Rubbish, remove, rubbish
from orchestrator.host.machine import GIB
from orchestrator.plan.select import find_job
from orchestrator.reshard import asked_for
from orchestrator.reshard import reshard as convert
from orchestrator.stopping import refuse_a_second_driver
from orchestrator.study import reopen_study
from orchestrator.verbs.options import (
    DEFAULT_MATRIX,
    ClusterOption,
    JobArgument,
    JsonOption,
    LastProfileOption,
    MatrixOption,
    YesOption,
    can_ask,
    print_json,
    sure,
)

SHOWN = 40
"""Things that are listed; the others are counted."""


def gc(
    matrix: MatrixOption = DEFAULT_MATRIX,
    cluster: ClusterOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what could go, and leave it.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no profile and not the last run asks for, and what attempts left behind. Asks first.

    Where it cannot ask, in a pipe, it only shows, unless --yes is given.
    """
    study = reopen_study(matrix, cluster=cluster)
    found = rubbish(study, cluster=cluster)
    total = sum(one.size for one in found)
    if not as_json:
        print(_text(found, total))
    gone = False
    if found and not dry_run and (yes or (not as_json and can_ask())):
        refuse_a_second_driver(study.home)
        if not sure("remove them for good?", yes):
            raise typer.Abort
        remove(study, found, lambda _text: None)
        gone = True
    if as_json:
        things = [{"path": str(one.path), "what": one.what, "bytes": one.size} for one in found]
        print_json({"version": 1, "bytes": total, "removed": gone, "found": things})
    elif gone:
        print(f"removed {total / GIB:.3f} GiB")
    elif found:
        print("nothing was removed; `echo-matrix gc --yes` removes them")


def reshard(
    job: JobArgument,
    ranks: Annotated[int | None, typer.Option("--ranks", min=1, help="Default: what the plan asks for.")] = None,
    zero_stage: Annotated[
        int | None, typer.Option("--zero-stage", min=0, max=2, help="Default: what the cluster file asks for.")
    ] = None,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a training's newest checkpoint for other ranks or another ZeRO stage; the next run goes on from it.

    What follows agrees with an undisturbed training to rounding, not to the bit; it is recorded.
    """
    study = reopen_study(matrix, profile=profile, cluster=cluster)
    found = find_job(study.plan, job)
    asked = asked_for(study, found)
    refuse_a_second_driver(study.home)
    wanted = (ranks if ranks is not None else asked[0], zero_stage if zero_stage is not None else asked[1])
    made = convert(study, found, ranks=wanted[0], stage=wanted[1])
    if as_json:
        print_json({"version": 1, "attempt": made.attempt, "step": made.step, "checkpoint": str(made.checkpoint)})
        return
    print(f"{found.label}: step {made.step} for {wanted[0]} ranks at ZeRO {wanted[1]}: {made.checkpoint}")
    if wanted != asked:
        print(f"the plan asks for {asked[0]} ranks at ZeRO {asked[1]}: change resources.train.devices or deepspeed")
    print("`echo-matrix run` goes on from there")


def _text(found: list[Rubbish], total: int) -> str:
    if not found:
        return "nothing to remove: all that is there is asked for"
    lines = [f"{one.size / 2**20:10.1f} MiB  {one.what}  {one.path}" for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  ... and {len(found) - SHOWN} more")
    lines.append(f"{len(found)} things, {total / GIB:.3f} GiB")
    return "\n".join(lines)
