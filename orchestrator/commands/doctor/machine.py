"""Is this machine good enough: interpreter, libraries, processors, memory, devices, limits, temporary folders."""

import importlib.metadata
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.ray.session import PARENT, session_folder
from orchestrator.commands.doctor.finding import Finding, Subject, bad, ok, warning
from orchestrator.host.machine import GIB, machine_cpus, machine_devices, machine_gib
from orchestrator.plan.job import Job

LIBRARIES = ("torch", "deepspeed", "mlflow")
SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
FILES = 4096
"""Open files below which Ray warns and, with many workers, fails."""
TEMPORARY_GIB = 1.0
SHARED_MIB = 64


def interpreter(_subject: Subject) -> Iterator[Finding]:
    """A supported Python with the libraries that jobs import; looked up, not imported."""
    version = sys.version.split()[0]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield bad(f"python {version} is not supported", "use Python 3.11 to 3.13: make PYTHON=python3.12")
    missing = [name for name in LIBRARIES if _version(name) is None]
    if missing:
        yield bad(f"not installed: {', '.join(missing)}", "make install")
    else:
        yield ok(f"python {version}, " + ", ".join(f"{name} {_version(name)}" for name in LIBRARIES))


def resources(subject: Subject) -> Iterator[Finding]:
    """What stages ask for against what this machine, or the part of it that the cluster file names, has."""
    cluster = subject.study.cluster
    here = f"{machine_cpus()} processors, {machine_gib():.1f} GiB, {machine_devices()} devices"
    if cluster.backend == "slurm" or (cluster.backend == "ray" and cluster.ray.address != "local"):
        yield ok(f"this machine has {here}; the jobs run elsewhere")
        return
    ray = cluster.ray
    cpus = machine_cpus() if ray.cpus is None else ray.cpus
    memory = machine_gib() if ray.memory_gib is None else ray.memory_gib
    devices = machine_devices() if ray.devices is None else ray.devices
    if cluster.backend == "ray" and (ray.devices or 0) > machine_devices():
        yield bad(
            f"ray.devices is {ray.devices}, this machine has {machine_devices()}",
            "set ray.devices to null or to what is there",
        )
    asks = _largest(subject)
    for stage, job in asks.items():
        wanted = job.resources
        short = [
            f"{name} {asked:g} of {has:g}"
            for name, asked, has in (
                ("cpus", wanted.cpus, cpus),
                ("devices", wanted.devices, devices),
                ("memory_gib", wanted.memory_gib, memory),
            )
            if asked > has
        ]
        if short:
            yield bad(
                f"stage {stage} asks for {', '.join(short)}: no host can ever take it",
                f"a smaller profile, resources.{stage} in matrix.yaml, or --cluster FILE for larger machines",
            )
    yield ok(f"{here}; {len(asks)} stages looked at")


def niceness(_subject: Subject) -> Iterator[Finding]:
    """Jobs inherit the niceness: at 15 a host gets almost no processor beside any busy process."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        yield warning(f"this shell runs at niceness {nice}, and so will all jobs", "start from a shell at niceness 0")
    else:
        yield ok(f"niceness {nice}")


def limits(_subject: Subject) -> Iterator[Finding]:
    """Open files a process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        yield warning(f"{soft} open files allowed (at most {hard})", f"ulimit -n {min(hard, 65536)}")
    else:
        yield ok(f"{soft} open files allowed")


def temporary(subject: Subject) -> Iterator[Finding]:
    """Room and short paths for what an embedded Ray keeps in /tmp and in shared memory."""
    if subject.study.cluster.backend != "ray":
        yield ok("not used by this backend")
        return
    longest = session_folder(2**22, 10**10) / "session_2026-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    if len(str(longest)) > SOCKET_BYTES:
        yield bad(f"{longest} is longer than the {SOCKET_BYTES} bytes of a socket's path", "a shorter temporary folder")
    if not os.access(PARENT, os.W_OK | os.X_OK):
        yield bad(f"{PARENT} cannot be written: Ray's sockets lie there", f"chmod 1777 {PARENT}")
        return
    free = shutil.disk_usage(PARENT).free / GIB
    if free < TEMPORARY_GIB:
        yield bad(f"{PARENT} has {free:.2f} GiB left", f"free some space there: Ray needs {TEMPORARY_GIB:g} GiB or so")
    shared = Path("/dev/shm")
    if shared.is_dir() and (left := shutil.disk_usage(shared).free / 2**20) < SHARED_MIB:
        yield warning(
            f"{shared} has {left:.0f} MiB left: ranks and Ray's object store share memory there",
            "enlarge it (docker run --shm-size=1g), or remove what dead programs left in it",
        )
    yield ok(f"{PARENT} has {free:.1f} GiB left")


def _largest(subject: Subject) -> dict[str, Job]:
    """Stage -> its job that asks for most."""
    found: dict[str, Job] = {}
    for job in subject.study.plan.jobs.values():
        before = found.get(job.stage)
        size = (job.resources.devices, job.resources.memory_gib, job.resources.cpus)
        if before is None or size > (before.resources.devices, before.resources.memory_gib, before.resources.cpus):
            found[job.stage] = job
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
