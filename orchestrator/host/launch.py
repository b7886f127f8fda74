"""Launch of an attempt on this node: its inputs, its request.json, and one process for each rank.

Every rank gets an environment of its own and the address at which the ranks meet (the rendezvous).
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import ArtifactMissing
from orchestrator.host.attempt import HostAttempt
from orchestrator.host.children import import_path
from orchestrator.host.exchange import Meeting
from orchestrator.host.log_collector import LogCollector
from orchestrator.host.machine import LOOPBACK, interface_of
from orchestrator.host.multi_node import NodeFailure, NodeRanks, await_meeting
from orchestrator.host.stored_checkpoints import bring_checkpoint, bring_checkpoints, offer_checkpoint
from orchestrator.host.warm_server import WarmServer
from orchestrator.store.lineage import made_in
from orchestrator.store.protocol import Store
from workloads.contract.request import request_from

# Set by whatever started the host; a rank's environment says nothing about its scheduler.
DROPPED_PREFIXES = ("RAY_", "OMP_", "OPENBLAS_", "MKL_", "SLURM_", "SBATCH_", "PMI_")
DROPPED = ("CUDA_VISIBLE_DEVICES", "PYTHONSTARTUP")
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""By which the libraries that ranks meet with choose the network interface on which they listen."""


def prepare(
    attempt: HostAttempt, store: Store, abandoned: Callable[[], bool], *, apart: bool = False
) -> NodeFailure | None:
    """Fetch inputs and checkpoints, and write this node's request.json; returns why the attempt has ended already.

    Sets `inputs`, `request` and, on a node that does not lead, `rendezvous` of the attempt.

    Args:
        attempt: of which nothing has begun.
        store: of the study.
        abandoned: whether the attempt has been ended meanwhile.
        apart: no other node sees the attempts' folders of this one.

    Raises:
        StoreError, OSError: an input is missing, or the disk cannot be written.
    """
    attempt.work.mkdir(parents=True, exist_ok=True)
    folders, attempt.inputs = fetch_inputs(store, attempt.submission["inputs"], attempt.fetched)
    finished, attempt.taken, attempt.origins = fetch_finished(
        store, attempt.submission.get("taken", {}), attempt.fetched
    )
    raw, ranks, stored = attempt.submission["request"], attempt.ranks, store.checkpoints
    resume, fingerprint, home = raw["resume"], raw["fingerprint"], attempt.work.parents[2]
    if stored is not None and (ranks.leads or apart):  # one node at a time writes into a folder that they share
        newest = bring_checkpoints(stored, home, fingerprint, whole=attempt.whole_checkpoints)
        resume = None if newest is None else str(newest.path)
        if newest is not None and ranks.leads and ranks.nodes > 1:
            offer_checkpoint(stored, fingerprint, newest)
    request = {
        **raw,
        "inputs": folders,
        "finished": finished,
        "resume": resume,
        "out": str(store.prepare(raw["stage"], raw["fingerprint"], attempt.name)),
        "rendezvous": rendezvous_of(ranks.first, ranks, None, None),
    }
    if not ranks.leads:
        assert attempt.exchange is not None
        meeting = await_meeting(attempt.exchange, ranks, abandoned)
        if meeting is None:
            return NodeFailure(node=ranks.node, ending="interrupted", detail="ended before it began")
        if isinstance(meeting, NodeFailure):
            return meeting
        request["resume"] = there = meeting["resume"]
        if stored is not None and there is not None:
            request["resume"] = str(bring_checkpoint(stored, home, fingerprint, Path(there)))
        attempt.rendezvous = meeting["address"], meeting["port"]
    path = attempt.work / ranks.file("request.json")
    request_from(request, str(path)).write(path)
    attempt.request = request
    return None


def fetch_inputs(
    store: Store, inputs: Mapping[str, str], fetched: list[Path]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Fetch committed inputs: stage -> folder, and stage -> {"fingerprint", "manifest"} for the commit record.

    Args:
        store: of the study.
        inputs: stage -> fingerprint.
        fetched: gets each folder, to be released when the attempt has ended.

    Raises:
        ArtifactMissing: an input has no commit record, or its files are missing.
    """
    folders: dict[str, str] = {}
    read: dict[str, dict[str, str]] = {}
    for stage, fingerprint in inputs.items():
        read[stage] = {"fingerprint": fingerprint, "manifest": store.read(fingerprint).manifest}
        fetched.append(store.fetch(fingerprint))
        folders[stage] = str(fetched[-1])
    return folders, read


def fetch_finished(
    store: Store, taken: Mapping[str, Mapping[str, Any]], fetched: list[Path]
) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, str]]:
    """Fetch finished jobs from which items are taken over.

    Returns `Request.finished`; fingerprint -> manifest; item -> manifest of the artifact in which it was made.

    One that is gone meanwhile is left out, and its items are made again.

    Args:
        store: of the study.
        taken: of the submission.
        fetched: gets each folder, to be released when the attempt has ended.
    """
    finished: list[dict[str, Any]] = []
    manifests: dict[str, str] = {}
    origins: dict[str, str] = {}
    for fingerprint, about in taken.items():
        with suppress(ArtifactMissing):
            commit, folder = store.read(fingerprint), store.fetch(fingerprint)
            fetched.append(folder)
            manifests[fingerprint] = commit.manifest
            origins |= made_in(commit, about["items"])
            finished.append({"folder": str(folder), **about})
    return finished, manifests, origins


def start_ranks(
    attempt: HostAttempt,
    server: WarmServer,
    logs: LogCollector,
    *,
    devices: Sequence[str],
    address: str,
    code_folder: str,
    environment: Mapping[str, str],
) -> None:
    """Ask `server` to fork every rank of `attempt` on this node; their output goes to its open log.

    Several ranks meet at a socket that the leading node binds here and hands to rank 0, so that no other process can
    take its port. The other nodes hear its address through the exchange.

    Args:
        attempt: with its request.json written.
        server: ready.
        logs: of the host.
        devices: of the placement, as CUDA_VISIBLE_DEVICES names them.
        address: of this node, for the other nodes.
        code_folder: the code snapshot.
        environment: that the job may have of this process's.

    Raises:
        OSError: the server has ended.
    """
    assert attempt.log is not None
    ranks = attempt.ranks
    with ExitStack() as stack:
        rendezvous, listening = attempt.rendezvous, None
        if ranks.leads and ranks.world_size > 1:
            where = address if ranks.nodes > 1 else LOOPBACK  # on one node it works without a network
            listening = stack.enter_context(bind_rendezvous(where))
            port = int(listening.getsockname()[1])
            rendezvous = where, port
            if attempt.exchange is not None:
                attempt.exchange.tell({"meeting": Meeting(address=where, port=port, resume=attempt.request["resume"])})
        for rank in range(ranks.first, ranks.first + ranks.count):
            writing, drained = logs.open(attempt.log, rank)
            stack.callback(os.close, writing)
            attempt.log_drained.append(drained)
            descriptors = {"log": writing}
            if listening is not None and rank == 0:
                descriptors["listen"] = listening.fileno()
            message = {
                "attempt": attempt.name,
                "rank": rank,
                "request": str(attempt.work / ranks.file("request.json")),
                "env": rank_environment(
                    environment,
                    attempt.execution,
                    rank=rank,
                    ranks=ranks,
                    visible=devices,
                    code_folder=code_folder,
                    interface=interface_of(address),
                ),
                "rendezvous": rendezvous_of(rank, ranks, *rendezvous),
            }
            server.start(message, descriptors)


def rank_environment(
    base: Mapping[str, str],
    execution: Mapping[str, Any],
    *,
    rank: int,
    ranks: NodeRanks,
    visible: Sequence[str],
    code_folder: str,
    interface: str = "",
) -> dict[str, str]:
    """The whole environment of one rank.

    Args:
        base: what the job may have of the host's own; the scheduler's variables and thread settings are dropped here.
        execution: of the request.
        rank: its number among all.
        ranks: of this node.
        visible: the job's devices as CUDA_VISIBLE_DEVICES names them; all ranks see all, LOCAL_RANK chooses.
        code_folder: where children of the rank find the code; the PYTHONPATH of `base` follows it.
        interface: by which the other nodes reach this one, unless `base` names another; empty: the libraries choose.
    """
    kept = {
        name: value for name, value in base.items() if not name.startswith(DROPPED_PREFIXES) and name not in DROPPED
    }
    given = {
        "PYTHONPATH": import_path(Path(code_folder), base),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(execution["threads"]),
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": ",".join(visible),
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank - ranks.first),
        "WORLD_SIZE": str(ranks.world_size),
        "LOCAL_WORLD_SIZE": str(ranks.count),
    }
    if ranks.nodes == 1:  # whatever network the user has set for several nodes, nobody else is to be met
        given |= dict.fromkeys(INTERFACES, "lo")
    else:
        given |= network_variables(interface, kept)
    if execution["deterministic"]:
        given["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return {**kept, **given}


def network_variables(interface: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which ranks on several nodes use this network, unless the user has set another one."""
    if not interface or environment.keys() & set(INTERFACES):
        return {}
    return {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}  # NCCL takes a prefix else


def bind_rendezvous(address: str) -> socket.socket:
    """A listening socket on a port that the kernel picks; it stays open and is handed over, so the port stays ours."""
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    bound.bind((address, 0))
    bound.listen()
    return bound


def rendezvous_of(rank: int, ranks: NodeRanks, address: str | None, port: int | None) -> dict[str, Any]:
    """The rendezvous of one rank as in a request, without the descriptor, which only the rank itself can name.

    Args:
        rank: its number among all.
        ranks: of this node.
        address, port: of the socket at which the ranks meet; None at world size 1, or while it is not known.
    """
    return {
        "world_size": ranks.world_size,
        "rank": rank,
        "local_rank": rank - ranks.first,
        "address": address,
        "port": port,
        "listen_fd": None,
    }
