"""Checks of this machine: interpreter, libraries, processors, memory, devices, limits."""

import os
import re
import resource
import sys
from collections.abc import Iterator

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.plugin import excess_devices
from orchestrator.backends.registry import backend_plugin
from orchestrator.commands.doctor.subject import Subject
from orchestrator.commands.libraries import libraries_of
from orchestrator.host.environment import COMMAND, withheld
from orchestrator.host.libraries import libraries_of_jobs
from orchestrator.host.machine import VISIBLE, machine_cpus, machine_devices, machine_gib
from orchestrator.plan.job import Job
from orchestrator.requirements import install_command
from orchestrator.wording import counted

IN_COMMAND = re.compile(r"\$\{?([A-Za-z_]\w*)")
"""A variable in a command of the shell."""
FILES = 4096
"""Limit of open files below which Ray warns and, with many workers, fails."""


def interpreter(subject: Subject) -> Iterator[CheckResult]:
    """A supported Python, in which a run finds the libraries that it imports here."""
    version = sys.version.split()[0]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield bad(f"python {version} is not supported", "use Python 3.11 to 3.13: make PYTHON=python3.12")
    needed = libraries_of(subject.study, subject.study.plan.workload.stages)
    tracker = ("mlflow",) if subject.study.cluster.tracking.kind == "mlflow" else ()
    found = libraries_of_jobs((*needed, *tracker), subject.environment)
    missing = [name for name in needed if found[name] is None]
    if missing:
        yield bad(
            f"jobs would not find: {', '.join(missing)}",
            f"{install_command(missing)}, or load the module that has it; the current folder is not looked in",
        )
    for name in tracker:
        if found[name] is None:
            yield warning(f"{name} is not installed: runs are not tracked", install_command((name,)))
    there = (f"{name} {known}".strip() for name, known in found.items() if known is not None)
    yield ok(", ".join((f"python {version}", *there)))


def resources(subject: Subject) -> Iterator[CheckResult]:
    """Whether this machine, or the part of it in the cluster file, has what each stage requests."""
    cluster = subject.study.cluster
    there = machine_devices(subject.environment)
    here = f"{counted(machine_cpus(), 'processor')}, {machine_gib():.1f} GiB, {counted(there, 'device')}"
    if VISIBLE in subject.environment:
        here += f" ({VISIBLE} is {subject.environment[VISIBLE]!r})"
    plugin = backend_plugin(cluster.backend)
    share = plugin.local_share(cluster)
    if share is None:
        yield ok(f"this machine has {here}; jobs run on other machines")
        return
    host = share.host(environment=subject.environment)
    too_many = excess_devices(share, subject.environment)
    if too_many is not None and plugin.publishes_results:
        needed = any(job.resources.devices for job in subject.study.plan.jobs.values())
        yield (bad if needed else warning)(*too_many)
    asks = _largest(subject)
    for stage, job in asks.items():
        short = [
            f"{name} {asked:g} of {has:g}"
            for name in ("cpus", "devices", "memory_gib")
            if (asked := getattr(job.resources, name)) > (has := getattr(host, name))
        ]
        if short:
            yield bad(
                f"stage {stage} requests {', '.join(short)}: no host can run it",
                f"use a smaller profile, change resources.{stage} in the matrix, or --cluster FILE for larger machines",
            )
    yield ok(f"{here}; {counted(len(asks), 'stage')} checked")


def variables(subject: Subject) -> Iterator[CheckResult]:
    """Which variables of this shell the jobs and other child processes do not get."""
    study, shell = subject.study, subject.environment
    given = study.job_variables
    kept = withheld(shell, given.every)
    without = f", not {', '.join(kept)}" if kept else ""
    yield ok(f"jobs get {len(shell) - len(kept)} of this shell's {counted(len(shell), 'variable')}{without}")
    for stage, patterns in given.stages.items():
        more = sorted(set(kept) - set(withheld(shell, given.of(stage))))
        yield ok(f"those of stage {stage} also get {', '.join(more) or ', '.join(patterns) + ' (none is set)'}")
    command = study.cluster.on_event or ""
    unknown = withheld(shell, (*COMMAND, *study.cluster.environment.on_event))
    for name in dict.fromkeys(IN_COMMAND.findall(command)):
        if name in unknown:
            yield warning(f"on_event reads {name}, which it does not get", f"environment: {{on_event: [{name}]}}")


def niceness(_subject: Subject) -> Iterator[CheckResult]:
    """Jobs inherit the niceness; at 15 they get almost no processor time beside a busy process."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        yield warning(f"this shell runs at niceness {nice}, and so will all jobs", "start from a shell at niceness 0")
    else:
        yield ok(f"niceness {nice}")


def limits(_subject: Subject) -> Iterator[CheckResult]:
    """Limit of open files per process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        yield warning(f"at most {soft} open files (hard limit {hard})", f"ulimit -n {min(hard, 65536)}")
    else:
        yield ok(f"at most {soft} open files")


def _largest(subject: Subject) -> dict[str, Job]:
    """Stage -> its job with the largest resources."""
    found: dict[str, Job] = {}
    for job in subject.study.plan.jobs.values():
        before = found.get(job.stage)
        size = (job.resources.devices, job.resources.memory_gib, job.resources.cpus)
        if before is None or size > (before.resources.devices, before.resources.memory_gib, before.resources.cpus):
            found[job.stage] = job
    return found
