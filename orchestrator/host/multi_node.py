"""Multi-node attempts: which ranks run on each node, where they meet, and how the nodes' endings are combined.

The scheduler starts one host per node, which runs its share of the ranks. The first node leads: it binds
the rendezvous socket, writes its address to `rendezvous.json` in the attempt's folder (with the checkpoint
to resume from, so that all nodes resume from the same one), publishes, and writes the attempt's ending,
`ended.json`. The other nodes write theirs to `ended-n{index}.json`. A node that sees that another one has
failed asks its own ranks to stop, since they wait for ranks that will not come.

Other files of these nodes carry the index too: `request-n1.json`, `log-n1.txt`, `process-n1.json`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.host.endings import ENDED, read_ended
from workloads.contract.json_files import read_object, write_object

RENDEZVOUS = "rendezvous.json"
RENDEZVOUS_TIMEOUT_S = 900.0
"""For the leading node to fetch its inputs and to import."""
POLL_S = 0.2
SELF_EXPLANATORY = ("out_of_memory", "bad_input", "diverged")
"""Endings that a failure on another node cannot have caused."""


@dataclass(frozen=True, kw_only=True)
class NodeRanks:
    """The ranks of one node: `first` to `first + count - 1` of `world_size`."""

    node: int
    nodes: int
    first: int
    count: int
    world_size: int

    @property
    def leads(self) -> bool:
        """Whether rank 0 is on this node."""
        return self.node == 0

    def file(self, name: str) -> str:
        """What this node calls its own file of this kind."""
        return node_file(name, self.node)


def ranks_of_node(world_size: int, node: int = 0, nodes: int = 1) -> NodeRanks:
    """The ranks on node `node` of `nodes`.

    Raises:
        ValueError: the ranks cannot be spread evenly.
    """
    count, rest = divmod(world_size, nodes)
    if rest or not 0 <= node < nodes:
        raise ValueError(f"{world_size} ranks cannot be spread evenly over {nodes} nodes (this is node {node})")
    return NodeRanks(node=node, nodes=nodes, first=node * count, count=count, world_size=world_size)


def node_file(name: str, node: int) -> str:
    """What node `node` calls its own file of this kind: `log.txt`, `log-n1.txt`."""
    stem, dot, suffix = name.rpartition(".")
    return name if node == 0 else f"{stem}-n{node}{dot}{suffix}"


def write_rendezvous(work: Path, address: str, port: int, resume: str | None) -> None:
    """Tell the other nodes where the ranks meet, atomically."""
    write_object(work / RENDEZVOUS, {"address": address, "port": port, "resume": resume})


def await_rendezvous(work: Path, attempt: str, abandoned: Callable[[], bool]) -> dict[str, Any] | None:
    """What the leading node wrote: `address`, `port` and `resume`; None: it has ended, or `abandoned()`.

    Raises:
        TimeoutError: nothing came within `RENDEZVOUS_TIMEOUT_S`.
    """
    deadline = time.monotonic() + RENDEZVOUS_TIMEOUT_S
    while not abandoned() and read_ended(work, attempt) is None:
        try:
            return read_object(work / RENDEZVOUS)
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the first node has written no {RENDEZVOUS} within {RENDEZVOUS_TIMEOUT_S:.0f} s"
                ) from None
        time.sleep(POLL_S)
    return None


def endings_of_other_nodes(work: Path, attempt: str, ranks: NodeRanks) -> dict[int, dict[str, Any]]:
    """Node -> `ending`, `detail` and `ended` of each other node that has ended."""
    found = {}
    for node in range(ranks.nodes):
        if node != ranks.node:
            ended = read_ended(work, attempt, node_file(ENDED, node))
            if ended is not None:
                found[node] = ended
    return found


def root_failure(endings: Mapping[int, Mapping[str, Any]], before: float | None = None) -> tuple[str, str] | None:
    """Ending and detail of the node whose failure explains the others': a self-explanatory one, else the first.

    Args:
        endings: of the other nodes.
        before: when this node's own ranks failed, seconds since 1970: what failed later is a consequence. This
            compares the clocks of two nodes; only the choice of the message depends on it.
    """
    failed = {node: ended for node, ended in endings.items() if ended["ending"] != "ok"}
    order = [(ended["ending"] not in SELF_EXPLANATORY, ended["ended"] or 0.0, node) for node, ended in failed.items()]
    if not order:
        return None
    unexplained, at, node = min(order)
    if unexplained and before is not None and at >= before:
        return None
    return failed[node]["ending"], f"node {node}: {failed[node]['detail']}"


def await_endings(
    work: Path, attempt: str, ranks: NodeRanks, within_s: float, abandoned: Callable[[], bool]
) -> dict[int, dict[str, Any]]:
    """The endings of the other nodes once all are there or one has failed; after `within_s`, those that are there."""
    deadline = time.monotonic() + within_s
    while True:
        found = endings_of_other_nodes(work, attempt, ranks)
        if len(found) == ranks.nodes - 1 or root_failure(found) is not None:
            return found
        if abandoned() or time.monotonic() > deadline:
            return found
        time.sleep(POLL_S)
