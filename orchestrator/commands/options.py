"""Options and arguments that several commands share: one name and one help text each.

Options that belong together are a dataclass, which a command takes as one parameter (`command.flattened`).
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands import completion
from orchestrator.errors import PlanError
from orchestrator.last_run import home_of, look_at_study
from orchestrator.opening import cluster_option, open_study, reopen_study
from orchestrator.plan.rows import left_outside
from orchestrator.plan.select import selected_part
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.recorded_runs import RecordedRun
from orchestrator.study import Study
from orchestrator.wording import shortened

DEFAULT_MATRIX = Path("matrix.yaml")
SHOWN = 6
"""Rows that are named in a notice; the others are counted."""

MatrixOption = Annotated[
    Path, typer.Option("--matrix", metavar="FILE", help="The matrix file of the study.", show_default=True)
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Profile (scale) of the matrix. Default: its first profile.",
        autocompletion=completion.profiles,
    ),
]
LastProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Profile (scale) of the matrix. Default: the profile and overrides of the last run.",
        autocompletion=completion.profiles,
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
        autocompletion=completion.clusters,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the cluster file by its full path, e.g. slurm.every.partition=gpu. Repeatable.",
    ),
]
RowsOption = Annotated[
    str | None,
    typer.Option(
        "--rows",
        metavar="LIST",
        help="Only these rows: comma-separated names, globs, or family:NAME. A name adds a row that the profile does "
        "not have.",
        autocompletion=completion.rows,
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", metavar="LIST", help="Only these seeds, comma-separated.", autocompletion=completion.seeds),
]
BranchesOption = Annotated[
    str | None,
    typer.Option(
        "--branches",
        metavar="LIST",
        help="Only these evaluation branches: comma-separated names or globs.",
        autocompletion=completion.branches,
    ),
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
        "--refresh",
        metavar="JOB",
        help="Recompute this job and everything made from its result. Repeatable.",
        autocompletion=completion.jobs,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Override values of the matrix by their full path, e.g. 'seeds=[0,1]'."),
]
JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Label, id, or unique prefix of an id.", autocompletion=completion.jobs),
]
JobsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="Labels, ids, unique prefixes of ids, or globs such as 'STAGE/*'.",
        autocompletion=completion.jobs,
    ),
]


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Where a study is declared and where it runs."""

    matrix: MatrixOption = DEFAULT_MATRIX
    cluster: ClusterOption = None
    settings: SetOption = None

    @property
    def given(self) -> dict[str, Any]:
        """Arguments of `open_study` and its like, beside the matrix and what an argument of the command says."""
        return {"cluster": self.cluster, "settings": self.settings or ()}

    def home(self) -> Path:
        """Folder of the study, even while its files cannot be planned; see `home_of`."""
        home, notice = home_of(self.matrix, **self.given)
        _say(notice)
        return home

    def look(self, overrides: Sequence[str] | None = None, rows: str | None = None) -> Study:
        """Plan the study as the last run did; while its files cannot be planned, that run: see `look_at_study`."""
        study = look_at_study(self.matrix, overrides=overrides or (), rows=rows, **self.given)
        _say(study.notice)
        return study

    def reopen(
        self,
        overrides: Sequence[str] | None = None,
        *,
        as_smoke: bool = True,
        rows: str | None = None,
        look: bool = True,
    ) -> Study:
        """Plan the study as the last run did; see `reopen_study`."""
        study = reopen_study(
            self.matrix, overrides=overrides or (), as_smoke=as_smoke, rows=rows, look=look, **self.given
        )
        _say(study.notice)
        return study


@dataclass(frozen=True, kw_only=True)
class PlanOptions(StudyOptions):
    """One profile of the matrix, with overrides."""

    profile: ProfileOption = None
    overrides: Overrides = None

    def open(self, *, smoke: bool = False, rows: str | None = None, look: bool = True) -> Study:
        """Plan the study as the command line says; see `open_study`."""
        study = open_study(
            self.matrix,
            profile=self.profile,
            overrides=self.overrides or (),
            smoke=smoke,
            rows=rows,
            look=look,
            **self.given,
        )
        _say(_also_matching(study, rows))
        return study


@dataclass(frozen=True, kw_only=True)
class LastRunOptions(StudyOptions):
    """The profile, overrides and `--set` of the last run, unless others are given."""

    profile: LastProfileOption = None

    @property
    def given(self) -> dict[str, Any]:
        """As of `StudyOptions`, with the profile."""
        return {**super().given, "profile": self.profile}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which jobs of the plan."""

    rows: RowsOption = None
    seeds: SeedsOption = None
    branches: BranchesOption = None

    @classmethod
    def recorded(cls, last: RecordedRun) -> "Selection":
        """The selection of the last run, from the ledger."""
        return cls(**{field.name: last.selection.get(field.name) for field in fields(cls)})

    @property
    def given(self) -> dict[str, str]:
        """The options that were given, by name."""
        return {name: text for name, text in vars(self).items() if text is not None}

    def __str__(self) -> str:
        """As on the command line."""
        return " ".join(f"--{name} {shlex.quote(text)}" for name, text in self.given.items())


def study_options(study: Study) -> str:
    """` --matrix FILE --cluster NAME`, for a command that is printed; without those that are the default."""
    matrix = "" if study.matrix == DEFAULT_MATRIX else f" --matrix {shlex.quote(str(study.matrix))}"
    return matrix + cluster_option(study.matrix, study.cluster_file)


def last_selection(study: Study) -> Selection:
    """What the last run selected, if it was of this plan and matches it still; else nothing, which is everything."""
    with Ledger.read(study.home / NAME) as ledger:
        last = ledger.last_plan(study.matrix)
    if last is None or (last.profile, last.overrides) != (study.plan.profile, study.plan.overrides):
        return Selection()
    recorded = Selection.recorded(last)
    try:
        selected_part(study.plan, **recorded.given)
    except PlanError:  # its rows were renamed or removed since
        return Selection()
    return recorded


def _also_matching(study: Study, rows: str | None) -> str:
    """Which rows a glob of `--rows` matches too that are not in the plan; or empty."""
    found = left_outside(rows, study.plan)
    if not found:
        return ""
    return (
        f"--rows {rows} also matches {shortened(found, SHOWN)}, not in profile {study.plan.profile} and left out: "
        "a glob chooses among the rows of the plan; write a name to add its row"
    )


def _say(notice: str) -> None:
    if notice:
        print(f"echo-matrix: {notice}", file=sys.stderr)
