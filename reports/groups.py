"""Groups of cases: the cases of a branch that differ in one thing, over the same scenes.

A branch whose cases have groups (`BranchSpec.group`) has each metric once for each group, `METRIC@GROUP`: a mean over
all of them would be of nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from reports.input import ResultLine
from reports.spec import BranchSpec

MARK = "@"


def by_group(values: Sequence[ResultLine], branches: Sequence[BranchSpec]) -> Sequence[ResultLine]:
    """The values, with the group of each case in the metric's name in place of the case's id."""
    patterns = {branch.name: re.compile(f"(?:{branch.group})$") for branch in branches if branch.group}
    if not patterns:
        return values
    found = []
    for value in values:
        named = patterns[value.branch].search(value.case) if value.branch in patterns else None
        if named is not None:
            metric, case = grouped(value.metric, named.group(1)), value.case[: named.start()]
            value = replace(value, metric=metric, case=case)
        found.append(value)
    return found


def grouped(metric: str, group: str) -> str:
    """A metric's name for one group of cases."""
    return f"{metric}{MARK}{group}"


def groups_of(metric: str, names: Sequence[str]) -> list[str]:
    """The groups with values of `branch/metric`, in the order of `names` (`branch/metric@group`)."""
    start = f"{metric}{MARK}"
    return [name.removeprefix(start) for name in names if name.startswith(start)]
