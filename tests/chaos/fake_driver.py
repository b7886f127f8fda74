"""A driver in a process of its own, on the fake backend and the machine's clock: `fake_driver.py HOME SECONDS`."""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from toy_study import Settings, small_plan

from orchestrator.backends.fake.backend import FakeBackend
from orchestrator.schedule.lease import Lease, acquire
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.run import run
from orchestrator.store.files import FilesStore
from orchestrator.ui.progress import PlainView


def main(home: Path, seconds: float) -> int:
    with acquire(home) as lease:
        return drive(home, seconds, lease, view=PlainView(sys.stdout))


def drive(home: Path, seconds: float, lease: Lease, **told: Any) -> int:
    """Bring the small plan to done with the lease held; `told`: view or observer. The exit code."""
    store, plan = FilesStore(home / "store"), small_plan()
    with Ledger.open(home / "ledger.sqlite", lease.check, rebuild=rebuilder(home, store)) as ledger:
        return run(
            plan,
            list(plan.jobs),
            home=home,
            store=store,
            ledger=ledger,
            backend_factory=lambda: FakeBackend(store=store, now=time.time, seconds=seconds),
            cluster=Settings(),
            **told,
        ).exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
