"""What Ray reads from the environment when it is imported or starts its processes. No ray is imported here."""

SETTINGS = {
    "RAY_worker_niceness": "0",  # at Ray's 15 a host gets almost no processor beside any busy process
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill a host, that is all its jobs
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
HOST_LABEL = "echo-matrix-host"
"""Label of a node that its starter has named: what the policy calls its host."""
OBJECT_STORE = 80 << 20
"""Bytes; messages are small, and Ray takes no less than 75 MiB."""
