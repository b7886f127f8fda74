"""Health checks of Ray for `doctor`: is it installed, does a standing one answer, is there room for an embedded one."""

import importlib.metadata
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray.session import NAME, PARENT, session_folder
from orchestrator.backends.ray.settings import ray_settings
from orchestrator.host.machine import GIB
from orchestrator.host.processes import is_alive

ANSWER_S = 5.0
SOCKET_BYTES = 107
"""Longest path of a Unix socket."""
TEMPORARY_GIB = 1.0
SHARED_MIB = 64


def connection(run: PlannedRun) -> Iterator[CheckResult]:
    """Ray is installed, and a standing one answers; it is not imported: that takes seconds."""
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        yield bad("ray is not installed", "make install")
        return
    settings = ray_settings(run.cluster)
    if settings.embedded:
        yield ok(f"ray {version}, started by each run")
        return
    address = settings.address
    if address == "auto":
        place = run.environment.get("RAY_ADDRESS", "")
        if not place:
            yield ok(f"ray {version}, address auto: Ray looks for a cluster on this machine")
            return
        address = place
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        yield bad(f"ray.address is {address!r}", "allowed: local, auto, HOST:PORT")
    elif (why := _refused(host, int(port))) is not None:
        yield bad(f"nothing answers on {address}: {why}", "ray start --head there, or ray.address: local")
    else:
        yield ok(f"ray {version}, {address} answers")


def temporary(_run: PlannedRun) -> Iterator[CheckResult]:
    """Room and short paths for what an embedded Ray keeps in /tmp and in shared memory."""
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


def leftovers() -> Iterator[CheckResult]:
    """Folders of embedded sessions whose driver has died."""
    dead = [
        folder
        for folder in PARENT.glob("em-ray-*-*")
        if (named := NAME.fullmatch(folder.name)) and not is_alive(int(named[1]), int(named[2]))
    ]
    if dead:
        yield warning(f"{len(dead)} folders of dead Ray sessions, such as {dead[0]}", "the next `run` removes them")


def _refused(host: str, port: int) -> str | None:
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__
