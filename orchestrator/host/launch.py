"""The beginning of one attempt on this node: its inputs and its request.json, then its ranks, of the warm server."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from orchestrator.host.attempt import Attempt
from orchestrator.host.machine import LOOPBACK
from orchestrator.host.parts import await_rendezvous, write_rendezvous
from orchestrator.host.publish import fetch_inputs
from orchestrator.host.pump import LogPump
from orchestrator.host.ranks import bind_store, rank_environment, rendezvous_of
from orchestrator.host.server import WarmServer
from orchestrator.store.protocol import Store
from workloads.contract.request import request_from


def prepare(attempt: Attempt, store: Store, given_up: Callable[[], bool]) -> bool:
    """Fetch the inputs and write this node's request.json; False: the node that leads has ended already.

    Args:
        attempt: gets `inputs`, `request` and, on a node that does not lead, where the ranks meet.
        store: where the inputs are, and where the results will go.
        given_up: nobody waits for it any more.

    Raises:
        StoreError, OSError: an input is not there, or the disk takes nothing.
    """
    attempt.work.mkdir(parents=True, exist_ok=True)
    folders, attempt.inputs = fetch_inputs(store, attempt.submission["inputs"])
    raw, part = attempt.submission["request"], attempt.part
    request = {
        **raw,
        "inputs": folders,
        "out": str(store.prepare(raw["stage"], raw["fingerprint"], attempt.name)),
        "rendezvous": rendezvous_of(part.first, part, None, None),
    }
    if not part.leads:
        met = await_rendezvous(attempt.work, attempt.name, given_up)
        if met is None:
            return False
        request["resume"] = met["resume"]
        attempt.meeting = met["address"], met["port"]
    path = attempt.work / part.name("request.json")
    request_from(request, str(path)).write(path)
    attempt.request = request
    return True


def start_ranks(
    attempt: Attempt,
    server: WarmServer,
    pump: LogPump,
    *,
    devices: Sequence[str],
    address: str,
    code_folder: Path,
) -> None:
    """Ask `server` for every rank of this node's part of `attempt`; their output goes to its open log through `pump`.

    Several ranks meet at a socket that is bound here, by the part that leads, and handed to rank 0: nobody picks a
    free port and closes it. Other nodes are told where it is.

    Args:
        attempt: with its request.json written.
        server: a warm one.
        pump: of the host.
        devices: the part's, as CUDA_VISIBLE_DEVICES names them.
        address: of this node, as other nodes reach it.
        code_folder: where the code lies.

    Raises:
        OSError: the server has ended.
    """
    assert attempt.log is not None
    part = attempt.part
    with ExitStack() as stack:
        meeting, store = attempt.meeting, None
        if part.leads and part.world > 1:
            where = address if part.of > 1 else LOOPBACK  # on one node no network has to hold
            store = stack.enter_context(bind_store(where))
            port = int(store.getsockname()[1])
            meeting = where, port
            if part.of > 1:
                write_rendezvous(attempt.work, where, port, attempt.request["resume"])
        for rank in range(part.first, part.first + part.ranks):
            writing, logged = pump.open(attempt.log, rank)
            stack.callback(os.close, writing)
            attempt.logged.append(logged)
            descriptors = {"log": writing}
            if store is not None and rank == 0:
                descriptors["listen"] = store.fileno()
            environment = rank_environment(
                os.environ, attempt.execution, rank=rank, part=part, visible=devices, code_folder=str(code_folder)
            )
            message = {
                "attempt": attempt.name,
                "rank": rank,
                "request": str(attempt.work / part.name("request.json")),
                "env": environment,
                "rendezvous": rendezvous_of(rank, part, *meeting),
            }
            server.start(message, descriptors)
