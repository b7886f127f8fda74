"""Memory of a job's processes, of this machine, and evidence that the kernel ran out of it.

A job's memory is its PSS, the proportional set size: pages shared with the warm server count once
over all who share them. An address-space limit (RLIMIT_AS) would break CUDA and memory maps.
"""

from collections.abc import Iterable
from pathlib import Path

GIB = 2**30
UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit


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
    """Proportional set size of processes, in bytes; those that have ended count nothing."""
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


def cgroup_folders(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """The folders that may limit this process's memory: of cgroup v2 and v1, its own and the mounted root."""
    folders = [cgroups, cgroups / "memory"]
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folders.append(cgroups / path.lstrip("/"))
        elif "memory" in controllers.split(","):
            folders.append(cgroups / "memory" / path.lstrip("/"))
    return folders


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How often the kernel has killed for memory, as far as this process can see: our cgroup's counter and its own."""
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
