"""Multi-node attempts: which ranks run on each node, where they meet, and how the nodes' endings are combined.

The scheduler starts one host per node, which runs its share of the ranks. The first node leads: it binds
the rendezvous socket, tells the others its address (with the checkpoint to resume from, so that all nodes
resume from the same one), publishes, and has the last word on how the attempt ended. They tell one another
through an `Exchange`. A node that hears that another one has failed, or finds that it is gone, ends its own
ranks: they wait for ranks that will not come.

Files of the nodes that do not lead carry their number: `request-n1.json`, `log-n1.txt`, `ended-n1.json`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.host.exchange import Exchange, Meeting, NodeEnd, node_file

MEETING_TIMEOUT_S = 900.0
"""For the leading node to fetch its inputs and to import."""
POLL_S = 0.2
SELF_EXPLANATORY = ("out_of_memory", "bad_input", "diverged", "vanished")
"""Endings that a failure on another node cannot have caused."""


@dataclass(frozen=True, kw_only=True)
class NodeRanks:
    """The ranks of one node: `first` to `first + count - 1` of `world_size`."""

    node: int
    nodes: int
    first: int
    count: int
    world_size: int
    names: tuple[str, ...] = ()
    """Of the hosts, by node, where the backend has named them."""

    @property
    def leads(self) -> bool:
        """Whether rank 0 is on this node."""
        return self.node == 0

    def file(self, name: str) -> str:
        """What this node calls its own file of this kind."""
        return node_file(name, self.node)

    def words(self, node: int) -> str:
        """For people: `node 1`, `node 1 (gpu-7)`."""
        return f"node {node} ({self.names[node]})" if self.names else f"node {node}"


@dataclass(frozen=True, kw_only=True)
class NodeFailure:
    """The failure of one node, which ends the attempt."""

    node: int
    ending: str
    detail: str


def ranks_of_node(world_size: int, node: int = 0, nodes: int = 1, names: tuple[str, ...] = ()) -> NodeRanks:
    """The ranks on node `node` of `nodes`.

    Raises:
        ValueError: the ranks cannot be spread evenly.
    """
    count, rest = divmod(world_size, nodes)
    if rest or not 0 <= node < nodes:
        raise ValueError(f"{world_size} ranks cannot be spread evenly over {nodes} nodes (this is node {node})")
    return NodeRanks(node=node, nodes=nodes, first=node * count, count=count, world_size=world_size, names=tuple(names))


def await_meeting(exchange: Exchange, ranks: NodeRanks, abandoned: Callable[[], bool]) -> Meeting | NodeFailure | None:
    """Where the ranks meet, as the leading node tells it, or why it never will; None: `abandoned()`.

    Raises:
        TimeoutError: it has told nothing within `MEETING_TIMEOUT_S`.
    """
    deadline = time.monotonic() + MEETING_TIMEOUT_S
    while not abandoned():
        leader = exchange.heard().get(0, {})
        well = "end" not in leader or leader["end"]["ending"] == "ok"  # ranks that need no others are quick
        if "meeting" in leader and well:
            return leader["meeting"]
        if "end" in leader:
            detail = f"{ranks.words(0)} has ended before this one began"
            return NodeFailure(node=0, ending="interrupted", detail=detail)
        if gone := exchange.lost():
            node, why = min(gone.items())
            return NodeFailure(node=node, ending="node_lost", detail=f"{ranks.words(node)}: {why}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the first node has not said within {MEETING_TIMEOUT_S:.0f} s where the ranks meet")
        time.sleep(POLL_S)
    return None


def failure_elsewhere(exchange: Exchange, ranks: NodeRanks, before: float | None = None) -> NodeFailure | None:
    """The failure of another node, as far as it is known, that explains what follows; None: none has failed.

    `before`: as of `root_failure`.
    """
    ends = ends_of_others(exchange)
    gone = {node: why for node, why in exchange.lost().items() if node not in ends}
    if gone:
        node, why = min(gone.items())
        return NodeFailure(node=node, ending="node_lost", detail=f"{ranks.words(node)}: {why}")
    return root_failure(ends, ranks, before)


def ends_of_others(exchange: Exchange) -> dict[int, NodeEnd]:
    """Node -> how its ranks ended, of each other node that has said so."""
    return {node: news["end"] for node, news in exchange.heard().items() if "end" in news}


def root_failure(
    ends: Mapping[int, NodeEnd], ranks: NodeRanks | None = None, before: float | None = None
) -> NodeFailure | None:
    """The node whose failure explains the others': a self-explanatory one, else the first that was not interrupted.

    Args:
        ends: of the other nodes.
        ranks: of this node, for the names of the others.
        before: when this node's own ranks failed, seconds since 1970: what failed later is a consequence. This
            compares the clocks of two nodes; only whom an error is charged to depends on it.
    """
    order = [
        (end["ending"] not in SELF_EXPLANATORY, end["ending"] == "interrupted", end["ended"], node)
        for node, end in ends.items()
        if end["ending"] != "ok"
    ]
    if not order:
        return None
    unexplained, _, at, node = min(order)
    if unexplained and before is not None and at >= before:
        return None
    words = f"node {node}" if ranks is None else ranks.words(node)
    return NodeFailure(node=node, ending=ends[node]["ending"], detail=f"{words}: {ends[node]['detail']}")


def await_ends(
    exchange: Exchange, ranks: NodeRanks, within_s: float, abandoned: Callable[[], bool]
) -> dict[int, NodeEnd]:
    """How the other nodes ended once all have said so, or one is the cause; after `within_s`, those that have."""
    deadline = time.monotonic() + within_s
    while True:
        found = ends_of_others(exchange)
        cause = failure_elsewhere(exchange, ranks)
        if len(found) == ranks.nodes - 1 or (cause is not None and cause.ending != "interrupted"):
            return found
        if abandoned() or time.monotonic() > deadline:
            return found
        time.sleep(POLL_S)
