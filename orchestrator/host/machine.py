"""What this machine has: processors, memory, devices, a kind and an address. Nothing is loaded to find out."""

import contextlib
import importlib.metadata
import os
import platform
import socket
import sys
from pathlib import Path

from orchestrator.host.memory import GIB, UNLIMITED, cgroup_folders

LOOPBACK = "127.0.0.1"
SOMEWHERE = "198.51.100.1"
"""An address of no machine (RFC 5737), which the default route leads to."""


def machine_gib(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory this process may use: the machine's, or its cgroup's limit where that is smaller."""
    limits = []
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            limits.append(int(line.split()[1]) * 1024)
    for folder in cgroup_folders(proc, cgroups):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if text.isdigit() and int(text) < UNLIMITED:
                limits.append(int(text))
    return min(limits) / GIB


def machine_cpus() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0))


def machine_devices(dev: Path = Path("/dev")) -> int:
    """NVIDIA devices of this machine, by their device files."""
    return sum(1 for entry in dev.glob("nvidia*") if entry.name.removeprefix("nvidia").isdigit())


def host_kind() -> str:
    """What a COMMIT says of the machine where the result does not name its device."""
    return f"{platform.machine()} {platform.system()}"


def node_address() -> str:
    """An address of this node that other nodes reach: what its name resolves to, or that of its way out; or loopback.

    Debian resolves a machine's own name to 127.0.1.1, which means another machine to every other node.
    """
    found = LOOPBACK
    with contextlib.suppress(OSError):
        found = socket.gethostbyname(socket.gethostname())
    if not found.startswith("127."):
        return found
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((SOMEWHERE, 1))  # no packet is sent: the kernel only picks the interface
        return str(probe.getsockname()[0])
    return found


def library_versions() -> dict[str, str]:
    """Versions of what a job's numbers depend on, from the installed packages' descriptions; absent: not installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("ray", "torch", "deepspeed"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
