"""`python forks_of_stages.py REQUEST...`: run each in a fork of a process that has preloaded its stage alone.

Prints a JSON object for each: its stage, the modules that the fork imported, and its exit code.
"""

import json
import os
import sys
from pathlib import Path

from workloads.contract.request import DEFAULT_WORKLOAD, read_request
from workloads.runtime.run import run_request
from workloads.runtime.server import import_all, preload


def main(requests: list[Path]) -> None:
    """What all stages share is imported once, here; the rest in a process for each stage, as in SLURM's jobs."""
    import_all(preload(DEFAULT_WORKLOAD, ["no stage"]))
    for path in requests:
        request = read_request(path)
        server = os.fork()
        if server == 0:
            import_all(preload(DEFAULT_WORKLOAD, [request.stage]))
            before = set(sys.modules)
            fork = os.fork()
            if fork == 0:
                code = run_request(request)
                found = {"stage": request.stage, "imported": sorted(set(sys.modules) - before), "code": code}
                print(json.dumps(found), flush=True)
                os._exit(0)
            os.waitpid(fork, 0)
            os._exit(0)
        os.waitpid(server, 0)


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
