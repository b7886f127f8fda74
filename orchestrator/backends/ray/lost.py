"""The report of an attempt whose host does not answer: which evidence ends it, and when.

In this order:

1. `ended.json` in the attempt's folder: the host wrote it when the attempt ended, so its ending is
   known whatever became of the host afterwards.
2. Ray says that the host, or its node, has died (or that no host of that name lives, to a driver
   that looks for attempts of an earlier one), and
   * `process.json` names this machine and this boot: its ranks are killed and seen to be gone;
   * it names this machine and another boot: nothing of it can live;
   * it names another machine, whose processes nobody here can see: Ray's statement, `CONFIRM_DEATH_S`, and a
     heartbeat that has stood still for `STALLED_S` (it moves every 5 s while a rank lives);
   * there is none: no rank was ever forked; or, where nodes may not see the study's folder, it did not arrive: as
     on another machine. A host that takes the place of the dead one hands out `ended.json` meanwhile.
   Then the attempt has ended: `preempted` where Ray says that the node was taken away, else
   `node_lost`; neither counts as a retry.
3. Anything else is `unknown`: a host that does not answer may be busy, stopped or cut off, and what
   it runs may go on. Two attempts of one job can never harm each other, but they can waste a week.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.host.endings import ENDED, read_ended
from orchestrator.host.exchange import node_file
from orchestrator.host.processes import FILE, end_leftovers, place_of
from workloads.contract.metrics import read_beat

CONFIRM_DEATH_S = 5.0  # after a host's death until its ranks are gone, measured 4 s
STALLED_S = 30.0  # six heartbeats


class Lost:
    """Remembers since when each attempt has been without a host, and when its heartbeat last moved."""

    def __init__(self, *, apart: bool = False) -> None:
        """`apart`: there may be nodes that do not see the study's folder."""
        self._apart = apart
        self._since: dict[tuple[str, int], float] = {}
        self._beats: dict[str, tuple[Any, float]] = {}

    def forget(self, attempt: str) -> None:
        """An attempt whose end has been reported."""
        for share in [share for share in self._since if share[0] == attempt]:
            del self._since[share]
        self._beats.pop(attempt, None)

    def report(self, attempt: str, work: Path, node: int = 0, *, ending: str, why: str) -> dict[str, Any]:
        """The fields of a `Report` of an attempt whose host Ray calls dead, because of `why`.

        `node`: of several hosts, the number of the one whose share it is about.
        """
        known = ended_report(attempt, work, node)
        if known is not None:
            return known
        now = time.monotonic()
        since = self._since.setdefault((attempt, node), now)
        if now - since > CONFIRM_DEATH_S and self._gone(attempt, work, node, now):
            return {"attempt": attempt, "phase": "ended", "ending": ending, "detail": why, "ended": time.time()}
        return {"attempt": attempt, "phase": "unknown", "detail": why}

    def _gone(self, attempt: str, work: Path, node: int, now: float) -> bool:
        processes = node_file(FILE, node)
        place = place_of(work, processes)
        if place == "here" or (place == "nowhere" and not self._apart):
            return end_leftovers(work, processes)
        beat = read_beat(work)
        counter = beat.get("counter") if isinstance(beat, Mapping) else None
        seen, moved = self._beats.setdefault(attempt, (counter, now))
        if seen != counter:
            self._beats[attempt] = (counter, now)
            return False
        return now - moved > STALLED_S


def ended_report(attempt: str, work: Path, node: int = 0) -> dict[str, Any] | None:
    """What the host of this node wrote when the attempt ended; None if it has written nothing."""
    ended = read_ended(work, attempt, node_file(ENDED, node))
    return None if ended is None else {"attempt": attempt, "phase": "ended", **ended}
