"""One attempt on this host: its state from its submission to its report."""

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.host.endings import RankEnd, StopReason
from orchestrator.host.exchange import Exchange, FileExchange, NodeEnd
from orchestrator.host.log_collector import LogFile
from orchestrator.host.multi_node import NodeFailure, NodeRanks, ranks_of_node
from workloads.contract.metrics import read_beat


@dataclass
class HostAttempt:
    """State of one attempt; changed only while holding the node's lock."""

    submission: Mapping[str, Any]
    """A `Submission` as JSON."""
    phase: str = "waiting"
    ending: str | None = None
    detail: str = ""
    started: float | None = None
    """Wall clock, s."""
    ended: float | None = None
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint -> manifest of the finished jobs from which items are taken over."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Item that is taken over -> manifest of the artifact in which it was made."""
    fetched: list[Path] = field(default_factory=list)
    """Folders of inputs, which the store keeps on this machine until they are released."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """As written to request.json; empty until the inputs are here."""
    prepared: bool = False
    """request.json is written: the ranks can be forked as soon as the warm server is ready."""
    processes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """rank -> (pid, start time)."""
    processes_unwritten: bool = False
    """process.json could not be written yet."""
    rank_ends: dict[int, RankEnd] = field(default_factory=dict)
    first_failed: int | None = None
    first_failed_at: float | None = None
    """Wall clock, s."""
    ranks: NodeRanks = field(init=False)
    """The ranks on this node."""
    rendezvous: tuple[str | None, int | None] = (None, None)
    """Address and port where the ranks meet, from the leading node."""
    exchange: Exchange | None = None
    """With the other nodes; None: there are none."""
    failure: NodeFailure | None = None
    """Of the node whose failure ends the attempt, as far as this node knows."""
    hurried: bool = False
    """Its ranks are ended since another node has failed: how they end means nothing."""
    end_told: bool = False
    """The other nodes were told how this one ended."""
    stop_reason: StopReason | None = None
    """Why the host ends it."""
    limit_at: float | None = None
    """Monotonic clock, s, at which its time limit is reached."""
    kill_at: float | None = None
    """Monotonic clock, s, at which ranks that were asked to stop are killed."""
    doing: str = ""
    """The store call its thread is in: `fetching`, `uploading` or `publishing`; empty: none."""
    doing_since: float = 0.0
    """Monotonic clock, s."""
    problem: str = ""
    """For people: what is wrong if that call fails."""
    oom_kills_before: int = 0
    peak_bytes: int = 0
    """Highest PSS seen."""
    last_heartbeat: Any = None
    log: LogFile | None = None
    log_drained: list[threading.Event] = field(default_factory=list)
    """One event for each rank: its last line is in the log."""

    def __post_init__(self) -> None:
        """Find this node's ranks: `node` of the submission says which node of how many this is; one by default."""
        self.ranks = ranks_of_node(int(self.execution["ranks"]), **self.submission.get("node", {}))
        if self.ranks.nodes > 1 and self.exchange is None:
            self.exchange = FileExchange(self.work, self.name, self.ranks.node, self.ranks.nodes)

    @property
    def name(self) -> str:
        """The attempt's id."""
        return str(self.submission["attempt"])

    @property
    def work(self) -> Path:
        """The attempt's folder."""
        return Path(self.submission["request"]["work"])

    @property
    def execution(self) -> Mapping[str, Any]:
        """How it runs: `Execution` as JSON."""
        execution: Mapping[str, Any] = self.submission["request"]["execution"]
        return execution

    @property
    def failed_on(self) -> str:
        """Name of the host that failed first, of several that have names; empty: none, or it is not known."""
        named = self.failure is not None and self.ranks.names and self.ending != "ok"
        return self.ranks.names[self.failure.node] if named and self.failure is not None else ""

    @property
    def whole_checkpoints(self) -> bool:
        """Whether each of its checkpoints is complete by itself."""
        return bool(self.submission.get("whole_checkpoints", False))

    @property
    def living(self) -> list[int]:
        """Process ids of ranks that have started and not ended."""
        return [pid for rank, (pid, _) in self.processes.items() if rank not in self.rank_ends]

    @property
    def all_ranks_ended(self) -> bool:
        """Whether every rank of this node has ended."""
        return len(self.rank_ends) == self.ranks.count

    def tell_end(self, ending: str, detail: str, ended: float) -> None:
        """Tell the other nodes how this one ended; the first telling counts, and one that fails is left to the next."""
        if self.exchange is not None and not self.end_told:
            with contextlib.suppress(OSError):
                self.exchange.tell({"end": NodeEnd(ending=ending, detail=detail, ended=ended)})
                self.end_told = True

    def set_doing(self, doing: str, problem: str) -> None:
        """Note that its thread enters a store call, or, with empty texts, has left it."""
        self.doing_since, self.problem, self.doing = time.monotonic(), problem, doing

    def heartbeat(self) -> Any:
        """The heartbeat; during a store call its phase names the call and its counter the seconds waited."""
        last = read_beat(self.work)
        if not self.doing or not isinstance(last, dict):
            return last
        waited = int(time.monotonic() - self.doing_since)
        return {**last, "phase": self.doing, "counter": f"{self.doing} {waited} s"}

    def report(self) -> dict[str, Any]:
        """As the fields of a `Report`."""
        return {
            "attempt": self.name,
            "phase": self.phase,
            "ending": self.ending,
            "detail": self.detail,
            "heartbeat": self.heartbeat() if self.phase == "running" else self.last_heartbeat,
            "started": self.started,
            "ended": self.ended,
            **({"failed_on": self.failed_on} if self.failed_on else {}),
        }
