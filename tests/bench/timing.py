"""Medians and the lines that `make bench` prints."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


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


def say(what: str, ours: float, peer: float | None = None, name: str = "") -> None:
    """Print one line of the table."""
    against = "" if peer is None else f"   {name} {peer:8.3f} s   ratio {peer / ours:6.1f}"
    print(f"\n{what:<52} {ours:8.3f} s{against}")
