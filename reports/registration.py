"""What of a report was registered before the first evaluation, and what was explored."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from reports.groups import MARK
from reports.input import Registration, RegistrationStatus
from reports.measured import Measured


def metric_statuses(given: Registration, found: Iterable[str]) -> dict[str, RegistrationStatus]:
    """`branch/metric` -> whether it was declared before; one for each group of cases counts as the metric itself."""
    known = set(given.metrics)
    return {name: "registered" if name.partition(MARK)[0] in known else "explored" for name in found}


def registration_json(given: Registration, found: Measured) -> dict[str, Any]:
    """The key `registration` of report.json; `metrics` has a status for each that was measured."""
    return {**asdict(given), "metrics": metric_statuses(given, found.means)}
