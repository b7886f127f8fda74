"""Design of a table in which not every combination of levels exists: its cells, and least squares on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.intervals import LEVEL, Interval, paired_interval
from reports.statistics.panel import Floats

ROUNDING = 1e-8
"""Below this a vector is in the row space of a design."""

DesignColumn = tuple[tuple[int, ...], tuple[str, ...]]
"""Factors, and the level of each: 1 in the cells that have them all."""

MEAN: DesignColumn = ((), ())
"""Column of the general mean."""


@dataclass(frozen=True, kw_only=True)
class CellTable:
    """The combinations that exist, with the mean of their rows."""

    factors: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    """A level of each factor."""
    rows: tuple[tuple[str, ...], ...]
    values: Floats
    """(cells, scenes, seeds)."""

    def levels(self, factor: int, cells: Sequence[int] | None = None) -> tuple[str, ...]:
        """Levels of a factor in some cells (None: all), in order of appearance."""
        return tuple(dict.fromkeys(self.cells[i][factor] for i in (range(len(self.cells)) if cells is None else cells)))

    def holding(self, factor: int, level: str) -> frozenset[int]:
        """Cells with a level."""
        return frozenset(i for i, cell in enumerate(self.cells) if cell[factor] == level)

    def interval(self, weights: Floats, level: float = LEVEL) -> Interval:
        """Interval of a weighted sum of the cells."""
        return paired_interval(np.tensordot(weights, self.values, axes=1), level, self.values.shape[2] - 1)


class Design:
    """Least squares on columns of 0 and 1, each named by factors and their levels."""

    def __init__(self, columns: Sequence[DesignColumn], table: CellTable) -> None:
        self._at = {column: i for i, column in enumerate(columns)}
        matrix = np.array(
            [
                [all(cell[f] == level for f, level in zip(*column, strict=True)) for column in columns]
                for cell in table.cells
            ],
            dtype=np.float64,
        )
        self._inverse = np.linalg.pinv(matrix)
        self._projector = self._inverse @ matrix

    def weights(self, wanted: Mapping[DesignColumn, float]) -> Floats | None:
        """Weights of the cells whose sum estimates the wanted sum of parameters; None: they do not determine it."""
        vector = np.zeros(len(self._at))
        for column, times in wanted.items():
            if column not in self._at:
                return None
            vector[self._at[column]] += times
        if np.abs(vector @ self._projector - vector).max() > ROUNDING:
            return None
        found: Floats = vector @ self._inverse
        return found
