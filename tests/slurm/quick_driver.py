"""`echo-matrix`, whose drivers beat every second and are given up after seconds, not after a minute."""

from orchestrator import cli
from orchestrator.schedule import lease

STILL_S = 8.0

if __name__ == "__main__":
    lease.STILL_S, lease.BEAT_S = STILL_S, 0.5
    cli.main()
