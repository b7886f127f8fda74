"""Machine resources: its processors, memory, devices, address and file systems, and its processes' memory.

A job's memory is its PSS, the proportional set size: pages shared with the warm server count once over all
who share them. An address-space limit (RLIMIT_AS) would break CUDA and memory maps. No library is imported
to read any of it.
"""

import contextlib
import fcntl
import os
import platform
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path

GIB = 2**30
VISIBLE = "CUDA_VISIBLE_DEVICES"
LIST_S = 20.0
DEVICE = re.compile(r"\d+|(GPU|MIG)-[0-9A-Za-z/-]+")
UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit
LOOPBACK = "127.0.0.1"
SIOCGIFADDR = 0x8915  # netdevice(7): the IPv4 address of an interface
UNUSED_ADDRESS = "198.51.100.1"
"""An address that no machine has (RFC 5737); the default route leads to it."""
NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "wekafs", "panfs", "afs", "9p"),
    *("fuse.sshfs", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
)
"""File systems that several machines can share; SQLite's WAL does not work on them."""


def machine_gib(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory this process may use: the machine's, or its cgroup's limit where that is smaller."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]  # of any Unix; under a limit /proc may say less
    for line in _read(proc / "meminfo").splitlines():
        if line.startswith("MemTotal:"):
            limits = [int(line.split()[1]) * 1024]
    for folder in cgroup_folders(proc, cgroups, above=True):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) < UNLIMITED:
                limits.append(int(text))
    return min(limits) / GIB


def machine_cpus(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors this process may use: those it may run on, or the quota of its cgroup where that is smaller.

    Of a quota of 2.5 processors two count, and of less than one, one.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for folder in cgroup_folders(proc, cgroups, "cpu", above=True):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        for used, per in (
            (quota, period),
            (_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")),
        ):
            if used.isdigit() and per.isdigit() and int(per):  # `max` and -1: no quota
                limits.append(max(1, int(used) // int(per)))
    return min(limits)


def machine_devices(environment: Mapping[str, str] = os.environ, dev: Path = Path("/dev")) -> int:
    """How many NVIDIA devices this process may use: those that are there and that CUDA_VISIBLE_DEVICES names."""
    number = sum(1 for entry in dev.glob("nvidia*") if entry.name.removeprefix("nvidia").isdigit())
    if not number and (dev / "dxg").exists():
        number = _listed_devices()
    text = environment.get(VISIBLE)
    if text is None:
        return number
    return len(list(takewhile(lambda name: "-" in name or int(name) < number, visible_devices(text))))


@cache
def _listed_devices() -> int:
    """Devices that the driver's own program lists: WSL has no file for each."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=LIST_S, check=True)
        return sum(1 for line in done.stdout.splitlines() if line.startswith(b"GPU "))
    return 0


def visible_devices(text: str) -> tuple[str, ...]:
    """The devices that a value of CUDA_VISIBLE_DEVICES names, as numbers, UUIDs or MIG instances.

    The first name that is none ends them: CUDA reads no further, so `-1` and `NoDevFiles` mean none.
    """
    names = []
    for name in text.split(","):
        if not DEVICE.fullmatch(name.strip()):
            break
        names.append(name.strip())
    return tuple(dict.fromkeys(names))


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a path lies on, or will; empty where it is not known."""
    wanted, best, kind = str(path.resolve()), "", ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, place, found, *_ = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place)
        if (wanted == place or wanted.startswith(place.rstrip("/") + "/")) and len(place) >= len(best):
            best, kind = place, found
    return kind


def existing_folder(path: Path) -> Path:
    """The path, or its nearest parent that is a folder."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def host_kind() -> str:
    """What a commit record says about the machine where the result does not name its device."""
    return f"{platform.machine()} {platform.system()}"


def node_address() -> str:
    """An address at which other nodes reach this one: of its host name, else of its default route, else loopback.

    Debian resolves a machine's own name to 127.0.1.1, which no other node can use.
    """
    found = LOOPBACK
    with contextlib.suppress(OSError):
        found = socket.gethostbyname(socket.gethostname())
    if not found.startswith("127."):
        return found
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((UNUSED_ADDRESS, 1))  # no packet is sent: the kernel only picks the interface
        return str(probe.getsockname()[0])
    return found


def interface_of(address: str) -> str:
    """The network interface that has this IPv4 address first; empty: none, or it cannot be told."""
    if not sys.platform.startswith("linux"):
        return ""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # one without an address
                answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""


def group_members(groups: Iterable[int], proc: Path = Path("/proc")) -> list[int]:
    """Process ids in any of `groups` (a rank leads its own group; its children stay in it)."""
    wanted = set(groups)
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended, or another user's and hidden
            continue
        if int(fields[2]) in wanted:
            found.append(int(entry.name))
    return found


def pss_bytes(pids: Iterable[int], proc: Path = Path("/proc")) -> int:
    """Proportional set size of processes, in bytes; those that have ended count as 0."""
    total = 0
    for pid in pids:
        try:
            rollup = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def cgroup_folders(
    proc: Path = Path("/proc"),
    cgroups: Path = Path("/sys/fs/cgroup"),
    controller: str = "memory",
    *,
    above: bool = False,
) -> list[Path]:
    """The folders of this process's cgroup: of v2 and of v1's `controller`, its own and the mounted root.

    Args:
        proc, cgroups: where these are mounted.
        controller: `memory` or `cpu`.
        above: also those between the two, whose limits hold as well. (SLURM limits the job, and puts us in a step.)
    """
    folders = [cgroups, cgroups / controller]
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroups
        elif controller in controllers.split(","):
            root = cgroups / controller
        else:
            continue
        own = root / path.lstrip("/")
        folders += [own, *(folder for folder in own.parents if above and root in folder.parents)]
    return folders


def _read(file: Path) -> str:
    """What a small file of the kernel's says; empty where it is not there."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Out-of-memory kills so far, as far as this process can see: those of our cgroup and of the kernel."""
    files = [proc / "vmstat"]
    for folder in cgroup_folders(proc, cgroups):
        files += [folder / "memory.events", folder / "memory.oom_control"]
    total = 0
    for file in files:
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total
