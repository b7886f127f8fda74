"""`retry` and `cancel`: what is asked of the driver, or booked where none runs."""

from typing import Literal

from orchestrator.errors import PlanError
from orchestrator.plan.select import find_job
from orchestrator.schedule.ask import ask
from orchestrator.study import Study, reopen_study
from orchestrator.verbs.options import DEFAULT_MATRIX, ClusterOption, JobArgument, LastProfileOption, MatrixOption


def retry(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Forgive a failed or cancelled job: the next run, or the one that runs, takes it up again."""
    _ask("retry", reopen_study(matrix, profile=profile, cluster=cluster), job)


def cancel(
    job: JobArgument,
    matrix: MatrixOption = DEFAULT_MATRIX,
    profile: LastProfileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Cancel a job until it is retried."""
    _ask("cancel", reopen_study(matrix, profile=profile, cluster=cluster), job)


def _ask(verb: Literal["retry", "cancel"], study: Study, name: str) -> None:
    job = find_job(study.plan, name)
    if study.look()[job.id].state == "done":
        raise PlanError(f"{job.label} is done; there is nothing to {verb}")
    answer = ask(verb, [job], home=study.home)
    print(f"{job.label}: {'asked the driver' if answer == 'asked' else 'booked'}")
