"""Findings as the page shows them: a group for each combination of axis values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.analysis import Analysis


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """The findings of one combination of axis values."""

    axes: str
    """`site=pre_qkv`; empty: the study has no axes."""
    own: bool
    """Whether these are the values that the study has without its axes."""
    findings: Sequence[Mapping[str, Any]]


def finding_groups(analysis: Analysis, defaults: Mapping[str, str]) -> list[FindingGroup]:
    """The findings, in the order in which they were asked.

    Args:
        analysis: of the study, or of published tables.
        defaults: axis -> the study's own value of its control.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for finding in analysis.findings:
        groups.setdefault(finding["axes"], []).append(finding)
    own = {f"{axis}={value}" for axis, value in defaults.items()}
    return [
        FindingGroup(axes=axes, own=bool(axes) and set(axes.split("/")) <= own, findings=found)
        for axes, found in groups.items()
    ]
