"""The plug-in of SLURM: attempts as SLURM jobs, or in pilot jobs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.backends.plugin import BackendContext, BackendGarbage, BackendPlugin, PlannedRun
from orchestrator.backends.protocol import Backend
from orchestrator.backends.scripts import PlannedSubmission, ScriptPlan
from orchestrator.backends.slurm.checks import check
from orchestrator.backends.slurm.pilot.mailbox import CLOSED, pilots_folder
from orchestrator.backends.slurm.preflight.check import preflight, preview
from orchestrator.backends.slurm.settings import NAME, SlurmSettings, complete, slurm_settings
from orchestrator.host.job import JOBS
from orchestrator.spec.cluster import Cluster


def _build(context: BackendContext, cluster: Cluster) -> Backend:
    from orchestrator.backends.slurm.backend import slurm_backend

    return slurm_backend(context, slurm_settings(cluster))


def _scripts(run: PlannedRun, context: BackendContext, submissions: Sequence[PlannedSubmission]) -> ScriptPlan:
    from orchestrator.backends.slurm.preview import planned_scripts

    return planned_scripts(run, context, submissions)


def _garbage(home: Path) -> Iterator[BackendGarbage]:
    """Scripts and job lists of SLURM jobs that have ended, and mailboxes of pilot jobs that are closed."""
    jobs = [path.parent for path in (home / "slurm").glob(f"*/{JOBS}")]
    pilots = [path.parent for path in pilots_folder(home).glob(f"*/{CLOSED}")]
    for folder in sorted((*jobs, *pilots)):
        yield BackendGarbage(path=folder, what="submission files of an ended SLURM job")


PLUGIN = BackendPlugin(
    name=NAME,
    settings=SlurmSettings,
    build=_build,
    outlives_driver=lambda _cluster: True,
    # A checkpoint goes over a network file system, to which many jobs write at once.
    defaults={"grace_s": 60.0, "checkpoint_every_s": 300.0},
    complete=complete,
    preflight=preflight,
    preview=preview,
    checks={"slurm": check},
    scripts=_scripts,
    garbage=_garbage,
    templates={NAME: (__package__, "slurm.yaml")},
)
