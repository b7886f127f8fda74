"""Rows that the page shows pictures and videos of."""

from reports.analysis import Analysis
from reports.ranking import Ranking


def shown_rows(analysis: Analysis, found: Ranking) -> list[tuple[str, str]]:
    """(row, why it is shown): ceiling, the best row, the middle one of the ranking, floor; those that there are."""
    order, spec = found.last.order, analysis.spec.references
    rows = [(order[0], "best")] if order else []
    if len(order) > 2:
        rows.append((order[len(order) // 2], "middle"))
    labels = {row.label.partition("/")[0]: row.label for row in reversed(analysis.rows) if row.reference}
    if spec is not None and spec.ceiling in labels:
        rows.insert(0, (labels[spec.ceiling], spec.ceiling_name))
    if spec is not None and spec.floor in labels:
        rows.append((labels[spec.floor], spec.floor_name))
    return rows
