"""Options and arguments that several commands share: one name and one help text each."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MATRIX = Path("matrix.yaml")

MatrixOption = Annotated[
    Path, typer.Option("--matrix", metavar="FILE", help="The matrix file of the study.", show_default=True)
]
ProfileOption = Annotated[str, typer.Option("--profile", metavar="NAME", help="Profile (scale) of the matrix.")]
LastProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Profile (scale) of the matrix. Default: the profile and overrides of the last run.",
    ),
]
ClusterOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        "--backend",
        metavar="NAME|FILE",
        help="Where jobs run: a cluster file, or a NAME. NAME stands for cluster/NAME.yaml next to the matrix or, if "
        "there is none, for the built-in settings of local (the default), ray, slurm or fake.",
    ),
]
RowsOption = Annotated[
    str | None,
    typer.Option("--rows", metavar="LIST", help="Only these rows: comma-separated names, globs, or family:NAME."),
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", metavar="LIST", help="Only these seeds, comma-separated.")]
BranchesOption = Annotated[
    str | None,
    typer.Option("--branches", metavar="LIST", help="Only these evaluation branches: comma-separated names or globs."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output; messages go to standard error.")
]
SmokeOption = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Test run: two steps and one case of every cell at full size. Its results never count as done."
    ),
]
RefreshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--refresh", metavar="JOB", help="Recompute this job and everything made from its result. Repeatable."
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...", help="Override values of the matrix by their full path, e.g. 'seeds=[0,1]'."
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Label, id, or unique prefix of an id.")]
JobsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="JOB...", help="Labels, ids, unique prefixes of ids, or globs such as 'STAGE/*'."),
]
