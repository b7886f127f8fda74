"""One attempt on a host, as the node keeps it while it runs."""

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.host.endings import RankEnd, Reason
from orchestrator.host.parts import Part, part_of
from orchestrator.host.pump import Log
from workloads.contract.metrics import read_beat
from workloads.contract.result import read_result


@dataclass
class Attempt:
    """State of one attempt; changed under the node's lock only."""

    submission: Mapping[str, Any]
    """A `Submission` as JSON."""
    phase: str = "waiting"
    ending: str | None = None
    detail: str = ""
    started: float | None = None
    """Wall clock, s."""
    ended: float | None = None
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    """As written to request.json; empty until its inputs are here."""
    ready: bool = False
    """Its request is written: it can be forked as soon as the server is warm."""
    processes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """rank -> (pid, start time)."""
    ends: dict[int, RankEnd] = field(default_factory=dict)
    first_failed: int | None = None
    first_failed_at: float | None = None
    """Wall clock, s."""
    part: Part = field(init=False)
    """The ranks of this node."""
    meeting: tuple[str | None, int | None] = (None, None)
    """Address and port where the ranks meet, as the leading part has told."""
    elsewhere: tuple[str, str] | None = None
    """Ending and detail of another node's part that ended first, and badly."""
    reason: Reason | None = None
    """Why the host ends it."""
    limit_at: float | None = None
    """Monotonic clock, s, at which its limit of time is reached."""
    kill_at: float | None = None
    """Monotonic clock, s, after which being asked turns into being killed."""
    doing: str = ""
    """What its thread waits for: `fetching` or `publishing`; empty: nothing."""
    doing_since: float = 0.0
    """Monotonic clock, s."""
    waits_for: str = ""
    """For people: what stands in the way if that fails."""
    unwritten: bool = False
    """Its process.json could not be written yet."""
    oom_before: int = 0
    peak_bytes: int = 0
    """Highest PSS seen."""
    last_heartbeat: Any = None
    log: Log | None = None
    logged: list[threading.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find this node's part: `part` of the submission, else all of it."""
        self.part = part_of(int(self.execution["ranks"]), **self.submission.get("part", {}))

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
    def living(self) -> list[int]:
        """Process ids of ranks that have started and not ended."""
        return [pid for rank, (pid, _) in self.processes.items() if rank not in self.ends]

    def waits(self, doing: str, what: str) -> None:
        """Its thread begins to wait for a store or a disk, or has ended to."""
        self.doing_since, self.waits_for, self.doing = time.monotonic(), what, doing

    def beat(self) -> Any:
        """The heartbeat; while the host waits for the store, the phase says so and the seconds are counted."""
        last = heartbeat(self.work)
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
            "heartbeat": self.beat() if self.phase == "running" else self.last_heartbeat,
            "started": self.started,
            "ended": self.ended,
        }


def heartbeat(work: Path) -> Any:
    """`heartbeat.json` as last written; None where there is none, or none that can be read now."""
    return read_beat(work)


def failure_words(work: Path, rank: int) -> str:
    """What a failed rank says in its result, `ValueError: message`; another rank's takes the place of rank 0's."""
    own = work / ("result.json" if rank == 0 else f"result-r{rank}.json")
    try:
        result = read_result(own)
    except (OSError, ValueError):
        return ""
    if rank != 0:
        with contextlib.suppress(OSError):  # a full disk: its words are in the detail all the same
            result.write(work / "result.json")
    return "" if result.error is None else f"{result.error.type}: {result.error.message}"
