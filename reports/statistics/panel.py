"""Panel: the case values of a metric as an array of rows × scenes × seeds.

Scenes are the sampling unit of every interval: the cases of a scene, and of its variants if a branch has variants, are
averaged first.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reports.input import ResultLine

Floats = npt.NDArray[np.float64]

POOLED = "all"
"""Case of a metric that is computed over all cases at once."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One metric: sums and counts of case values, both (rows, scenes, seeds)."""

    metric: str
    """`branch/metric`."""
    unit: str
    better: str
    rows: tuple[str, ...]
    scenes: tuple[str, ...]
    seeds: tuple[int, ...]
    total: Floats
    count: Floats
    expected: int
    """Values a complete row has: distinct cases × seeds."""

    @property
    def pooled(self) -> bool:
        """Whether the metric has no scenes to resample."""
        return self.scenes == (POOLED,)

    def without(self, rows: Collection[str]) -> "Panel":
        """The panel with no values of these rows; scenes, and so resamples, stay the same."""
        kept = np.array([row not in rows for row in self.rows], dtype=np.float64)[:, None, None]
        return replace(self, total=self.total * kept, count=self.count * kept)

    def means(self) -> Floats:
        """Mean of every row over its values, (rows,); NaN without values."""
        return divided(self.total.sum(axis=(1, 2)), self.count.sum(axis=(1, 2)))

    def layout(self, row: str) -> Floats:
        """Scene means of one row, (scenes, seeds); NaN where a scene has no value."""
        at = self.rows.index(row)
        return divided(self.total[at], self.count[at])


def divided(total: Floats, count: Floats) -> Floats:
    """`total / count`, NaN where the count is zero."""
    ratio: Floats = np.full(np.broadcast_shapes(total.shape, count.shape), np.nan)
    np.divide(total, count, out=ratio, where=count > 0)
    return ratio


def scene_of(case: str, variant: str = "") -> str:
    """The scene of a case: its id up to the last slash, without a match of `variant` at the end.

    An id without a slash is its own scene.
    """
    parts = case.split("/")
    scene = "/".join(parts[:-1]) if len(parts) > 1 else case
    return re.sub(f"(?:{variant})$", "", scene) if variant else scene


def row_label(row: str, axes: str) -> str:
    """A row with the values of its axes, written as in cell ids: `ROW/KEY=VALUE`."""
    return "/".join([row, *axes.split(";")]) if axes else row


def panels(
    values: Sequence[ResultLine], rows: Sequence[str], seeds: Sequence[int], variants: Mapping[str, str]
) -> Mapping[str, Panel]:
    """All metrics of `rows` (labels of `row_label`), by name.

    Args:
        values: of the study.
        rows: labels of the distinct rows.
        seeds: in order.
        variants: branch -> `BranchSpec.variant`.

    Metrics of one branch share their scenes, in one order, so that resamples can be drawn jointly.

    Raises:
        ValueError: two values for one row, seed, case and metric, or one that is not finite: a mean without it would be
            that of other cases.
    """
    for v in values:
        if not np.isfinite(v.value):
            raise ValueError(
                f"{v.branch}/{v.metric} of row {v.row!r}, seed {v.seed}, case {v.case!r} is {v.value!r}; allowed: a "
                "finite number; a missing value has no line"
            )
    row_at = {row: i for i, row in enumerate(rows)}
    seed_at = {seed: i for i, seed in enumerate(seeds)}
    kept = [v for v in values if row_label(v.row, v.axes) in row_at and v.seed in seed_at]
    # Sums depend on their order in the last digit; the report does not depend on the order of its input.
    kept.sort(key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric))
    scenes: dict[str, dict[str, int]] = {}
    for value in sorted(kept, key=lambda v: v.case):
        if value.case != POOLED:
            known = scenes.setdefault(value.branch, {})
            known.setdefault(scene_of(value.case, variants.get(value.branch, "")), len(known))
    groups: dict[str, list[ResultLine]] = {}
    for value in kept:
        groups.setdefault(f"{value.branch}/{value.metric}", []).append(value)
    return {name: _panel(name, groups[name], row_at, seed_at, scenes, variants) for name in sorted(groups)}


def _panel(
    name: str,
    values: Sequence[ResultLine],
    row_at: Mapping[str, int],
    seed_at: Mapping[int, int],
    scenes: Mapping[str, Mapping[str, int]],
    variants: Mapping[str, str],
) -> Panel:
    branch = values[0].branch
    variant = variants.get(branch, "")
    cases = {value.case for value in values}
    scene_at = {POOLED: 0} if cases == {POOLED} else scenes[branch]
    shape = (len(row_at), len(scene_at), len(seed_at))
    total, count = np.zeros(shape), np.zeros(shape)
    seen: set[tuple[str, str, int, str]] = set()
    for value in values:
        if value.case == POOLED and POOLED not in scene_at:
            continue
        key = (value.row, value.axes, value.seed, value.case)
        if key in seen:
            raise ValueError(
                f"two values of {name} for row {value.row!r}, seed {value.seed}, case {value.case!r}; "
                "a case is measured once: look for a doubled line in its cases.jsonl"
            )
        seen.add(key)
        scene = POOLED if value.case == POOLED else scene_of(value.case, variant)
        at = (row_at[row_label(value.row, value.axes)], scene_at[scene], seed_at[value.seed])
        total[at] += value.value
        count[at] += 1
    return Panel(
        metric=name,
        unit=values[0].unit,
        better=values[0].better,
        rows=tuple(row_at),
        scenes=tuple(scene_at),
        seeds=tuple(seed_at),
        total=total,
        count=count,
        expected=len(cases) * len(seed_at),
    )
