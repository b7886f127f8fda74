"""One attempt as a job of its own: `python -m orchestrator.host BATCH`, which SLURM starts (see `job`)."""

import os
import sys
from pathlib import Path

from orchestrator.host.job import run_job

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestrator.host BATCH, the folder with jobs.json")
    code = run_job(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # A store call that hangs keeps a worker thread for ever; all that matters is on disk.
    os._exit(code)
