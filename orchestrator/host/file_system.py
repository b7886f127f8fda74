"""The kind of file system that a path lies on, from the kernel's table of mounts."""

import re
from pathlib import Path

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "lustre", "fuse.sshfs", "9p", "gpfs", "beegfs")
"""Kinds that several machines can share; SQLite's WAL does not work on them."""


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a path lies on, or will; empty where it cannot be told."""
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
