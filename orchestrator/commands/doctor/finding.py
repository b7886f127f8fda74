"""Types of the checks of `doctor`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.backends.check_result import CheckResult, Level, bad, ok, warning
from orchestrator.study import Study

__all__ = ["Check", "CheckResult", "Level", "Subject", "bad", "ok", "warning"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What checks examine."""

    study: Study
    environment: Mapping[str, str]
    """Environment variables of this process: addresses and keys of services."""


Check = Callable[[Subject], Iterable[CheckResult]]
"""Examines a study; it leaves no changes and imports no large library."""
