"""Shell completion of names: rows, seeds, branches, profiles, jobs and cluster files of the study on the command line.

A shell calls these while someone types, so they print nothing and raise nothing: whatever goes wrong, there are no
candidates, and the command itself reports the error. The study is opened when a name is completed, not on import.
"""

import contextlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from orchestrator.spec.schema import Matrix
    from orchestrator.study import Study

Completer = Callable[[typer.Context, str], list[str]]


def _quiet(candidates: Callable[[Any, str], Iterable[str]]) -> Completer:
    """The candidates that continue the incomplete word; none if they cannot be found."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:  # typer reads the annotations
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            found = dict.fromkeys(candidates(context, incomplete))
            return [name for name in found if name.startswith(incomplete)]
        return []

    complete.__name__, complete.__doc__ = candidates.__name__, candidates.__doc__
    return complete


def _matrix_file(context: typer.Context) -> Path:
    return Path(context.params.get("matrix") or "matrix.yaml")


def _matrix(context: typer.Context) -> "Matrix":
    from orchestrator.spec.load import load_matrix

    return load_matrix(_matrix_file(context))


def _study(context: typer.Context) -> "Study":
    """The study with all rows of the matrix, since a store elsewhere may take long to tell which have results."""
    from orchestrator.last_run import look_at_study

    given = context.params
    rows: list[str] | None = None
    with contextlib.suppress(Exception):  # the plan of the last run may still be known
        rows = list(_matrix(context).rows)
    cluster = given.get("cluster")
    overrides = [text for text in given.get("overrides") or () if "=" in text]
    return look_at_study(
        _matrix_file(context),
        profile=given.get("profile"),
        overrides=overrides,
        cluster=None if cluster is None else Path(cluster),
        rows=rows,
        look=False,
    )


def _listed(incomplete: str, names: Iterable[str]) -> Iterable[str]:
    """Names of a comma-separated list: those before the last comma stay, and are not offered again."""
    before, comma, _ = incomplete.rpartition(",")
    taken = set(before.split(","))
    return (f"{before}{comma}{name}" for name in names if name not in taken)


@_quiet
def rows(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Rows of the matrix, in a comma-separated list."""
    return _listed(incomplete, _matrix(context).rows)


@_quiet
def seeds(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Seeds of the plan, in a comma-separated list."""
    return _listed(incomplete, (str(cell.seed) for cell in _study(context).plan.cells))


@_quiet
def branches(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Evaluation branches of the matrix, in a comma-separated list."""
    return _listed(incomplete, _matrix(context).workload.branch_names)


@_quiet
def profiles(context: typer.Context, _incomplete: str) -> Iterable[str]:
    """Profiles of the matrix."""
    return _matrix(context).profiles


@_quiet
def jobs(context: typer.Context, _incomplete: str) -> Iterable[str]:
    """Labels of the jobs of all rows."""
    return (job.label for job in _study(context).plan.jobs.values())


@_quiet
def clusters(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Names of clusters; once a path is typed, the files and folders there."""
    from orchestrator.backends.registry import backends
    from orchestrator.spec.cluster import FOLDER, LOCAL

    folder, slash, _ = incomplete.rpartition("/")
    if slash:
        return (f"{folder}/{path.name}{'/' * path.is_dir()}" for path in sorted(Path(folder or "/").iterdir()))
    beside = _matrix_file(context).parent / FOLDER
    return sorted({LOCAL, *backends(), *(path.stem for path in beside.glob("*.yaml"))})
