"""Panel: the case values of a metric as an array of rows × scenes × seeds.

Scenes are the sampling unit of every interval: the cases of a scene, and of its variants if a branch has variants, are
averaged first.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reports.columns import Columns, Ints

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
        """Whether the metric has no scenes."""
        return self.scenes == (POOLED,)

    def without(self, rows: Collection[str]) -> "Panel":
        """The panel with no values of these rows; scenes stay the same."""
        kept = np.array([row not in rows for row in self.rows], dtype=np.float64)[:, None, None]
        return replace(self, total=self.total * kept, count=self.count * kept)

    def means(self) -> Floats:
        """Mean of every row over its values, (rows,); NaN without values."""
        return divided(self.total.sum(axis=(1, 2)), self.count.sum(axis=(1, 2)))

    @cached_property
    def layouts(self) -> Floats:
        """Scene means, (rows, scenes, seeds); NaN where a scene has no value."""
        return divided(self.total, self.count)

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Row -> its place among `rows`."""
        return {row: i for i, row in enumerate(self.rows)}

    @cached_property
    def present(self) -> Ints:
        """How many values each row has, (rows,)."""
        found: Ints = self.count.sum(axis=(1, 2)).astype(np.int64)
        return found

    def layout(self, row: str) -> Floats:
        """Scene means of one row, (scenes, seeds); NaN where a scene has no value."""
        own: Floats = self.layouts[self.place[row]]
        return own


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
    values: Columns, rows: Sequence[str], seeds: Sequence[int], variants: Mapping[str, str]
) -> Mapping[str, Panel]:
    """All metrics of `rows` (labels of `row_label`), by name.

    Args:
        values: of the study.
        rows: labels of the distinct rows.
        seeds: in order.
        variants: branch -> `BranchSpec.variant`.

    Metrics of one branch share their scenes, in one order.

    Raises:
        ValueError: two values for one row, seed, case and metric, or one that is not finite: a mean without it would be
            that of other cases.
    """
    for i in np.flatnonzero(~np.isfinite(values.value))[:1]:
        v = values.line(int(i))
        raise ValueError(
            f"{v.branch}/{v.metric} of row {v.row!r}, seed {v.seed}, case {v.case!r} is {v.value!r}; allowed: a "
            "finite number; a missing value has no line"
        )
    row_at = {row: i for i, row in enumerate(rows)}
    seed_at = {seed: i for i, seed in enumerate(seeds)}
    cells, cell_of = values.distinct("row", "axes")
    at_row = np.array([row_at.get(row_label(row, axes), -1) for row, axes in cells], dtype=np.int64)[cell_of]
    at_seed = np.array([seed_at.get(seed, -1) for seed in values.seed.names], dtype=np.int64)[values.seed.at]
    # Sums depend on their order in the last digit; the report does not depend on the order of its input.
    order = values.order()
    order = order[((at_row >= 0) & (at_seed >= 0))[order]]
    values, at_row, at_seed = values.of(order), at_row[order], at_seed[order]
    if not len(values):
        return {}
    found = {}
    cases, case_of = values.distinct("branch", "case")
    scenes = _Scenes(cases, variants)
    names, metric_of = values.distinct("branch", "metric")
    together = np.argsort(metric_of, kind="stable")
    ends = np.cumsum(np.bincount(metric_of, minlength=len(names)))
    for (branch, metric), own in zip(names, np.split(together, ends[:-1]), strict=True):
        name = f"{branch}/{metric}"
        found[name] = _panel(name, values.of(own), (at_row[own], case_of[own], at_seed[own]), (rows, scenes, seeds))
    return {name: found[name] for name in sorted(found)}


class _Scenes:
    """The scenes of each branch, in order of their cases."""

    def __init__(self, cases: Sequence[tuple[str, str]], variants: Mapping[str, str]) -> None:
        self._of: dict[str, dict[str, int]] = {}
        scenes = [scene_of(case, variants.get(branch, "")) for branch, case in cases]
        for (branch, case), scene in zip(cases, scenes, strict=True):
            if case != POOLED:
                known = self._of.setdefault(branch, {})
                known.setdefault(scene, len(known))
        self.of_case = np.array(
            [
                -1 if case == POOLED else self._of[branch][scene]
                for (branch, case), scene in zip(cases, scenes, strict=True)
            ],
            dtype=np.int64,
        )
        """Place of each of `cases` among the scenes of its branch; -1: pooled."""

    def of_branch(self, branch: str) -> tuple[str, ...]:
        return tuple(self._of.get(branch, {}))


def _panel(
    name: str, values: Columns, at: tuple[Ints, Ints, Ints], of: tuple[Sequence[str], _Scenes, Sequence[int]]
) -> Panel:
    """One panel.

    Args:
        name: `branch/metric`.
        values: of it, in their order.
        at: places of each among rows, cases of all branches, and seeds.
        of: rows, scenes and seeds.
    """
    (row, case, seed), (rows, scenes, seeds) = at, of
    first = values.line(0)
    cases = np.unique(case)
    scene = scenes.of_case[case]
    pooled = bool((scenes.of_case[cases] < 0).all())
    if pooled:
        scene = np.zeros_like(scene)
    else:
        counted = scene >= 0
        values, row, case, scene, seed = values.of(counted), row[counted], case[counted], scene[counted], seed[counted]
    names = (POOLED,) if pooled else scenes.of_branch(first.branch)
    cell = row * len(seeds) + seed
    for i in np.flatnonzero((cell[1:] == cell[:-1]) & (case[1:] == case[:-1]))[:1]:
        again = values.line(int(i))
        raise ValueError(
            f"two values of {name} for row {again.row!r}, seed {again.seed}, case {again.case!r}; "
            "a case is measured once: look for a doubled line in its cases.jsonl"
        )
    shape = (len(rows), len(names), len(seeds))
    place = (row * len(names) + scene) * len(seeds) + seed
    size = shape[0] * shape[1] * shape[2]
    # `bincount` adds in the order of the values, as a loop would.
    total: Floats = np.asarray(np.bincount(place, weights=values.value, minlength=size), dtype=np.float64)
    return Panel(
        metric=name,
        unit=first.unit,
        better=first.better,
        rows=tuple(rows),
        scenes=names,
        seeds=tuple(seeds),
        total=total.reshape(shape),
        count=np.bincount(place, minlength=size).reshape(shape).astype(np.float64),
        expected=len(cases) * len(seeds),
    )
