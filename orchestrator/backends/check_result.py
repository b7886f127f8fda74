"""The result of one health check, as `doctor` prints it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found."""

    level: Level
    says: str
    """What is there, in one line; no secret in it."""
    remedy: str = ""
    """What to do; empty where nothing is wrong."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, for programs."""


def ok(says: str) -> CheckResult:
    """Nothing is wrong."""
    return CheckResult(level="ok", says=says)


def warning(says: str, remedy: str) -> CheckResult:
    """It works, but not as one may expect."""
    return CheckResult(level="warning", says=says, remedy=remedy)


def bad(says: str, remedy: str) -> CheckResult:
    """It does not work."""
    return CheckResult(level="bad", says=says, remedy=remedy)
