"""Health checks of SLURM for `doctor`: does it answer, and take what the plan asks for; nothing is submitted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.slurm.core.commands import SlurmSilent, ask, dropped_words, missing_programs
from orchestrator.backends.slurm.preflight.check import LOG_IN_REMEDY, NEEDED, find_misfits, missing_message
from orchestrator.backends.slurm.preflight.site import Site, read_site
from orchestrator.backends.slurm.settings import NAME
from orchestrator.host.machine import NETWORK, file_system
from orchestrator.wording import counted

HISTORY = ("sacct", "sacctmgr")


def check(run: PlannedRun) -> Iterator[CheckResult]:
    """Programs, slurmctld, accounting, what of the plan does not fit, signals, and the shared folder."""
    if not run.cluster_file.exists() and NAME not in run.cluster.sections:
        yield ok(f"{run.cluster_file} is not there: jobs go where the site sends them, with built-in values")
    yield _shared(run.home)
    if missing := missing_programs(NEEDED):
        yield bad(missing_message(missing), LOG_IN_REMEDY)
        return
    try:
        site = read_site()
    except SlurmSilent as error:
        yield bad(
            f"slurmctld does not answer: {error}",
            "see `scontrol ping`; jobs that are there already go on",
        )
        return
    default = site.default_partition
    names = [f"{name} (default)" if name == default else name for name in site.partitions]
    yield ok(f"SLURM {site.version} answers; partitions {', '.join(names)}; arrays of up to {site.array_size}")
    yield from accounting(site, missing_programs(HISTORY))
    yield from signals(site)
    if dropped := dropped_words(run.environment):
        yield warning(dropped, "unset them, or start from a shell outside a job")
    jobs = list(run.jobs)
    found = find_misfits(site, replace(run, jobs=jobs))
    for one in found:
        yield (bad if one.refuses else warning)(one.says, one.remedy)
    if not found:
        yield ok(f"{counted(len(jobs), 'job')} of the plan, within the site's limits")


def signals(site: Site) -> Iterator[CheckResult]:
    """Is a job that is preempted told so in time to save."""
    if not site.signals_preempted:
        yield warning(
            "preempt_send_user_signal is not among SLURM's SlurmctldParameters: a job that has to give way to another "
            "is asked by SIGTERM alone, and only where its partition or QOS gives it a GraceTime",
            "keep checkpoint_every_s small, or ask the site to add it to slurm.conf",
        )


def accounting(site: Site, missing: Sequence[str]) -> Iterator[CheckResult]:
    """Does the accounting answer; `missing`: of its programs."""
    exact = "endings are less exact: a job that squeue has forgotten and that did not record its end counts as vanished"
    if missing:
        yield warning(f"{missing_message(missing)}: {exact}", LOG_IN_REMEDY)
    elif not site.has_accounting:
        yield warning(
            f"SLURM keeps no accounting (AccountingStorageType is none): {exact}", "ask the site for slurmdbd"
        )
    elif site.silent or (silent := _silent_history()):
        yield warning(
            f"the accounting does not answer ({site.silent or silent}): its limits are not known, and {exact}",
            "see `sacctmgr show cluster`; it is asked again when it is needed",
        )
    else:
        submit = "any number of jobs" if site.submit == float("inf") else f"at most {site.submit:g} jobs"
        account = f"account {site.default_account}" if site.default_account else "no default account"
        yield ok(f"accounting answers: user {site.user}, {account}, {submit} in the queue and running")


def _silent_history() -> str:
    """Why sacct does not answer; empty while it does."""
    try:
        ask("sacct", "-nX", "--starttime=now")
    except SlurmSilent as error:
        return " ".join(str(error).split())
    return ""


def _shared(home: Path) -> CheckResult:
    """Compute nodes read requests and write results below `outputs/`."""
    kind = file_system(home)
    if kind in NETWORK:
        return ok(f"{home} is on {kind}, which compute nodes can share")
    return warning(
        f"{home} is on {kind or 'a file system of unknown kind'}: whether the compute nodes see it cannot be told from "
        "here",
        "it must be the same folder on every node, like this checkout and its Python: try `srun ls -d "
        f"{home.parent}`; if it is not, set ECHO_MATRIX_HOME to a shared folder",
    )
