"""Groups of cases: the cases of a branch that differ in one thing, over the same scenes.

A branch whose cases have groups (`BranchSpec.group`) has each metric once for each group, `METRIC@GROUP`: a mean over
all of them would be of nothing.
"""

import re
from collections.abc import Sequence

from reports.columns import Columns, MeasureOfCase
from reports.spec import BranchSpec

MARK = "@"


def by_group(values: Columns, branches: Sequence[BranchSpec]) -> Columns:
    """The values, with the group of each case in the metric's name in place of the case's id."""
    patterns = {branch.name: re.compile(f"(?:{branch.group})$") for branch in branches if branch.group}

    def named(of: MeasureOfCase) -> tuple[str, str]:
        found = patterns[of.branch].search(of.case) if of.branch in patterns else None
        return (of.case, of.metric) if found is None else (of.case[: found.start()], grouped(of.metric, found.group(1)))

    return values.renamed(named) if patterns else values


def grouped(metric: str, group: str) -> str:
    """A metric's name for one group of cases."""
    return f"{metric}{MARK}{group}"


def groups_of(metric: str, names: Sequence[str]) -> list[str]:
    """The groups with values of `branch/metric`, in the order of `names` (`branch/metric@group`)."""
    start = f"{metric}{MARK}"
    return [name.removeprefix(start) for name in names if name.startswith(start)]
