"""What a check of `doctor` looks at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.backends.check_result import CheckResult, Level, bad, ok, warning
from orchestrator.study import Study

__all__ = ["Check", "CheckResult", "Level", "Subject", "bad", "ok", "warning"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at."""

    study: Study
    environment: Mapping[str, str]
    """Of this process: where services answer, and whether they have a key."""


Check = Callable[[Subject], Iterable[CheckResult]]
"""Looks, changes nothing that stays, and imports nothing heavy."""
