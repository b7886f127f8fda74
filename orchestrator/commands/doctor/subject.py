"""What the checks of `doctor` examine."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.backends.check_result import CheckResult
from orchestrator.study import Study


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What checks examine."""

    study: Study
    environment: Mapping[str, str]
    """Environment variables of this process: addresses and keys of services."""


Check = Callable[[Subject], Iterable[CheckResult]]
"""Examines a study; it leaves no changes and imports no large library."""
