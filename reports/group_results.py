"""What the groups of a branch's cases tell: half-lives of rows, and how far they fall (`groups.py`)."""

from dataclasses import asdict, dataclass
from typing import Any

from reports.groups import grouped, groups_of
from reports.measured import Measured
from reports.spec import GroupChanges, GroupCurves
from reports.statistics.half_life import HalfLife, half_life, outscores
from reports.statistics.intervals import complete, interval_or_none


@dataclass(frozen=True, kw_only=True)
class Change:
    """How far a row falls from the baseline to one group: positive is worse."""

    metric: str
    """`branch/metric`."""
    row: str
    group: str
    fall: float
    low: float | None
    """Of the interval of the paired difference; None: fewer than two scenes."""
    high: float | None


def shown(found: Measured, wanted: GroupCurves | GroupChanges) -> list[tuple[str, str]]:
    """(metric, name) of the metrics that were measured, or of their stand-ins, in any group."""
    names, lines = list(found.panels), []
    for part, name in wanted.metrics:
        for metric, said in (part.metric, name), (part.stand_in, found.spec.metrics.get(part.stand_in, part.stand_in)):
            if metric and groups_of(f"{wanted.branch}/{metric}", names):
                lines.append((metric, said))
                break
    return lines


def numbers_of(found: Measured, curves: GroupCurves, metric: str) -> list[int]:
    """The groups of a figure's metric as numbers, rising."""
    groups = groups_of(f"{curves.branch}/{metric}", list(found.panels))
    return sorted(int(group) for group in groups if group.isdecimal())


def half_lives(found: Measured, curves: GroupCurves, metric: str) -> dict[str, HalfLife]:
    """Row -> its half-life on one metric of a figure; empty where under two groups, or not the first, were measured.

    A row that is not significantly better than the floor without a gap has none.
    """
    name, numbers = f"{curves.branch}/{metric}", numbers_of(found, curves, metric)
    if len(numbers) < 2 or numbers[0] != 0:
        return {}
    each = [grouped(name, str(number)) for number in numbers]
    sign = 1.0 if found.panels[each[0]].better == "high" else -1.0
    lives: dict[str, HalfLife] = {}
    for row in found.rows:
        if row.reference or not any(found.mean(one, row.label) is not None for one in each):
            continue
        _, _, axes = row.label.partition("/")
        floor = "/".join(filter(None, (curves.floor, axes)))
        if floor not in found.computed_by:
            lives[row.label] = HalfLife(value=None, reason=f"no row {floor} to measure from")
            continue
        own, least = found.computed_by[row.label], found.computed_by[floor]
        if own == least:
            lives[row.label] = HalfLife(value=None, reason="is the floor")
            continue
        scores, under = ([_signed(found.means[one].get(r), sign) for one in each] for r in (own, least))
        life = half_life(numbers, scores, under)
        if not life.reason and not outscores(found.panels[each[0]], own, least):
            life = HalfLife(value=None, reason="not significantly better than the floor at 0")
        lives[row.label] = life
    return lives


def changes(found: Measured, table: GroupChanges, metric: str) -> list[Change]:
    """The falls of every row on one metric of a table, rows in their order."""
    name = f"{table.branch}/{metric}"
    base = found.panels.get(grouped(name, table.baseline))
    if base is None:
        return []
    sign = 1.0 if base.better == "high" else -1.0
    lines: list[Change] = []
    for row in found.rows:
        for group, _ in table.groups:
            panel = found.panels.get(grouped(name, group))
            if row.reference or panel is None:
                continue
            own = found.computed_by[row.label]
            cut = complete([base.layout(own), panel.layout(own)])
            fall = sign * (cut.layouts[0] - cut.layouts[1])
            if not fall.size:
                continue
            interval = interval_or_none(fall)
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            lines.append(Change(metric=name, row=row.label, group=group, fall=float(fall.mean()), low=low, high=high))
    return lines


def groups_json(found: Measured) -> dict[str, Any]:
    """Half-lives and falls, as in report.json; nothing where none were measured."""
    lives = {
        f"{curves.branch}/{metric}": {row: {**asdict(life), "text": life.text} for row, life in known.items()}
        for curves in found.spec.group_curves
        for metric, _ in shown(found, curves)
        if (known := half_lives(found, curves, metric))
    }
    falls = [
        asdict(change)
        for table in found.spec.group_changes
        for metric, _ in shown(found, table)
        for change in changes(found, table, metric)
    ]
    return {**({"half_lives": lives} if lives else {}), **({"falls": falls} if falls else {})}


def _signed(value: float | None, sign: float) -> float | None:
    return None if value is None else sign * value
