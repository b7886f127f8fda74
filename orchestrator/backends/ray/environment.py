"""What Ray reads from the environment when it is imported or starts its processes. No ray is imported here."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

SETTINGS = {
    "RAY_worker_niceness": "0",  # at Ray's 15 a host gets almost no processor beside any busy process
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill a host, that is all its jobs
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
ONE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a Ray that has one node only: it gives itself the address 127.0.0.1, and all of it listens there alone.

`ray.init(_node_ip_address="127.0.0.1")` does not: Ray replaces a loopback address by that of the network. The variable
is named for systems whose firewalls ask about every port, and holds on all (`get_node_ip_address` in
`ray/_private/services.py`).
"""
HOST_LABEL = "echo-matrix-host"
"""Label of a node that its starter has named: the name of its host."""
CLUSTER = "cluster"
"""`HostShare.group`: the hosts of one cluster share jobs."""
EXCHANGE_GROUP = "exchange"
"""Concurrency group of a host in which it answers other hosts: a disk that hangs does not make it look lost to them."""
OBJECT_STORE = 80 << 20
"""Bytes; messages are small, and Ray takes no less than 75 MiB."""


def create_token(token: Path) -> Mapping[str, str]:
    """Make a token, which only this user can read; the variables by which Ray lets in nobody without it.

    Whoever can speak to a Ray runs code as its user, and its ports are open to all users of a machine.
    """
    token.unlink(missing_ok=True)
    with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return token_environment(token)


def token_environment(token: Path) -> Mapping[str, str]:
    """The variables of a process that holds a token."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def join_environment(environment: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """The variables of a process that joins a standing cluster, beside its own.

    Ray sends the user's token by itself only to a cluster that it has found itself, not to one at an address.
    """
    users = Path(environment.get("HOME") or "~").expanduser() / ".ray" / "auth_token"  # where Ray keeps it
    has_token = "RAY_AUTH_TOKEN" in environment or users.is_file()
    return {"RAY_AUTH_MODE": "token"} if has_token and "RAY_AUTH_MODE" not in environment else {}
