"""`echo-matrix`, whose drivers beat every second and are given up after seconds, not after a minute."""

from orchestrator import cli
from orchestrator.schedule import lease

STALE_AFTER_S = 8.0

if __name__ == "__main__":
    lease.STALE_AFTER_S, lease.HEARTBEAT_S = STALE_AFTER_S, 0.5
    cli.main()
