"""Opening a study: what a command line or the last `run` names, read, expanded, checked and planned.

It writes nothing and imports no large library, so that `plan`, `status` and a `run` with nothing to do are fast.
"""

import contextlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.errors import MatrixError
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import REHEARSAL, Plan, RowReason
from orchestrator.plan.rows import named_rows, rows_of_plan, rows_with_results
from orchestrator.plan.select import Patterns
from orchestrator.plan.slots import check_slots
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.recorded_runs import RecordedRun
from orchestrator.spec.cell import Cell
from orchestrator.spec.cluster import LOCAL, Cluster, cluster_file, is_name, load_cluster
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import cells_of_rows, expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.patterns import families_of
from orchestrator.spec.schema import Matrix, ResolvedMatrix
from orchestrator.study import Study
from workloads.runtime.masking import mask, secrets_of

HOME_VARIABLE = "ECHO_MATRIX_HOME"
ON_EVENT = "on_event"
"""Key of the cluster settings that is never recorded: the user's command may hold a credential."""
SETTINGS = "set"
"""Key of a run's `--set` in the selection that the ledger records."""
STORE = "store"
"""Key of the URL of its store there; empty: a folder."""
CLUSTER = "cluster"
"""Key of its cluster file there."""


def open_study(
    matrix: Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    cluster: Path | None = None,
    settings: Sequence[str] = (),
    smoke: bool = False,
    rows: Patterns = None,
    look: bool = True,
) -> Study:
    """Read matrix.yaml and the cluster file, expand, check the controls and plan.

    Args:
        matrix: the matrix file.
        profile: a profile of it; by default the first.
        overrides: `KEY=VALUE` of the matrix.
        cluster: name or file of the cluster settings.
        settings: `KEY=VALUE` of the cluster file.
        smoke: whether to plan a test run.
        rows: what the command line chose with `--rows`: these are in the plan even if the profile does not have them.
        look: whether store and ledger tell which other rows have results or were asked for; without it, neither need
            respond.

    Raises:
        MatrixError: the matrix, the cluster file, an override or a setting is not valid.
        ControlsError: compared cells differ in a control.
        StoreError, LedgerError: store or ledger cannot be read.
    """
    return _declared(matrix, cluster, settings).planned(profile, overrides, smoke, rows=rows, look=look)


def reopen_study(
    matrix: Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    cluster: Path | None = None,
    settings: Sequence[str] = (),
    as_smoke: bool = True,
    rows: Patterns = None,
    look: bool = True,
) -> Study:
    """The study with the profile, overrides and settings of the last `run`, unless others are given.

    Used by commands that inspect a study, so that `logs JOB` finds the job of the last run; those that show results
    plan a smoke run as the whole one (`as_smoke` is false), since its own have no meaning.

    Raises:
        MatrixError, ControlsError, StoreError, LedgerError: see `open_study`, for `rows` and `look` too.
    """
    declared = _declared(matrix, cluster, settings)
    with Ledger.read(declared.home / NAME) as ledger:
        last = ledger.last_plan(matrix)
    if last is None:
        return declared.planned(profile, overrides, rows=rows, look=look)
    recorded, as_it_ran = settings_of(last), declared
    if recorded and not settings:
        with contextlib.suppress(MatrixError):  # of another cluster file than that of the last run
            where = load_cluster(cluster, matrix, declared.matrix.workload, backends(), recorded)
            as_it_ran = replace(declared, cluster=where)
    smoke, as_last = False, profile is None and not overrides
    if as_last:
        profile, overrides, smoke = last.profile, last.overrides, as_smoke and last.selection.get("smoke") is True
    try:
        study = as_it_ran.planned(profile, overrides, smoke, rows=rows, look=look)
    except MatrixError:
        if not as_last or last.is_of(matrix, declared.home):
            raise
        # The run was perhaps of another file, which is gone.
        return declared.planned(None, (), rows=rows, look=look)
    return study.changed(notice=_other_store(study, last))


def where_it_ran(study: Study) -> dict[str, str]:
    """What the ledger keeps of a run, so that a command that looks elsewhere for its results can say so."""
    return {STORE: study.store_location.url, CLUSTER: str(study.cluster_file.resolve())}


def _other_store(study: Study, last: RecordedRun) -> str:
    """That the last run kept its results elsewhere than where they are looked for now; empty: it did not."""
    then, now = last.selection.get(STORE), study.store_location
    if then is None or then == now.url:  # an older version did not record it
        return ""
    file = Path(last.selection.get(CLUSTER, ""))
    option = "" if file == study.cluster_file.resolve() else cluster_option(study.matrix, file)
    where = then or f"{study.home.name}/store"
    told = f"; to look there:{option}" if option else ""
    return f"the last run kept its results in {where}, this command looks in {now.url or now.folder}{told}"


def cluster_option(matrix: Path, file: Path) -> str:
    """` --cluster NAME`, or the file, for a command that is printed; empty for the default."""
    folder = cluster_file(None, matrix, backends()).parent
    named = file.suffix == ".yaml" and file.parent.resolve() == folder.resolve()
    chosen = Path(file.stem) if named and is_name(Path(file.stem), backends()) else file
    return "" if str(chosen) == LOCAL else f" --cluster {shlex.quote(str(chosen))}"


def recorded_settings(settings: Sequence[str]) -> list[str]:
    """The `--set` that the ledger keeps: none that may hold a credential, as the user's own command may."""
    secrets = secrets_of(os.environ)
    return [one for one in settings if one.partition("=")[0].strip() != ON_EVENT and mask(one, secrets) == one]


def settings_of(run: RecordedRun) -> tuple[str, ...]:
    """The `--set` of a recorded run."""
    return tuple(map(str, run.selection.get(SETTINGS, ())))


def plans_of_profiles(matrix: Path) -> Iterator[Plan]:
    """The plan of each profile of a matrix file, and that of all rows where the profile does not have them.

    Jobs of both are needed: one may read which rows the plan has.

    Raises:
        MatrixError, ControlsError: see `open_study`.
    """
    loaded = load_matrix(matrix)
    for profile in loaded.profiles:
        resolved = resolve_profile(loaded, profile, ())
        cells = _checked_cells(resolved)
        yield build_plan(resolved, cells)
        rows = rows_of_plan(resolved.rows, resolved.profile_rows)
        if len(rows) < len(resolved.rows):
            yield _plan_of_rows(resolved, cells, rows)


def plan_of_matrix(matrix: Path, profile: str, overrides: Sequence[str], rows: Collection[str] = ()) -> Plan:
    """The plan of one profile of a matrix file, without cluster file, store and ledger.

    `rows` are in it even if the profile does not have them; those that are not in the matrix are ignored.

    Raises:
        MatrixError, ControlsError: see `open_study`.
    """
    resolved = resolve_profile(load_matrix(matrix), profile, overrides)
    planned = rows_of_plan(resolved.rows, resolved.profile_rows, named=rows)
    return _plan_of_rows(resolved, _checked_cells(resolved), planned)


def outputs_of(matrix: Path) -> Path:
    """The folder with the studies of a matrix file."""
    return Path(os.environ.get(HOME_VARIABLE) or matrix.resolve().parent / "outputs").resolve()


@dataclass(frozen=True, kw_only=True)
class _Declared:
    """What the files say, before a profile is planned."""

    matrix: Matrix
    cluster: Cluster
    cluster_file: Path
    home: Path

    def planned(
        self,
        profile: str | None,
        overrides: Sequence[str],
        smoke: bool = False,
        *,
        rows: Patterns = None,
        look: bool = True,
    ) -> Study:
        """The study with one profile; None: the first. The other arguments are those of `open_study`."""
        resolved = resolve_profile(self.matrix, profile or next(iter(self.matrix.profiles)), overrides)
        self._check_slots(resolved)
        cells = _checked_cells(resolved)
        named = named_rows(rows, families_of(resolved.rows), resolved.profile_rows)
        asked = _asked_rows(self.home, self.matrix.path, resolved, smoke) if look else frozenset()
        without_results = rows_of_plan(resolved.rows, resolved.profile_rows, named=named, asked=asked)
        study = Study(
            matrix=self.matrix.path,
            plan=_plan_of_rows(resolved, cells, without_results, smoke),
            cluster=self.cluster,
            home=self.home,
            cluster_file=self.cluster_file,
        )
        if not look or len(without_results) == len(resolved.rows):
            return study
        commits = study.store.commits()
        if commits <= {job.fingerprint for job in study.plan.jobs.values()}:  # no other row has a result of its own
            return study
        whole = build_plan(resolved, cells, smoke=smoke)
        results = rows_with_results(whole, without_results, commits)
        found = rows_of_plan(resolved.rows, resolved.profile_rows, named=named, asked=asked, results=results)
        return study.changed(plan=_plan_of_rows(resolved, cells, found, smoke)) if results else study

    def _check_slots(self, resolved: ResolvedMatrix) -> None:
        every = [one.resources for one in self.matrix.profiles.values()]
        stages = self.matrix.workload.by_name
        asked = {name for one in every for stage in stages for name in getattr(getattr(one, stage), "slots", ())}
        needs = {stage: getattr(resolved.resources, stage) for stage in stages}
        check_slots(self.cluster.slots, needs, asked, self.cluster_file)


def _checked_cells(resolved: ResolvedMatrix) -> tuple[Cell, ...]:
    """The cells of all rows of the matrix.

    Raises:
        ControlsError: compared cells differ in a control.
    """
    cells = expand(resolved)
    check_controls(resolved.workload, cells, resolved.deviations)
    return cells


def _plan_of_rows(
    resolved: ResolvedMatrix, cells: Sequence[Cell], rows: Mapping[str, RowReason], smoke: bool = False
) -> Plan:
    """The plan of these rows; `cells`: of all rows of the matrix."""
    if len(rows) == len(resolved.rows):
        plan = build_plan(resolved, cells, smoke=smoke)
        return replace(plan, added={row: why for row, why in rows.items() if why != "profile"})
    others = [cell for cell in cells if cell.row not in rows]
    return build_plan(resolved, cells_of_rows(cells, rows) or expand(resolved, rows), smoke, rows, others)


def _asked_rows(home: Path, matrix: Path, resolved: ResolvedMatrix, smoke: bool) -> frozenset[str]:
    """The rows that recorded runs of this file, profile and overrides asked for."""
    if len(resolved.profile_rows) == len(resolved.rows):
        return frozenset()
    with Ledger.read(home / NAME) as ledger:
        runs = ledger.recorded_runs()
    family_of = families_of(resolved.rows)
    return frozenset().union(
        *(
            named_rows(run.selection["rows"], family_of, resolved.profile_rows)
            for run in runs
            if run.selection.get("rows")
            and (run.profile, run.overrides) == (resolved.profile, resolved.overrides)
            and (run.selection.get("smoke") is True) == smoke
            and (run.is_of(matrix, home) or run.is_gone)
        )
    )


def _declared(matrix: Path, cluster: Path | None, settings: Sequence[str]) -> _Declared:
    loaded = load_matrix(matrix)
    where = load_cluster(cluster, matrix, loaded.workload, backends(), settings)
    # The fake backend publishes meaningless results under real fingerprints, so it has a store of its own.
    name = loaded.study if backend_plugin(where.backend).publishes_results else f"{loaded.study}{REHEARSAL}"
    return _Declared(
        matrix=loaded,
        cluster=where,
        cluster_file=cluster_file(cluster, matrix, backends()),
        home=outputs_of(matrix) / name,
    )
