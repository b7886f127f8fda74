"""Where the processes of a run listen, read from the kernel's own tables."""

import contextlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path

LISTENING = "0A"
"""TCP state of a listening socket in /proc/net/tcp (Linux, include/net/tcp_states.h)."""


def listening_sockets(pids: Iterable[int]) -> list[tuple[str, int, int]]:
    """Address, port and pid of each listening TCP socket of these processes; those that have ended have none."""
    owner: dict[str, int] = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    target = str(entry.readlink())
                    if target.startswith("socket:["):
                        owner[target[len("socket:[") : -1]] = pid
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in owner:
                address, port = fields[1].split(":")
                found.append((_address(address), int(port, 16), owner[fields[9]]))
    return found


def is_loopback(address: str) -> bool:
    """Whether only processes of this machine reach it; `::ffff:127.0.0.1` is 127.0.0.1."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _address(written: str) -> str:
    """The kernel writes an address as words of 32 bits, each in the byte order of the machine (here little endian)."""
    words = [bytes.fromhex(written[at : at + 8])[::-1] for at in range(0, len(written), 8)]
    return str(ipaddress.ip_address(b"".join(words)))
