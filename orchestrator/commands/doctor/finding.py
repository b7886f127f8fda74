"""What a check of `doctor` looks at, and what it says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.study import Study

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    level: Level
    says: str
    """What is there, in one line; no secret in it."""
    remedy: str = ""
    """What to do; empty where all is well."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at."""

    study: Study
    environment: Mapping[str, str]
    """Of this process: where services answer, and whether they have a key."""


Check = Callable[[Subject], Iterable[Finding]]
"""Looks, changes nothing that stays, and imports nothing heavy."""


def ok(says: str) -> Finding:
    """All is well."""
    return Finding(level="ok", says=says)


def warning(says: str, remedy: str) -> Finding:
    """It works, and may surprise."""
    return Finding(level="warning", says=says, remedy=remedy)


def bad(says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(level="bad", says=says, remedy=remedy)
