"""Two processes that are the ranks of one job, meeting at a socket bound beforehand."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workloads.contract.request import Rendezvous

TIME_LIMIT_S = 240.0


def run_by_two(script: Path, arguments: Callable[[Rendezvous], Sequence[str]]) -> None:
    """Run `script` once for each rank, with what `arguments` gives for its meeting; both end well, or this fails."""
    processes = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        for rank in range(2):
            meeting = Rendezvous(
                world_size=2, rank=rank, local_rank=rank, address="127.0.0.1", port=server.getsockname()[1],
                listen_fd=server.fileno() if rank == 0 else None,
            )  # fmt: skip
            processes.append(
                subprocess.Popen(
                    [sys.executable, str(script), *arguments(meeting)],
                    env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
                    pass_fds=[server.fileno()] if rank == 0 else [],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    try:
        for process in processes:
            _, errors = process.communicate(timeout=TIME_LIMIT_S)
            assert process.returncode == 0, errors[-4000:]
    finally:
        for process in processes:
            process.kill()
