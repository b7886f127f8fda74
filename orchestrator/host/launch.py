"""Asking the warm server for the ranks of one attempt."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from orchestrator.host.attempt import Attempt
from orchestrator.host.pump import LogPump
from orchestrator.host.ranks import bind_store, rank_environment, rendezvous_of
from orchestrator.host.server import WarmServer


def start_ranks(
    attempt: Attempt,
    server: WarmServer,
    pump: LogPump,
    *,
    devices: Sequence[str],
    address: str,
    code_folder: Path,
) -> None:
    """Ask `server` for every rank of `attempt`, whose log is open; the ranks' output goes there through `pump`.

    Several ranks meet at a socket that is bound here and handed to rank 0: nobody picks a free port and closes it.

    Args:
        attempt: with its request.json written.
        server: a warm one.
        pump: of the host.
        devices: the job's, as CUDA_VISIBLE_DEVICES names them.
        address: of this node.
        code_folder: where the code lies.

    Raises:
        OSError: the server has ended.
    """
    assert attempt.log is not None
    ranks = int(attempt.execution["ranks"])
    with ExitStack() as stack:
        store = stack.enter_context(bind_store(address)) if ranks > 1 else None
        for rank in range(ranks):
            writing, logged = pump.open(attempt.log, rank)
            stack.callback(os.close, writing)
            attempt.logged.append(logged)
            descriptors = {"log": writing}
            if store is not None and rank == 0:
                descriptors["listen"] = store.fileno()
            environment = rank_environment(
                os.environ, attempt.execution, rank=rank, visible=devices, code_folder=str(code_folder)
            )
            message = {
                "attempt": attempt.name,
                "rank": rank,
                "request": str(attempt.work / "request.json"),
                "env": environment,
                "rendezvous": rendezvous_of(rank, ranks, store),
            }
            server.start(message, descriptors)
