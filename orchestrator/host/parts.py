"""One attempt over several nodes: each node's part of the ranks, and how the parts meet and end together.

The scheduler starts one host per node, which runs its part of the ranks. The first part leads: it
binds the store at which the ranks meet, writes its address to `rendezvous.json` of the attempt's
folder (together with the checkpoint to resume from, so that all resume from one), publishes, and
has the last word, `ended.json`. The others say how theirs ended in `ended-n{index}.json`; a part
that sees another's bad end asks its own ranks to stop, for they wait for ranks that will not come.

What each part writes beside that carries its index: `request-n1.json`, `log-n1.txt`, `process-n1.json`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.host.endings import ENDED, read_ended
from orchestrator.host.writing import write_object
from workloads.contract.json_files import read_object

RENDEZVOUS = "rendezvous.json"
MEET_S = 900.0
"""For the leading part's rendezvous: its host may still fetch inputs and import."""
LOOK_S = 0.2
CLEAR_ENDINGS = ("out_of_memory", "bad_input")
"""What an end elsewhere cannot have caused."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The ranks of one node: `first` to `first + ranks - 1` of `world`."""

    index: int
    of: int
    first: int
    ranks: int
    world: int

    @property
    def leads(self) -> bool:
        """Whether rank 0 is here."""
        return self.index == 0

    def name(self, file: str) -> str:
        """`request.json` as this part calls its own."""
        return part_name(file, self.index)


def part_of(world: int, index: int = 0, of: int = 1) -> Part:
    """Part `index` of `of` of a job of `world` ranks.

    Raises:
        ValueError: the ranks cannot be spread evenly.
    """
    ranks, rest = divmod(world, of)
    if rest or not 0 <= index < of:
        raise ValueError(f"{world} ranks cannot be spread evenly over {of} nodes (this is node {index})")
    return Part(index=index, of=of, first=index * ranks, ranks=ranks, world=world)


def write_rendezvous(work: Path, address: str, port: int, resume: str | None) -> None:
    """Tell the other parts where the ranks meet, whole or not at all."""
    write_object(work / RENDEZVOUS, {"address": address, "port": port, "resume": resume})


def await_rendezvous(work: Path, attempt: str, given_up: Callable[[], bool]) -> dict[str, Any] | None:
    """What the leading part wrote: `address`, `port` and `resume`; None: it has ended, or this one is to.

    Raises:
        TimeoutError: nothing came within `MEET_S`.
    """
    deadline = time.monotonic() + MEET_S
    while not given_up() and read_ended(work, attempt) is None:
        try:
            return read_object(work / RENDEZVOUS)
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the first node has written no {RENDEZVOUS} within {MEET_S:.0f} s") from None
        time.sleep(LOOK_S)
    return None


def words_of_others(work: Path, attempt: str, part: Part) -> dict[int, dict[str, Any]]:
    """Index -> the word (`ending`, `detail`, `ended`) of each other part that has ended."""
    found = {}
    for index in range(part.of):
        if index != part.index:
            word = read_ended(work, attempt, part_name(ENDED, index))
            if word is not None:
                found[index] = word
    return found


def bad_word(words: Mapping[int, Mapping[str, Any]], before: float | None = None) -> tuple[str, str] | None:
    """Ending and detail of the part whose end explains the others': one that says why, else the first that failed.

    Args:
        words: of the other parts.
        before: when this part's own ranks failed, seconds since 1970: what failed later is a consequence. Clocks of
            two nodes are compared here, and nothing but the choice of words hangs on it.
    """
    bad = {index: word for index, word in words.items() if word["ending"] != "ok"}
    failed = [(word["ending"] not in CLEAR_ENDINGS, word["ended"] or 0.0, index) for index, word in bad.items()]
    if not failed:
        return None
    unclear, at, index = min(failed)
    if unclear and before is not None and at >= before:
        return None
    return bad[index]["ending"], f"node {index}: {bad[index]['detail']}"


def all_words(
    work: Path, attempt: str, part: Part, within_s: float, given_up: Callable[[], bool]
) -> dict[int, dict[str, Any]]:
    """The words of the other parts once all are there or one is bad; what there is after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        words = words_of_others(work, attempt, part)
        if len(words) == part.of - 1 or bad_word(words) is not None or given_up() or time.monotonic() > deadline:
            return words
        time.sleep(LOOK_S)


def part_name(file: str, index: int) -> str:
    """What part `index` calls its own file of this kind: `log.txt`, `log-n1.txt`."""
    stem, dot, suffix = file.rpartition(".")
    return file if index == 0 else f"{stem}-n{index}{dot}{suffix}"
