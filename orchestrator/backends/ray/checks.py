"""Health checks of Ray for `doctor`: is it installed, does a standing one answer, is there room for an embedded one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray.address import place_of
from orchestrator.backends.ray.auth_token import check_token, open_token
from orchestrator.backends.ray.session import NAME, session_folders
from orchestrator.backends.ray.settings import ray_settings
from orchestrator.backends.ray.socket_folder import socket_parent
from orchestrator.errors import BackendError
from orchestrator.host.libraries import libraries_of_jobs
from orchestrator.host.machine import GIB
from orchestrator.host.processes import is_alive
from orchestrator.requirements import install_command
from orchestrator.wording import public_url

TEMPORARY_GIB = 1.0
SHARED_MIB = 64


def connection(run: PlannedRun) -> Iterator[CheckResult]:
    """Ray is installed, and a standing one answers; it is not imported: that takes seconds."""
    version = libraries_of_jobs(("ray",), run.environment)["ray"]
    if version is None:
        yield bad("jobs would not find ray", f"{install_command(('ray',))}, or load the module that has it")
        return
    settings = ray_settings(run.cluster)
    if settings.embedded:
        yield ok(f"ray {version}, started by each run")
        return
    try:
        place = place_of(settings.address, run.environment)
        check_token(run.environment)
    except BackendError as error:
        why, _, remedy = str(error).partition("; ")
        yield bad(why, remedy)
        return
    if open_to := open_token(run.environment):
        why, _, remedy = open_to.partition("; ")
        yield warning(why, remedy)
    yield ok(
        f"ray {version}, " + ("Ray looks for a cluster on this machine" if place == "auto" else f"{place} answers")
    )


def dashboard(run: PlannedRun) -> Iterator[CheckResult]:
    """The dashboard answers, by which `run --detach` starts the controller on the head."""
    address = ray_settings(run.cluster).dashboard
    if address is None:
        yield ok("not used: `run --detach` starts the controller on this machine")
        return
    from orchestrator.backends.ray.dashboard import (
        dashboard_version,
    )  # an HTTP client, which other commands do not need

    try:
        yield ok(f"ray {dashboard_version(address, run.environment)} answers at {public_url(address)}")
    except BackendError as error:
        why, _, remedy = str(error).partition("; ")
        yield bad(why, remedy)


def temporary(run: PlannedRun) -> Iterator[CheckResult]:
    """Room and short paths for what an embedded Ray keeps in a temporary folder and in shared memory."""
    try:
        parent = socket_parent(run.environment)
    except BackendError as error:
        why, _, remedy = str(error).rpartition("; ")
        yield bad(why, remedy)
        return
    free = shutil.disk_usage(parent).free / GIB
    if free < TEMPORARY_GIB:
        yield bad(f"{parent} has {free:.2f} GiB left", f"free some space there: Ray needs {TEMPORARY_GIB:g} GiB or so")
    shared = Path("/dev/shm")
    if shared.is_dir() and (left := shutil.disk_usage(shared).free / 2**20) < SHARED_MIB:
        yield warning(
            f"{shared} has {left:.0f} MiB left: ranks and Ray's object store share memory there",
            "enlarge it (docker run --shm-size=1g), or remove what dead programs left in it",
        )
    yield ok(f"{parent} has {free:.1f} GiB left")


def leftovers() -> Iterator[CheckResult]:
    """Folders of embedded sessions whose driver has died."""
    dead = [
        folder
        for folder in session_folders()
        if (named := NAME.fullmatch(folder.name)) and not is_alive(int(named[1]), int(named[2]))
    ]
    if dead:
        yield warning(f"{len(dead)} folders of dead Ray sessions, such as {dead[0]}", "the next `run` removes them")
