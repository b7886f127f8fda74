"""Study: one profile of matrix.yaml, planned, with the folders of its state.

Opening a study writes nothing and imports no large library, so that `plan`, `status` and a `run` with nothing to do
are fast.
"""

import contextlib
import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.errors import ArtifactMissing, MatrixError, PlanError, StoreError
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.host.environment import JobVariables
from orchestrator.plan.build import build_plan
from orchestrator.plan.continued import shorter_jobs, work_left
from orchestrator.plan.diff import standings as standings_of
from orchestrator.plan.durations import Duration
from orchestrator.plan.forecast import AHEAD, Forecast, Forecaster, LiveTime
from orchestrator.plan.growth import NONE, FinishedItems, Growth, counts_of
from orchestrator.plan.growth_show import StageGrowth, stage_growth
from orchestrator.plan.job import REHEARSAL, Job, Plan, RowReason, Standing
from orchestrator.plan.makespan import Capacity
from orchestrator.plan.rows import named_rows, rows_of_plan, rows_with_results
from orchestrator.plan.select import Patterns
from orchestrator.plan.slots import check_slots
from orchestrator.reporting.race_record import read_race
from orchestrator.reporting.registration.file import Entry, read_registration
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.ledger.recorded_runs import RecordedRun
from orchestrator.schedule.retry_policy import paused_of
from orchestrator.spec.cell import Cell
from orchestrator.spec.cluster import LOCAL, Cluster, cluster_file, is_name, load_cluster
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import cells_of_rows, expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.patterns import families_of
from orchestrator.spec.schema import Matrix, ResolvedMatrix
from orchestrator.store.location import StoreLocation
from orchestrator.store.older_results import OlderResults, older_results
from orchestrator.store.protocol import Commit, Store
from orchestrator.store.registry import make_store
from reports.input import Race
from workloads.contract.planned import Estimate
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


@dataclass(frozen=True, kw_only=True)
class Study:
    """A planned study and its state."""

    matrix: Path
    plan: Plan
    cluster: Cluster
    home: Path
    """`outputs/{study}`: store, ledger, attempts, report, MLflow."""
    cluster_file: Path = Path("cluster") / "local.yaml"
    """File of `cluster`; it does not exist if the settings are the built-in ones."""
    notice: str = ""
    """For the user: this is not what matrix.yaml says now, or the last run used another store; or empty."""

    @cached_property
    def store(self) -> Store:
        """The artifact store."""
        return make_store(self.store_location)

    def changed(self, **fields: Any) -> "Study":
        """The study with other fields that say nothing of its store, which stays open with what it has listed."""
        other = replace(self, **fields)
        if "store" in vars(self):
            vars(other)["store"] = self.store
        return other

    @property
    def store_location(self) -> StoreLocation:
        """Where the artifact store is."""
        settings = self.cluster.store
        return StoreLocation(
            kind=settings.kind,
            folder=str((self.home / "store").resolve()),
            url=f"{settings.url.rstrip('/')}/{self.home.name}" if settings.url is not None else "",
            endpoint=settings.endpoint or "",
            region=settings.region or "",
            cache=settings.cache or "",
            cache_gib=settings.cache_gib,
        )

    @property
    def job_variables(self) -> JobVariables:
        """What jobs get of the environment, beyond what every child process gets."""
        stages = {stage.name: stage.environment for stage in self.plan.workload.stages if stage.environment}
        return JobVariables(every=self.cluster.environment.jobs, stages=stages)

    @property
    def publishes_results(self) -> bool:
        """Whether its results have a meaning: not those of a smoke run, or of a backend that only pretends."""
        smoke = any(job.smoke for job in self.plan.jobs.values())
        return not smoke and backend_plugin(self.cluster.backend).publishes_results

    @property
    def report_folder(self) -> Path:
        """Folder of the newest report."""
        return self.home / "report"

    @property
    def registered(self) -> Sequence[Entry]:
        """What was registered of the plan (`register`), oldest first; empty: nothing.

        Raises:
            PlanError: it was edited.
        """
        return read_registration(self.home, self.plan.profile)

    @property
    def race(self) -> Race | None:
        """How far the race of its rows was at its last look; None: they did not race."""
        return read_race(self.home, self.plan)

    def standings(self, without: frozenset[str] = frozenset(), within_s: float = 0.0) -> Mapping[str, Standing]:
        """The current state of every job, from commit records and the ledger.

        Commit records and history of the fingerprints in `without` are ignored; `within_s` as for `Store.commits`.
        """
        commits = self.store.commits(within_s) - without
        with Ledger.read(self.home / NAME) as ledger:
            return standings_of(
                self.plan,
                commits,
                {name: past for name, past in ledger.history().items() if name not in without},
                ledger.previous_documents(),
                paused=paused_of(
                    ledger.job_records().values(),
                    {job.fingerprint for job in self.plan.jobs.values()},
                    self.cluster.pause_after,
                ),
                growth=self.growth(commits),
                keeps_states=self.cluster.keep_stable,
            )

    def growth(self, commits: frozenset[str] | None = None) -> Mapping[str, Growth]:
        """What finished jobs have of the items of each job that is not done, by job id.

        `commits`: of the finished jobs; None: of those that `standings` has found last.
        """
        commits = self._commits if commits is None else commits
        if not self._grown or self._grown[-1][0] != commits:
            open_ = [job for job in self.plan.jobs.values() if job.items is not None and job.fingerprint not in commits]
            finished = FinishedItems(commits if open_ else (), self._record)
            self._grown[:] = [(commits, {job.id: finished.growth(job) for job in open_})]
        return self._grown[-1][1]

    @property
    def _commits(self) -> frozenset[str]:
        """Those that `standings` has found last."""
        return self._grown[-1][0] if self._grown else self.store.commits()

    @cached_property
    def _grown(self) -> list[tuple[frozenset[str], Mapping[str, Growth]]]:
        """The newest answer of `growth`, and what it is of."""
        return []

    @cached_property
    def _records(self) -> dict[str, Commit]:
        """Commit records that were read: none ever changes."""
        return {}

    def _record(self, fingerprint: str) -> Commit | None:
        if fingerprint not in self._records:
            try:
                self._records[fingerprint] = self.store.read(fingerprint)
            except StoreError:
                return None
        return self._records[fingerprint]

    def result_of(self, job: Job) -> Path:
        """The folder of a job's result.

        Raises:
            ArtifactMissing: it is not done, and why; or its files are gone.
            StoreError: its files are damaged.
        """
        if job.fingerprint not in self.store.commits():
            now = self.standings()[job.id]
            state = now.state if not now.reason else f"{now.state}: {now.reason}"
            raise ArtifactMissing(f"{job.label} is not done ({state}), so it has no result; `run` makes it")
        return self.store.fetch(job.fingerprint)

    def check_feasible(self, estimate: Estimate | None, selected: Collection[str] | None = None) -> None:
        """Refuse a plan that cannot succeed according to its workload.

        Raises:
            PlanError: with the reason.
        """
        why = (estimate.refusal if estimate else "") or self.plan.workload.refuse_plan(self.plan, selected)
        if why:
            raise PlanError(why)

    def durations(self) -> list[Duration]:
        """How long the jobs took that ended well, of all plans of this study."""
        with Ledger.read(self.home / NAME) as ledger:
            return ledger.durations()

    def tracked_runs(self) -> Mapping[str, str]:
        """Cell id -> http address of its run, where a server shows the study; it is asked, and need not answer."""
        tracking = self.cluster.tracking
        if tracking.kind != "mlflow" or tracking.uri is None:
            return {}
        from orchestrator.tracking.mlflow.pages import runs_of

        return runs_of(self.plan, self.home, tracking.uri)

    def forecast(self, standings: Mapping[str, Standing], live: Mapping[str, LiveTime] | None = None) -> Forecast:
        """How long those of some jobs will take that are to be run or run now, and what they cost.

        Args:
            standings: job id -> state, of the jobs in question.
            live: job id -> time of its live attempt.
        """
        ahead = {job_id for job_id, now in standings.items() if now.state in AHEAD}
        return self.forecaster(measured=bool(ahead)).forecast(ahead, self.capacity, live)

    def older_results(self) -> OlderResults | None:
        """Results of an older version, in a store that has none of this plan; None: there are none."""
        own = frozenset(job.fingerprint for job in self.plan.jobs.values())
        return older_results(self._commits, own, self._record)

    def added_disk(self, standings: Mapping[str, Standing]) -> Mapping[str, int]:
        """What -> bytes that jobs which are not done will add to the disk or bucket; {}: nothing, or not known.

        `standings`: of the jobs in question, as `standings` has found them.
        """
        growth, linked = self.growth(), self.store_location.kind == "files"
        made: dict[str, float] = {}
        for job_id, now in standings.items():
            if now.state != "done":
                counts = counts_of(self.plan.jobs[job_id], growth.get(job_id), done=False)
                made[job_id] = counts.missing_share if counts is not None and linked else 1.0
        return self.plan.workload.added_disk(self.plan, made, keep_stable=self.cluster.keep_stable) if made else {}

    def stage_growth(self, standings: Mapping[str, Standing]) -> list[StageGrowth]:
        """What jobs reuse and make, by stage; `standings`: of the jobs in question, as `standings` has found them."""
        ahead = any(now.state != "done" for now in standings.values())
        return stage_growth(self.plan.jobs, standings, self.growth(), self.forecaster(measured=ahead))

    def forecaster(self, *, measured: bool = True, anew: bool = False) -> Forecaster:
        """What estimates the durations of jobs, of what is left of them.

        Args:
            measured: from durations of the ledger, too.
            anew: as if nothing were done.
        """
        durations = self.durations() if measured else ()
        done = frozenset[str]() if anew else self._commits
        grown = {} if anew else self.growth()
        open_ = (job for job in self.plan.jobs.values() if job.fingerprint not in done)
        shorter = shorter_jobs(open_ if self.cluster.keep_stable else ())
        left = work_left(lambda job: grown.get(job.id, NONE), shorter)
        return Forecaster(self.plan, durations, self.cluster.backend, left)

    @property
    def capacity(self) -> Capacity:
        """What jobs may use at a time; unknown where another scheduler decides."""
        share = backend_plugin(self.cluster.backend).local_share(self.cluster)
        if share is None:
            return Capacity(slots=self.cluster.slots)
        host = share.host()
        return Capacity(cpus=host.cpus, devices=host.devices, slots=self.cluster.slots)

    def attempts(self) -> Mapping[str, Sequence[Attempt]]:
        """All recorded attempts by job fingerprint, oldest first."""
        found: dict[str, list[Attempt]] = {}
        with Ledger.read(self.home / NAME) as ledger:
            for attempt in ledger.attempts():
                found.setdefault(attempt.fingerprint, []).append(attempt)
        return found

    def folder_of(self, attempt: Attempt) -> Path:
        """Folder of an attempt's request, log, heartbeat and metrics."""
        return attempt_folder(self.home, attempt.fingerprint, attempt.id)


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
