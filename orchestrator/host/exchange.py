"""The exchange between the nodes of one attempt: where the ranks meet, that a rank was lost, how a node's ranks ended.

Each node tells its own news and hears that of the others. How it travels is the backend's: through files in the
attempt's folder where all nodes see it (`FileExchange`), or by messages. Nothing else is exchanged by nodes: a stop
comes to each of them from the backend.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypedDict

from workloads.contract.json_files import read_object, write_object


class Meeting(TypedDict):
    """Where the ranks meet, as the leading node tells it."""

    address: str
    port: int
    resume: str | None
    """The checkpoint that all nodes resume from, on the leading node."""


class NodeEnd(TypedDict):
    """How the ranks of a node ended."""

    ending: str
    detail: str
    ended: float
    """When the first of its ranks failed, or they had all ended: seconds since 1970 by the node's clock."""


class NodeNews(TypedDict, total=False):
    """What one node has told."""

    meeting: Meeting
    failing: bool
    """A rank of it has failed: its ending follows."""
    end: NodeEnd


class Exchange(Protocol):
    """One node's side of the exchange."""

    def tell(self, news: NodeNews) -> None:
        """Tell the other nodes, in addition to what they were told before.

        Raises:
            OSError: it cannot be told now.
        """

    def heard(self) -> Mapping[int, NodeNews]:
        """What each other node has told so far, by its number."""

    def lost(self) -> Mapping[int, str]:
        """The nodes that are gone or out of reach, and why; those that it cannot tell of are not among them."""

    def close(self) -> None:
        """The attempt has ended here; what was told can still be heard."""


class FileExchange:
    """The exchange through files in the attempt's folder, `exchange.json` and `exchange-n1.json`.

    A node that is lost is the scheduler's to notice: it ends the others.
    """

    def __init__(self, work: Path, attempt: str, node: int, nodes: int) -> None:
        self._work = work
        self._attempt = attempt
        self._node = node
        self._nodes = nodes
        self._told: NodeNews = {}

    def tell(self, news: NodeNews) -> None:
        """See `Exchange`."""
        self._told = {**self._told, **news}
        write_object(self._file(self._node), {"attempt": self._attempt, **self._told})

    def heard(self) -> Mapping[int, NodeNews]:
        """See `Exchange`."""
        found: dict[int, NodeNews] = {}
        for node in range(self._nodes):
            if node != self._node:
                with contextlib.suppress(OSError, ValueError):
                    raw: Any = read_object(self._file(node))
                    if raw.get("attempt") == self._attempt:
                        found[node] = raw
        return found

    def lost(self) -> Mapping[int, str]:
        """See `Exchange`."""
        return {}

    def close(self) -> None:
        """See `Exchange`."""

    def _file(self, node: int) -> Path:
        return self._work / node_file("exchange.json", node)


def node_file(name: str, node: int) -> str:
    """What node `node` calls its own file of this kind: `log.txt`, `log-n1.txt`."""
    stem, dot, suffix = name.rpartition(".")
    return name if node == 0 else f"{stem}-n{node}{dot}{suffix}"
