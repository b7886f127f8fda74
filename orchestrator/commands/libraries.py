"""Libraries that a run needs on this machine: those of its backend and, where jobs run here, those of their stages."""

import sys
from collections.abc import Iterable

from orchestrator.backends.registry import backend_plugin
from orchestrator.requirements import require_libraries
from orchestrator.spec.workload import OURS, package_of
from orchestrator.store.registry import LIBRARIES as STORES
from orchestrator.study import Study
from workloads.contract.stage import StageSpec


def libraries_of(study: Study, stages: Iterable[StageSpec]) -> tuple[str, ...]:
    """The modules that running jobs of these stages imports on this machine, as backend and workload declare them."""
    plugin = backend_plugin(study.cluster.backend)
    needed = (*plugin.libraries, *STORES.get(study.cluster.store.kind, ()))
    if not plugin.publishes_results or plugin.local_share(study.cluster) is None:
        return needed
    return tuple(dict.fromkeys((*needed, *libraries_of_stages(study, stages))))


def libraries_of_stages(study: Study, stages: Iterable[StageSpec]) -> tuple[str, ...]:
    """The modules that these stages import, wherever they run, without Python's and the study's own."""
    workload = study.plan.workload
    modules = [*workload.preload, *(module for stage in stages for module in stage.preload)]
    there = {OURS, package_of(study.plan.workload_name)[0], *sys.stdlib_module_names}
    tops = [module.partition(".")[0] for module in modules]
    return tuple(dict.fromkeys(name for name in tops if name not in there))


def require_libraries_of(study: Study, stages: Iterable[StageSpec]) -> None:
    """Make sure that jobs of these stages can be run from this installation.

    Raises:
        RequirementError: a library is missing; says what to install.
    """
    require_libraries(
        libraries_of(study, stages),
        f"`run` with backend {study.cluster.backend!r}",
        "run them where they are: `--backend slurm`, or on a machine that has them",
    )
