"""The last run of a matrix file, as the ledger recorded it: for commands that look or stop.

They use it while the files cannot be planned (an edit of matrix.yaml or a cluster file, a workload that cannot be
imported), and when matrix.yaml names a study that has not run. Its ledger is found by the matrix file that it names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.backends.registry import backends
from orchestrator.errors import LedgerError, OrchestratorError
from orchestrator.opening import ON_EVENT, open_study, outputs_of, reopen_study, settings_of
from orchestrator.plan.job import REHEARSAL, Plan
from orchestrator.plan.select import Patterns
from orchestrator.schedule.lease_holder import is_held
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.recorded_runs import RecordedRun
from orchestrator.spec.cluster import Cluster, cluster_file, load_cluster
from orchestrator.spec.lines import printable
from orchestrator.spec.typed import build
from orchestrator.study import Study
from orchestrator.wording import local_time


def look_at_study(
    matrix: Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    cluster: Path | None = None,
    settings: Sequence[str] = (),
    rows: Patterns = None,
    look: bool = True,
) -> Study:
    """As `reopen_study`; where that is not possible, the last run with these options, with a `notice`.

    Raises:
        MatrixError, ControlsError, and what the workload raises: see `open_study`; no such run is recorded.
    """
    try:
        study = reopen_study(
            matrix, profile=profile, overrides=overrides, cluster=cluster, settings=settings, rows=rows, look=look
        )
    except Exception as error:  # code of the workload, which may have been edited too, raises anything
        found = _recorded_study(matrix, profile, overrides, cluster, settings)
        if found is None:
            raise
        why = str(error) if isinstance(error, OrchestratorError) else f"{type(error).__name__}: {error}"
        return replace(found, notice=f"{matrix} cannot be planned ({printable(why)}): showing {found.notice}")
    if (study.home / NAME).exists():
        return study
    found = _recorded_study(
        matrix, profile, overrides, cluster, settings, rehearsal=study.home.name != study.plan.study
    )
    if found is None:
        return study
    why = f"{matrix} names study {study.plan.study!r}, which has not run"
    return replace(found, notice=f"{why}: showing {found.notice}; `echo-matrix run` starts {study.plan.study!r} anew")


def home_of(matrix: Path, *, cluster: Path | None = None, settings: Sequence[str] = ()) -> tuple[Path, str]:
    """The folder of the study of a matrix file, and a notice if it is not what the file says now (or empty).

    If no run of the named study is in progress, but one of another study of this file is, that one's is returned.

    Raises:
        MatrixError, and what the workload raises: the file cannot be read, and no run of it is known.
    """
    try:
        study = open_study(matrix, cluster=cluster, settings=settings, look=False)
    except Exception as error:
        homes = [home for home, _ in _runs(matrix)] or _unnamed_home(matrix)
        if not homes:
            raise
        return homes[0], f"{matrix} cannot be planned ({printable(str(error))}): using {homes[0]}"
    if is_held(study.home):
        return study.home, ""
    rehearsal = study.home.name != study.plan.study
    for home, run in _runs(matrix):
        if is_held(home) and home.name.endswith(REHEARSAL) == rehearsal:
            at = local_time(run.at, seconds=False)
            return home, f"{matrix} names study {study.plan.study!r}; its run in progress is of {home.name!r}, {at}"
    return study.home, ""


def cluster_json(cluster: Cluster, file: Path) -> dict[str, Any]:
    """What the ledger records of the cluster settings: all but the sections of backends and the user's command."""
    known = {name: value for name, value in vars(cluster).items() if name not in ("sections", ON_EVENT)}
    values = {name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in known.items()}
    return {"cluster": values, "file": str(file.resolve())}


def _recorded_study(
    matrix: Path,
    profile: str | None,
    overrides: Sequence[str],
    cluster: Path | None,
    settings: Sequence[str],
    rehearsal: bool | None = None,
) -> Study | None:
    """The newest run of a matrix file whose plan is recorded; `notice` says which it is.

    Args:
        matrix: the file.
        profile, overrides: of the run, if given.
        cluster, settings: as on the command line.
        rehearsal: whether the results have no meaning; None: either.
    """
    for home, run in _runs(matrix):
        if rehearsal is not None and home.name.endswith(REHEARSAL) != rehearsal:
            continue
        if (profile or run.profile) != run.profile or (overrides and tuple(overrides) != run.overrides):
            continue
        with Ledger.read(home / NAME) as ledger:
            recorded = ledger.recorded_plan(run.number)
        where = None if recorded is None else _cluster(matrix, cluster, settings or settings_of(run), *recorded)
        if recorded is None or where is None:
            continue
        plan = recorded[0]
        what = " ".join([f"profile {plan.profile}", *(f"with {text}" for text in plan.overrides)])
        return Study(
            matrix=matrix,
            plan=plan,
            cluster=where,
            cluster_file=cluster_file(cluster, matrix, backends()),
            home=home,
            notice=f"the plan of the last run, study {home.name!r}, {what}, {local_time(run.at, seconds=False)}",
        )
    return None


def _cluster(
    matrix: Path, cluster: Path | None, settings: Sequence[str], plan: Plan, recorded: Mapping[str, Any]
) -> Cluster | None:
    """The cluster as its file says, or as recorded; None: the run was with another file than `cluster`."""
    try:
        return load_cluster(cluster, matrix, plan.workload, backends(), settings)
    except OrchestratorError:
        pass
    if cluster is not None and str(cluster_file(cluster, matrix, backends()).resolve()) != recorded.get("file"):
        return None
    try:
        found: Cluster = build(Cluster, recorded["cluster"])
    except (KeyError, TypeError, AttributeError):
        return None
    return found


def _runs(matrix: Path) -> list[tuple[Path, RecordedRun]]:
    """Folder and run of every recorded run of a file: of studies that run now first, then the newest first."""
    found = [(home, run) for home in _homes(matrix) for run in _recorded(home) if run.is_of(matrix, home)]
    held = {home: is_held(home) for home, _ in found}
    return sorted(found, key=lambda one: (held[one[0]], one[1].at, one[1].number), reverse=True)


def _unnamed_home(matrix: Path) -> list[Path]:
    """The one study whose runs an older version recorded, which did not know their file; of several, the one that runs.

    Empty if that is not one.
    """
    unnamed = [home for home in _homes(matrix) if any(not run.matrix for run in _recorded(home))]
    chosen = unnamed if len(unnamed) < 2 else [home for home in unnamed if is_held(home)]
    return chosen if len(chosen) == 1 else []


def _recorded(home: Path) -> list[RecordedRun]:
    try:
        with Ledger.read(home / NAME) as ledger:
            return ledger.recorded_runs()
    except LedgerError:
        return []


def _homes(matrix: Path) -> list[Path]:
    return sorted(path.parent for path in outputs_of(matrix).glob(f"*/{NAME}"))
