"""An attempt as a batch job: `python -m orchestrator.host BATCH`, which SLURM starts (see `job`)."""

import os
import sys
from pathlib import Path

from orchestrator.host.job import run_job
from orchestrator.host.masked_stream import MaskedStream
from orchestrator.host.user import complete_user

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestrator.host BATCH   (BATCH: the folder with jobs.json)")
    complete_user()
    sys.stdout, sys.stderr = MaskedStream(sys.stdout), MaskedStream(sys.stderr)  # files of SLURM
    code = run_job(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # A hanging store call would keep a thread, and so this process, alive; all results are on disk.
    os._exit(code)
