"""What several verbs are asked with: one option, one name, one help text."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_MATRIX = Path("matrix.yaml")

MatrixOption = Annotated[Path, typer.Option("--matrix", help="The study.", show_default=True)]
ProfileOption = Annotated[str, typer.Option("--profile", help="The scale: a profile of the matrix.")]
LastProfileOption = Annotated[
    str | None, typer.Option("--profile", help="The scale; default: profile and overrides of the last run.")
]
ClusterOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        "--backend",
        metavar="NAME|FILE",
        help="Where to run. NAME: cluster/NAME.yaml beside the matrix, or the built-in values of local (the default), "
        "ray, slurm or fake. Examples: --backend slurm, --cluster cluster/ours.yaml.",
    ),
]
RowsOption = Annotated[
    str | None, typer.Option("--rows", help="Rows to run: names and globs with commas, also family:spatial.")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Seeds to run, with commas.")]
BranchesOption = Annotated[str | None, typer.Option("--branches", help="Branches to run: replay, loop, return.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")
]
SmokeOption = Annotated[
    bool, typer.Option("--smoke", help="Two steps and one case of every cell at true size; never counts as done.")
]
RefreshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--refresh", metavar="JOB", help="Make this job, and all that was made from it, again; may be repeated."
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Full paths, e.g. controls.training.steps=7.")
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id, unique prefix of an id, or label.")]


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    json.dump(value, sys.stdout, indent=1, sort_keys=False)
    sys.stdout.write("\n")


def sure(question: str, yes: bool) -> bool:
    """Whether the user wants it: asked in a terminal; elsewhere, and with `--yes`, the command itself is the answer."""
    return yes or not can_ask() or typer.confirm(question, err=True)


def can_ask() -> bool:
    """Whether somebody sits before a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()
