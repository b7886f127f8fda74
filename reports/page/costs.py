"""The cost table: what every row's jobs took."""

from collections.abc import Sequence

from reports.analysis import Analysis
from reports.formats import SI, shaped
from reports.spec import CostValue

SECONDS = "device_s"


def cost_table(analysis: Analysis) -> tuple[Sequence[str], list[tuple[str, list[str]]]]:
    """Column names and (row, cells)."""
    columns = _columns(analysis)
    lines = []
    for row in analysis.rows:
        by = analysis.costs.get(row.label)
        if by is not None:
            values = [(by.get(column.stage, {}).get(column.key), column.shape) for column in columns]
            lines.append((row.label, ["" if value is None else shaped(value, shape) for value, shape in values]))
    return [column.name for column in columns], lines


def _columns(analysis: Analysis) -> list[CostValue]:
    """The study's columns, then device seconds of every other stage; without any of its own, all that was recorded."""
    recorded = sorted(
        {(stage, key) for by in analysis.costs.values() for stage, values in by.items() for key in values}
    )
    wanted = analysis.spec.cost_columns
    if wanted is None:
        return [CostValue(stage=stage, key=key, name=f"{stage}: {key}", shape=SI) for stage, key in recorded]
    named = {column.stage for column in wanted}
    return [column for column in wanted if (column.stage, column.key) in recorded] + [
        CostValue(stage=stage, key=SECONDS, name=f"{stage}, s", shape="{:.0f}")
        for stage, key in recorded
        if key == SECONDS and stage not in named
    ]
