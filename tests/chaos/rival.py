"""A driver that may have rivals: `rival.py HOME SECONDS STALE_AFTER_S`, on the fake backend and the machine's clock.

It waits `STALE_AFTER_S` on a driver that it cannot look at, and beats ten times in it. Errors are printed as the
command line prints them.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fake_driver import drive
from toy_study import fingerprint

from orchestrator.errors import OrchestratorError, disk_errors
from orchestrator.schedule import lease
from orchestrator.schedule.control import channel
from orchestrator.store.files import FilesStore
from workloads.runtime.fault_points import VARIABLE

ARMS = os.environ.get("RIVAL_ARMS", "").split()
"""Point, what it does, and after how many COMMITs."""


def main(home: Path, seconds: float, still_s: float) -> int:
    lease.STALE_AFTER_S, lease.HEARTBEAT_S = still_s, min(lease.HEARTBEAT_S, still_s / 10)
    store = FilesStore(home / "store")

    def arm(_event: object) -> None:
        """Arm the point that `RIVAL_ARMS` names, once so many jobs are done."""
        if not ARMS or (armed := Path(os.environ[VARIABLE]) / ARMS[0]).exists() or list(armed.parent.iterdir()):
            return
        if len(store.commits()) >= int(ARMS[2]):
            armed.write_text(ARMS[1])
            if ARMS[0] == "command.recorded":
                channel.send(home, "retry", [fingerprint("train/a")])

    try:
        with disk_errors(home), lease.acquire(home, say=print) as held:
            return drive(home, seconds, held, observer=arm)
    except OrchestratorError as error:
        print(f"echo-matrix: {error}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
