"""The section of axes: what another value of a control changes, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.analysis import Analysis
from reports.axes import axis_values, value_contrasts
from reports.formats import decimals_of, number, p_text
from reports.statistics.intervals import ALPHA


@dataclass(frozen=True, kw_only=True)
class ContrastLine:
    """One contrast, as text."""

    row: str
    held: str
    metric: str
    contrast: str
    """`post_attention − pre_qkv`."""
    effect: str
    low: str
    high: str
    p: str
    significant: bool
    scenes: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class AxisPart:
    """One axis."""

    name: str
    values: Sequence[str]
    default: str
    """The study's own value; empty: not known."""
    lines: Sequence[ContrastLine]
    held: bool
    """Whether there are other axes, whose values are held in each line."""


def axis_parts(analysis: Analysis, defaults: Mapping[str, str]) -> list[AxisPart]:
    """The axes that have more than one value, or one that is not the study's own.

    Args:
        analysis: of the study.
        defaults: axis -> the study's own value of its control.
    """
    contrasts = value_contrasts(analysis, defaults)
    return [
        AxisPart(
            name=axis,
            values=values,
            default=defaults.get(axis, ""),
            lines=[
                ContrastLine(
                    row=one.row,
                    held=one.held,
                    metric=one.metric,
                    contrast=f"{one.value} \N{MINUS SIGN} {one.over}",
                    effect=number(one.effect, places),
                    low=number(one.low, places),
                    high=number(one.high, places),
                    p=p_text(one.p_adjusted),
                    significant=one.p_adjusted <= ALPHA,
                    scenes=one.scenes,
                    seeds=one.seeds,
                )
                for one in contrasts
                for places in [decimals_of(analysis.spec, one.metric.partition("/")[2])]
                if one.axis == axis
            ],
            held=any(one.held for one in contrasts if one.axis == axis),
        )
        for axis, values in axis_values(analysis).items()
        if len(values) > 1 or defaults.get(axis, values[0]) != values[0]
    ]
