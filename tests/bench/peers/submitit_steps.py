"""submitit's local executor: `submitit_steps.py JOBS` prints the seconds until so many jobs have a result."""

import json
import sys
import tempfile
import time

import submitit
from one_step import step

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=10)
        began = time.perf_counter()
        for job in [executor.submit(step) for _ in range(int(sys.argv[1]))]:
            job.result()
        print(json.dumps({"seconds": time.perf_counter() - began}))
