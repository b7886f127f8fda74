"""A driver with a thousand running jobs on the fake backend and the real clock: `drive_running.py FOLDER`.

Prints the share of a core that it takes while all run, and the most memory.
"""

import json
import sys
import threading
import time
from pathlib import Path

from toy_study import drive, make_job, make_plan

from orchestrator.backends.fake.backend import FakeBackend
from orchestrator.backends.protocol import HostShare
from orchestrator.store.files import FilesStore

JOBS = 1000
LASTS_S = 60.0
LOOKED_AT_S = 20.0


def main(folder: Path) -> None:
    """Start them, look at the processor time from then on, let them end."""
    plan = make_plan([make_job("data", f"data/{n}") for n in range(JOBS)])
    store = FilesStore(folder / "store")
    host = HostShare(name="fake-0", cpus=JOBS, devices=0, memory_gib=1e6)
    backend = FakeBackend(store=store, now=time.monotonic, hosts=[host], seconds=LASTS_S)
    share: list[float] = []

    def look() -> None:
        while len(backend.submitted) < JOBS:
            time.sleep(0.2)
        time.sleep(2.0)
        before = time.process_time(), time.monotonic()
        time.sleep(LOOKED_AT_S)
        share.append((time.process_time() - before[0]) / (time.monotonic() - before[1]))

    looking = threading.Thread(target=look)
    looking.start()
    drive(plan, folder, store, backend)
    looking.join()
    # Not ru_maxrss, which counts the memory of the process that started this one too.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"share": share[0], "peak_mib": peak / 1024}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
