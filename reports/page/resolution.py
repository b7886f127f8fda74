"""What these seeds and scenes can tell, beside what the findings ask: how an undecided finding is to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.formats import decimals_of, number, shown_unit
from reports.spec import POWER, ReportSpec


@dataclass(frozen=True, kw_only=True)
class ResolutionPart:
    """The section."""

    power: str
    lines: Sequence[tuple[str, str, str, str, str, str]]
    """Finding, metric, what it asks, what is resolved, power for what it asks, seeds that would do."""
    lone_seed: bool
    """No seed but one, and nothing known of others."""


def resolution_part(power: Mapping[str, Any], spec: ReportSpec) -> ResolutionPart | None:
    """The section, from the key `power` of report.json; None: no finding declares what it asks."""
    if not power["findings"]:
        return None
    lines = []
    for one in power["findings"]:
        decimals = decimals_of(spec, one["metric"].partition("/")[2])
        unit = shown_unit(one["unit"])
        own = next((design for design in one["designs"] if design["seeds"] == one["seeds"]), None)
        enough = next((str(design["seeds"]) for design in one["designs"] if design["power"] >= POWER), "")
        most = max((design["seeds"] for design in one["designs"]), default=0)
        asks = f"{'margin ' if one['claim'] == 'equivalence' else ''}{one['effect']:g} {unit}".rstrip()
        lines.append(
            (
                one["id"],
                one["metric"],
                asks,
                "–" if own is None else f"{number(own['detectable'], decimals)} {unit}".rstrip(),
                "–" if own is None else number(own["power"], 2),
                enough or (f"over {most}" if most else "–"),
            )
        )
    return ResolutionPart(
        power=f"{POWER:g}", lines=lines, lone_seed=all(not one["designs"] for one in power["findings"])
    )
