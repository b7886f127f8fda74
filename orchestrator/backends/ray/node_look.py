"""What `doctor` looks at on a node of a Ray cluster; Ray runs these functions there, and our code comes along.

They change nothing on the node and return plain data: what it means is said where the driver is (`node_checks`).
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import workloads.contract
from orchestrator.backends.ray.entry import scratch_parent
from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.launch import network_variables
from orchestrator.host.libraries import library_versions
from orchestrator.host.machine import (
    NETWORK,
    VISIBLE,
    existing_folder,
    file_system,
    interface_of,
    machine_devices,
    node_address,
)
from orchestrator.host.processes import boot_id
from orchestrator.store.location import location_from
from orchestrator.store.registry import make_store
from orchestrator.web import get
from orchestrator.wording import last_line

SERVICE_S = 4.0
"""For a service to answer."""
NAMES_S = 5.0
"""For the driver of the devices to name them."""
ALL_REDUCE_S = 45.0
"""For all of an all-reduce: torch is imported on each node first."""
MONITOR = "RAY_memory_monitor_refresh_ms"
MONITOR_MS = "250"
"""Ray's own value, where the variable is not set."""


def look(request: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of this node.

    Args:
        request: `home`, `place` and `stamp` (an existing folder of the driver's), `store`, `tracker`
            (URL of MLflow's server, or None), `scratch` (setting).
    """
    raylet = raylet_variables()
    facts: dict[str, Any] = {
        "versions": library_versions(),
        "devices": machine_devices({name: value for name, value in raylet.items() if name == VISIBLE}),
        "names": device_names(),
        **_disk(request),
        "bucket": request["store"].get("kind") == "s3",
        "store": _store_problem(request),
        "tracker": _service_problem(request["tracker"]) if request["tracker"] else "",
        "memory_monitor_ms": raylet.get(MONITOR, MONITOR_MS),
        "niceness": niceness_of_jobs(),
        "address": node_address(),
        "port": free_port(),
    }
    return {**facts, "time": time.time()}  # the last, so that it is compared as soon as it was read


def all_reduce(rank: int, world: int, address: str, port: int, seconds: float, backend: str) -> dict[str, Any]:
    """What `workloads.runtime.all_reduce` measured here, or `problem`."""
    variables = child_environment(CHECKOUT, os.environ, Path(workloads.__path__[0]).parent)
    variables.pop(VISIBLE, None)
    if VISIBLE in (raylet := raylet_variables()):
        variables[VISIBLE] = raylet[VISIBLE]
    variables |= network_variables(interface_of(node_address()), variables)
    arguments = (rank, world, address, port, seconds, backend)
    command = python_command("workloads.runtime.all_reduce", *map(str, arguments))
    try:
        done = subprocess.run(command, env=variables, cwd=os.sep, capture_output=True, text=True, timeout=ALL_REDUCE_S)
    except subprocess.TimeoutExpired:
        return {"problem": f"no end within {ALL_REDUCE_S:g} s"}
    if done.returncode != 0:
        return {"problem": last_line(done.stderr) or f"it ended with {done.returncode}"}
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"problem": "the sum was wrong"} if measured.pop("wrong") else measured


def stamp(place: Path) -> dict[str, Any]:
    """What tells a folder from another of its name on another machine, or in another container."""
    about = place.stat()
    return {"boot": boot_id(), "device": about.st_dev, "inode": about.st_ino, "changed": about.st_ctime_ns}


def is_same_folder(place: Path, theirs: Mapping[str, Any]) -> bool:
    """Whether a folder here is the one of which another machine has made a stamp."""
    if not place.is_dir():
        return False
    mine = stamp(place)
    if mine["inode"] != theirs["inode"]:
        return False
    if mine["boot"] == theirs["boot"]:
        return bool(mine["device"] == theirs["device"])
    # Inodes of two disks may agree by chance, or since both are copies of one image, but then the times do not.
    return file_system(place) in NETWORK or mine["changed"] == theirs["changed"]


def raylet_variables() -> dict[str, str]:
    """The variables of the process that started this one: Ray changes some for its tasks."""
    try:
        entries = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    return dict(os.fsdecode(entry).partition("=")[::2] for entry in entries if b"=" in entry)


def device_names() -> list[str]:
    """The names of the devices, each once; empty where their driver names none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        command = [program, "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=NAMES_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(dict.fromkeys(line.strip() for line in done.stdout.splitlines() if line.strip()))


def niceness_of_jobs() -> int:
    """The niceness that jobs will have: a host sets it to 0 where it may, and so does this process, which ends soon."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    return os.getpriority(os.PRIO_PROCESS, 0)


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def _disk(request: Mapping[str, Any]) -> dict[str, Any]:
    """Free bytes where attempts would run, and whether that is in the driver's folder."""
    shared = is_same_folder(Path(request["place"]), request["stamp"])
    alone = request["store"].get("kind") == "s3" and not shared
    here = existing_folder(scratch_parent(request["scratch"]) if alone else Path(request["home"]).absolute())
    return {
        "folder": str(here),
        "free_bytes": shutil.disk_usage(here).free,
        "writable": os.access(here, os.W_OK),
        "shared": shared,
    }


def _store_problem(request: Mapping[str, Any]) -> str:
    """Why the bucket is not reached from here; empty: it is, or the store is a folder."""
    if request["store"].get("kind") != "s3":
        return ""
    try:
        objects = make_store(location_from(request["store"])).objects
        assert objects is not None
        objects.get("doctor/none")
    except ArtifactMissing:
        return ""
    except ImportError as error:
        return f"{error.name} is not installed"
    except (StoreError, OSError) as error:
        return str(error)
    return ""


def _service_problem(url: str) -> str:
    """Why a server is not reached from here; it is asked without credentials, so that any answer will do."""
    try:
        with get(url, {}, SERVICE_S):
            return ""
    except OSError as error:
        code = getattr(error, "code", None)  # HTTPError: the server has answered
        return "" if code is not None else str(getattr(error, "reason", error))
