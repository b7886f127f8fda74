"""`export`: the results of a study as one crate that can be checked elsewhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, LastRunOptions, Overrides
from orchestrator.errors import PlanError
from orchestrator.ui.terminal import print_json, told_if_slow
from orchestrator.wording import counted


def export(
    overrides: Overrides = None,
    *,
    options: LastRunOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="A new zip file, or a new folder if the name has no .zip. Default: STUDY-PROFILE.crate.zip here.",
        ),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Also the trained weights.")] = False,
    no_code: Annotated[bool, typer.Option("--no-code", help="Without the code that ran.")] = False,
    author: Annotated[str, typer.Option("--author", metavar="NAME", help="Who made the results.")] = "",
    license: Annotated[str, typer.Option("--license", metavar="URL", help="Licence of the crate.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Export the results as one crate that `audit` checks elsewhere.

    It holds the matrix, the plan, the commit records, the sha256 of every file, all values, versions, the code that ran
    and the report: no data, frames or weights. It is an RO-Crate (Provenance Run Crate), for archives and papers.
    """
    study = options.reopen(overrides, as_smoke=False)
    if not study.publishes_results:
        raise PlanError(f"the results of backend {study.cluster.backend} have no meaning; there is nothing to export")
    from orchestrator.crate.metadata import CrateCredits
    from orchestrator.crate.writing import write_crate

    target = out or Path(f"{study.plan.study}-{study.plan.profile}.crate.zip")
    credits = CrateCredits(author=author, license=license)
    with told_if_slow(lambda text: print(text, file=sys.stderr), "writing the crate"):
        made = write_crate(study, target, weights=weights, code=not no_code, credits=credits)
    if as_json:
        print_json({"version": 1, "path": str(target), **vars(made)})
        return
    of = "" if made.done == made.jobs else f" of {made.jobs}"
    print(f"{target}: {made.done}{of} jobs, {counted(made.files, 'file')}, {made.size / 1e6:.1f} MB")
    for line in made.left_out:
        print(f"left out: {line}")
    print(f"digest: {made.digest}")
    print(f"publish the digest; to check the crate: echo-matrix audit {target} --expect {made.digest[:12]}")


COMMAND = Command(
    function=export,
    group=Group.RESULTS,
    position=3,
    examples=[
        ("echo-matrix export", "of the last run's profile and overrides"),
        ("echo-matrix export --out results.crate.zip --author NAME --license URL", "for an archive"),
        ("echo-matrix export --out folder --weights", "as a folder, with the trained weights"),
    ],
)
