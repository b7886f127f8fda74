"""A check of `doctor`: what it examines and what it reports."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.study import Study

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of a check."""

    level: Level
    says: str
    """What was found, in one line and without secrets."""
    remedy: str = ""
    """What to do; empty for `ok`."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is examined."""

    study: Study
    environment: Mapping[str, str]
    """Of this process: addresses and keys of services."""


Check = Callable[[Subject], Iterable[Finding]]
"""Reads only, leaves nothing behind, and imports nothing heavy."""


def ok(says: str) -> Finding:
    """Works."""
    return Finding(level="ok", says=says)


def warning(says: str, remedy: str) -> Finding:
    """Works, with a limitation."""
    return Finding(level="warning", says=says, remedy=remedy)


def bad(says: str, remedy: str) -> Finding:
    """Does not work."""
    return Finding(level="bad", says=says, remedy=remedy)
