"""An opened study: one profile of matrix.yaml, planned, beside the places where its state lies.

Opening reads and decides; nothing is written and nothing heavy is imported, so that `plan`,
`status` and a `run` with nothing to do answer at once.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.host.checkpoints import attempt_folder
from orchestrator.plan.build import build_plan
from orchestrator.plan.diff import standings
from orchestrator.plan.job import Plan, Standing
from orchestrator.schedule.failed import paused_of
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.spec.cluster import Cluster, cluster_file, load_cluster
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store

DEFAULT_PROFILE = "laptop"
HOME_VARIABLE = "ECHO_MATRIX_HOME"


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything a verb needs to look at a study."""

    matrix: Path
    plan: Plan
    cluster: Cluster
    home: Path
    """`outputs/{study}`: store, ledger, attempts, report, MLflow."""
    cluster_file: Path = Path("cluster") / "local.yaml"
    """Where `cluster` is described; what is built in would be there."""

    @cached_property
    def store(self) -> Store:
        """Where the artifacts lie."""
        return make_store(self.cluster.store.kind, self.home / "store")

    @property
    def report_folder(self) -> Path:
        """Where the report of the profile last asked for lies."""
        return self.home / "report"

    def look(self, without: frozenset[str] = frozenset()) -> Mapping[str, Standing]:
        """Where every job stands now: COMMITs first, then what the ledger remembers.

        `without` are fingerprints whose COMMITs, and all that is remembered of them, are to be thought away.
        """
        with Ledger.read(self.home / NAME) as ledger:
            return standings(
                self.plan,
                self.store.commits() - without,
                {name: past for name, past in ledger.history().items() if name not in without},
                ledger.previous_documents(),
                paused=paused_of(
                    ledger.notes().values(),
                    {job.fingerprint for job in self.plan.jobs.values()},
                    self.cluster.pause_after,
                ),
            )

    def attempts(self) -> Mapping[str, Sequence[Attempt]]:
        """All booked attempts by job fingerprint, oldest first."""
        found: dict[str, list[Attempt]] = {}
        with Ledger.read(self.home / NAME) as ledger:
            for attempt in ledger.attempts():
                found.setdefault(attempt.fingerprint, []).append(attempt)
        return found

    def folder_of(self, attempt: Attempt) -> Path:
        """Where an attempt's request, log, heartbeat and metrics lie."""
        return attempt_folder(self.home, attempt.fingerprint, attempt.id)


def open_study(
    matrix: Path,
    *,
    profile: str = DEFAULT_PROFILE,
    overrides: Sequence[str] = (),
    cluster: Path | None = None,
    smoke: bool = False,
) -> Study:
    """Read matrix.yaml and the cluster file, expand, check the controls and plan.

    Raises:
        MatrixError: the matrix, the cluster file or an override says something that cannot be.
        ControlsError: compared cells differ in more than their memory.
    """
    loaded = load_matrix(matrix)
    resolved = resolve_profile(loaded, profile, overrides)
    cells = expand(resolved)
    check_controls(cells, resolved.deviations)
    outputs = Path(os.environ.get(HOME_VARIABLE) or matrix.resolve().parent / "outputs")
    where = load_cluster(cluster, matrix, backends())
    # A rehearsal publishes bytes that mean nothing under the fingerprints of the study: never in one store with it.
    name = loaded.study if backend_plugin(where.backend).publishes_results else f"{loaded.study}-rehearsal"
    return Study(
        matrix=matrix,
        plan=build_plan(resolved, cells, smoke=smoke),
        cluster=where,
        home=outputs.resolve() / name,
        cluster_file=cluster_file(cluster, matrix, backends()),
    )


def reopen_study(
    matrix: Path, *, profile: str | None = None, overrides: Sequence[str] = (), cluster: Path | None = None
) -> Study:
    """The study as the last `run` planned it, overrides included; that of `profile` or `overrides` if they are given.

    Verbs that look use it: `logs train/context-k5/s0` means the job that was just run.

    Raises:
        MatrixError, ControlsError: see `open_study`.
    """
    study = open_study(matrix, profile=profile or DEFAULT_PROFILE, overrides=overrides, cluster=cluster)
    if profile is not None or overrides:
        return study
    with Ledger.read(study.home / NAME) as ledger:
        last = ledger.last_plan()
    if last is None:
        return study
    smoke = last.selection.get("smoke") is True
    if (last.profile, last.overrides, smoke) == (DEFAULT_PROFILE, (), False):
        return study
    return open_study(matrix, profile=last.profile, overrides=last.overrides, cluster=cluster, smoke=smoke)


def checkout() -> str:
    """The commit of the code that runs, `-dirty` where files were changed; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
