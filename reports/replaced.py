"""Metrics that the page does not show because another one stands in their place (`ReportSpec.shown_instead`)."""

from collections.abc import Collection

from reports.groups import MARK
from reports.spec import ReportSpec


def is_replaced(spec: ReportSpec, metric: str, measured: Collection[str]) -> bool:
    """Whether another metric is shown instead of `branch/metric`: the branch has both, for this group of cases."""
    branch, _, own = metric.partition("/")
    plain, mark, group = own.partition(MARK)
    return f"{branch}/{spec.shown_instead.get(plain, '')}{mark}{group}" in measured
