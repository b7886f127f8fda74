"""A driver that may have rivals: `rival.py HOME SECONDS STILL_S`, on the fake backend and the machine's clock.

It waits `STILL_S` on a driver that it cannot look at. Errors made on purpose are printed as one line.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from toy_study import Settings, small_plan

from orchestrator.backends.fake import FakeBackend
from orchestrator.errors import OrchestratorError
from orchestrator.schedule import lease
from orchestrator.schedule.ledger import Ledger
from orchestrator.schedule.loop import run
from orchestrator.schedule.rebuild import rebuilder
from orchestrator.store.files import FilesStore


def main(home: Path, seconds: float, still_s: float) -> int:
    lease.STILL_S = still_s
    store = FilesStore(home / "store")
    plan = small_plan()
    try:
        with (
            lease.acquire(home, say=print) as held,
            Ledger.open(home / "ledger.sqlite", held.check, rebuild=rebuilder(home, store)) as ledger,
        ):
            return run(
                plan,
                list(plan.jobs),
                home=home,
                store=store,
                ledger=ledger,
                backend_factory=lambda: FakeBackend(store=store, now=time.time, seconds=seconds),
                cluster=Settings(),
            ).exit_code
    except OrchestratorError as error:
        print(f"echo-matrix: {error}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
