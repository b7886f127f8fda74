"""Study: one profile of matrix.yaml, planned, with the folders of its state.

Opening a study writes nothing and imports no large library, so that `plan`, `status` and a `run` with nothing to do
are fast.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.errors import PlanError
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.build import build_plan
from orchestrator.plan.diff import standings as standings_of
from orchestrator.plan.job import Plan, Standing
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.schedule.retry_policy import paused_of
from orchestrator.spec.cluster import Cluster, cluster_file, load_cluster
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Matrix
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store
from workloads.contract.planned import Estimate

HOME_VARIABLE = "ECHO_MATRIX_HOME"
REHEARSAL = "-rehearsal"
"""End of the name of a study's folder whose results have no meaning."""


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
    """Why this is not what matrix.yaml says now, for the user; empty: it is."""

    @cached_property
    def store(self) -> Store:
        """The artifact store."""
        return make_store(self.cluster.store.kind, self.home / "store")

    @property
    def report_folder(self) -> Path:
        """Folder of the newest report."""
        return self.home / "report"

    def standings(self, without: frozenset[str] = frozenset()) -> Mapping[str, Standing]:
        """The current state of every job, from commit records and the ledger.

        Commit records and history of the fingerprints in `without` are ignored.
        """
        with Ledger.read(self.home / NAME) as ledger:
            return standings_of(
                self.plan,
                self.store.commits() - without,
                {name: past for name, past in ledger.history().items() if name not in without},
                ledger.previous_documents(),
                paused=paused_of(
                    ledger.job_records().values(),
                    {job.fingerprint for job in self.plan.jobs.values()},
                    self.cluster.pause_after,
                ),
            )

    def check_feasible(self, estimate: Estimate | None, selected: Collection[str] | None = None) -> None:
        """Refuse a plan that cannot succeed according to its workload.

        Raises:
            PlanError: with the reason.
        """
        why = (estimate.refusal if estimate else "") or self.plan.workload.refuse_plan(self.plan, selected)
        if why:
            raise PlanError(why)

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
    smoke: bool = False,
) -> Study:
    """Read matrix.yaml and the cluster file, expand, check the controls and plan; by default the first profile.

    Raises:
        MatrixError: the matrix, the cluster file or an override is not valid.
        ControlsError: compared cells differ in a control.
    """
    return _declared(matrix, cluster).planned(profile, overrides, smoke)


def reopen_study(
    matrix: Path, *, profile: str | None = None, overrides: Sequence[str] = (), cluster: Path | None = None
) -> Study:
    """The study with the profile and overrides of the last `run`, unless `profile` or `overrides` are given.

    Used by commands that inspect a study, so that `logs JOB` finds the job of the last run.

    Raises:
        MatrixError, ControlsError: see `open_study`.
    """
    declared = _declared(matrix, cluster)
    if profile is not None or overrides:
        return declared.planned(profile, overrides)
    with Ledger.read(declared.home / NAME) as ledger:
        last = ledger.last_plan(matrix)
    if last is None:
        return declared.planned(None, ())
    return declared.planned(last.profile, last.overrides, smoke=last.selection.get("smoke") is True)


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

    def planned(self, profile: str | None, overrides: Sequence[str], smoke: bool = False) -> Study:
        """The study with one profile; None: the first."""
        resolved = resolve_profile(self.matrix, profile or next(iter(self.matrix.profiles)), overrides)
        cells = expand(resolved)
        check_controls(resolved.workload, cells, resolved.deviations)
        return Study(
            matrix=self.matrix.path,
            plan=build_plan(resolved, cells, smoke=smoke),
            cluster=self.cluster,
            home=self.home,
            cluster_file=self.cluster_file,
        )


def _declared(matrix: Path, cluster: Path | None) -> _Declared:
    loaded = load_matrix(matrix)
    where = load_cluster(cluster, matrix, loaded.workload, backends())
    # The fake backend publishes meaningless results under real fingerprints, so it has a store of its own.
    name = loaded.study if backend_plugin(where.backend).publishes_results else f"{loaded.study}{REHEARSAL}"
    return _Declared(
        matrix=loaded,
        cluster=where,
        cluster_file=cluster_file(cluster, matrix, backends()),
        home=outputs_of(matrix) / name,
    )
