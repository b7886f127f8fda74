"""Two processes that are the ranks of one job, meeting at a socket bound beforehand.

They are forked from one process that has imported torch and DeepSpeed, as the ranks of a job are from the warm server.
"""

import fcntl
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.forkserver import ensure_running
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from workloads.contract.request import Rendezvous

TIME_LIMIT_S = 240.0
LISTENS_AT = 200
"""The descriptor of the socket in rank 0: above all that a process has by itself."""
HERE = Path(__file__).parent


def run_by_two(script: Path, arguments: Callable[[Rendezvous], Sequence[str]]) -> None:
    """Run `script` once for each rank, with what `arguments` gives for its meeting; both end well, or this fails."""
    context = _warm()
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        listening = fcntl.fcntl(server.fileno(), fcntl.F_DUPFD_CLOEXEC, LISTENS_AT)
        processes = []
        for rank in range(2):
            meeting = Rendezvous(
                world_size=2, rank=rank, local_rank=rank, address="127.0.0.1", port=server.getsockname()[1],
                listen_fd=listening if rank == 0 else None,
            )  # fmt: skip
            given: list[Any] = [script, list(arguments(meeting)), Path(folder) / f"{rank}.txt"]
            if rank == 0:
                given += [DupFd(listening), listening]
            processes.append(context.Process(target=_run, args=given))
            processes[-1].start()
        os.close(listening)
        try:
            for rank, process in enumerate(processes):
                process.join(TIME_LIMIT_S)
                assert process.exitcode == 0, (Path(folder) / f"{rank}.txt").read_text(encoding="utf-8")[-4000:]
        finally:
            for process in processes:
                process.kill()
                process.join()


def _warm() -> Any:
    """The process that ranks are forked from; started at its first use, it ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deepspeed", "mixed", "tiny_training"])
    before = os.environ.get("PYTHONPATH")
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"}
    try:
        ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _run(script: Path, arguments: list[str], said: Path, listening: Any = None, at: int = -1) -> None:
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if listening is not None:
        os.dup2(listening.detach(), at)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
