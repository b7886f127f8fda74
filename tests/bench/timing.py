"""Times, the lines that `make bench` prints, and their record as JSON (`tests/bench/conftest.py` writes it)."""

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SAID: list[dict[str, Any]] = []
"""What this process has measured, in order."""


def seconds(do: Callable[[], Any], times: int = 5) -> float:
    """Median seconds of a call."""
    return alternating([do], times)[0]


def alternating(do: Sequence[Callable[[], Any]], times: int) -> list[float]:
    """Median seconds of each call, taken in turn so that what else the machine does meets all alike."""
    taken: list[list[float]] = [[] for _ in do]
    for _ in range(times):
        for each, call in zip(taken, do, strict=True):
            began = time.perf_counter()
            call()
            each.append(time.perf_counter() - began)
    return [statistics.median(each) for each in taken]


def cpu_seconds(
    command: Sequence[str | Path], folder: Path, times: int = 5, environment: Mapping[str, str] | None = None
) -> float:
    """User and system time of a command with its children, s: the least of several, which other work disturbs least."""
    taken = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def say(
    what: str, ours: float, peer: float | None = None, name: str = "", *, group: str = "others", size: int | None = None
) -> None:
    """Print one line of the table and record it.

    Args:
        what: was measured.
        ours: seconds.
        peer: seconds of a peer for the same.
        name: of the peer.
        group: which table or figure of docs/benchmarks.md it belongs to.
        size: number of jobs, of one point of a growth curve.
    """
    SAID.append({"what": what, "ours": ours, "peer": peer, "name": name, "group": group, "size": size})
    against = "" if peer is None else f"   {name} {peer:8.3f} s   ratio {peer / ours:6.1f}"
    print(f"\n{what:<52} {ours:8.3f} s{against}")
