"""The outcome of an attempt whose ranks on this node have all ended: its result, or its ending and the reason."""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.host.attempt import HostAttempt
from orchestrator.host.endings import deciding_rank, ending_of
from orchestrator.host.exchange import Exchange
from orchestrator.host.machine import GIB, oom_kills
from orchestrator.host.multi_node import SELF_EXPLANATORY, NodeFailure, await_ends, failure_elsewhere
from orchestrator.host.retry import DISK_FULL
from workloads.contract.result import Result, read_result

OTHER_NODES_S = 120.0
"""Wait for the other nodes' endings when this node's ranks have ended well: file systems show files late."""
CAUSE_S = 10.0
"""The same when they have not: the cause may be on another node."""
LEAST_FREE = 1 << 16  # bytes: a disk with less is full

EndingAndDetail = tuple[str, str]


def outcome_of(attempt: HostAttempt, abandoned: Callable[[], bool]) -> Result | EndingAndDetail:
    """The result of an attempt that ended well on all its nodes, else its ending; may wait for other nodes.

    A node that does not lead has no result: it ends with `ok`.
    """
    own = _own_failure(attempt)
    if attempt.exchange is not None:
        failure = _failure_of_nodes(attempt, attempt.exchange, own, abandoned)
        if failure is not None:
            attempt.failure = failure
            return failure.ending, failure.detail
    if own is not None:
        return own
    return _result_of(attempt) if attempt.ranks.leads else ("ok", "")


def _failure_of_nodes(
    attempt: HostAttempt, exchange: Exchange, own: EndingAndDetail | None, abandoned: Callable[[], bool]
) -> NodeFailure | None:
    """The failure that ends an attempt of several nodes; None: all ended well, as far as this node has to know."""
    ranks, since = attempt.ranks, attempt.first_failed_at
    if own is not None and attempt.hurried:
        own, since = ("interrupted", "ended, since another node had failed"), time.time()
    attempt.tell_end(*(own or ("ok", "")), since or time.time())
    if attempt.failure is not None:
        return attempt.failure
    if own is None and not ranks.leads:
        return None
    explicit = own is not None and own[0] in SELF_EXPLANATORY
    within_s = OTHER_NODES_S if own is None else 0.0 if explicit else CAUSE_S
    ends = await_ends(exchange, ranks, within_s, abandoned)
    elsewhere = failure_elsewhere(exchange, ranks, since)
    if elsewhere is not None and not explicit:
        return elsewhere
    if own is not None:
        return NodeFailure(node=ranks.node, ending=own[0], detail=own[1])
    if len(ends) < ranks.nodes - 1:
        silent = next(node for node in range(1, ranks.nodes) if node not in ends)
        detail = f"{ranks.words(silent)} of {ranks.nodes} has not said within {OTHER_NODES_S:.0f} s how its ranks ended"
        return NodeFailure(node=silent, ending="vanished", detail=detail)
    return None


def _own_failure(attempt: HostAttempt) -> EndingAndDetail | None:
    """How the ranks of this node failed; None: they ended well."""
    rank = deciding_rank(attempt.rank_ends, attempt.first_failed)
    if rank is None:
        return None
    oom_rose = oom_kills() > attempt.oom_kills_before
    ending, detail = ending_of(attempt.rank_ends[rank], stop_reason=attempt.stop_reason, oom_rose=oom_rose)
    if attempt.stop_reason == "memory":
        detail += (
            f" of {attempt.submission['resources']['memory_gib']} GiB (it used "
            f"{attempt.peak_bytes / GIB:.2f} GiB); raise resources.{attempt.request['stage']}.memory_gib"
        )
    parts = [f"rank {rank}" if attempt.ranks.world_size > 1 else "", attempt.detail or detail]
    parts.append(_error_of(attempt.work, rank))
    return ending, ": ".join(part for part in parts if part)


def _error_of(work: Path, rank: int) -> str:
    """The error in a failed rank's result, `ValueError: message`; another rank's result replaces rank 0's."""
    try:
        result = read_result(work / ("result.json" if rank == 0 else f"result-r{rank}.json"))
    except (OSError, ValueError):
        return ""
    if rank != 0:
        with contextlib.suppress(OSError):  # a full disk: the error is in the detail too
            result.write(work / "result.json")
    return "" if result.error is None else f"{result.error.type}: {result.error.message}"


def _result_of(attempt: HostAttempt) -> Result | EndingAndDetail:
    try:
        result = read_result(attempt.work / "result.json")
    except (OSError, ValueError) as error:
        if _disk_is_full(attempt.work):
            return "interrupted", f"the disk of {attempt.work} is full, so there is no result: {error}"
        return "error", f"exit 0 without a result: {error}"
    return result if result.ending == "ok" else ("error", f"exit 0, but result.json says {result.ending}")


def _disk_is_full(work: Path) -> bool:
    """Whether nothing more can be written where the attempt's folder is."""
    try:
        return shutil.disk_usage(work).free < LEAST_FREE
    except OSError as error:
        return error.errno in DISK_FULL
