"""Stores of places a second time, from study.md section 5, `place`: one sample, cells and frames one by one."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

HALF_VIEW = math.tan(math.radians(26.335))


def cells_of(yaw: float, columns: int, around: int) -> list[dict[int, float]]:
    """Of each column of a frame with `yaw`, the cells that it looks at and their weights."""
    found = []
    for column in range(columns):
        look = yaw + math.atan((2 * (column + 0.5) / columns - 1) * HALF_VIEW)
        place = look / (2 * math.pi / around) - 0.5
        low = math.floor(place)
        found.append({low % around: 1 - (place - low), (low + 1) % around: place - low})
    return found


def yaw_of(action: Tensor, base: Tensor | None) -> float:
    """Of a pose relative to a segment, whose first frame has the pose `base`."""
    yaw = math.atan2(float(action[3]), float(action[0]))
    return yaw if base is None else yaw + math.atan2(float(base[3]), float(base[0]))


@dataclass
class Place:
    """One cell of one row."""

    values: list[Tensor]
    """One average, or registers, the newest first."""
    counts: list[float]


@dataclass
class Places:
    """A store of cells; those that were never written are not there."""

    rows: int
    around: int
    registers: int
    """0: an average that decays."""
    cells: dict[tuple[int, int], Place] = field(default_factory=dict)

    def write(self, yaw: float, tokens: Tensor, decay: Tensor | None) -> None:
        """Add a frame of `tokens` (rows, columns, d)."""
        looks = cells_of(yaw, tokens.shape[1], self.around)
        for row in range(self.rows):
            mine = [r for r in range(len(tokens)) if r * self.rows // len(tokens) == row]
            columns = torch.stack([tokens[r] for r in mine]).mean(0)
            for cell in range(self.around):
                weights = [look.get(cell, 0.0) for look in looks]
                if sum(weights) > 0:
                    mean = sum(w * c for w, c in zip(weights, columns, strict=True)) / sum(weights)
                    self._add((row, cell), min(1.0, sum(weights)), mean, decay)  # type: ignore[arg-type]

    def _add(self, where: tuple[int, int], mass: float, mean: Tensor, decay: Tensor | None) -> None:
        zero, slots = torch.zeros_like(mean), max(1, self.registers)
        cell = self.cells.setdefault(where, Place([zero] * slots, [0.0] * slots))
        if decay is not None:
            kept = decay**mass
            cell.values, cell.counts = [kept * cell.values[0] + (1 - kept) * mean], [cell.counts[0] + mass]
            return
        values, counts = [mean, *cell.values], [1.0, *cell.counts]
        cell.values = [(1 - mass) * values[j + 1] + mass * values[j] for j in range(self.registers)]
        cell.counts = [(1 - mass) * counts[j + 1] + mass * counts[j] for j in range(self.registers)]

    def read(self, yaw: float, shape: tuple[int, int, int], decay: Tensor | None) -> list[Tensor]:
        """Tokens (rows, columns, d) that a frame finds in the average, or in each register."""
        zero, registers = torch.zeros(shape[2], dtype=torch.float64), max(1, self.registers)
        found = [[[zero for _ in range(shape[1])] for _ in range(shape[0])] for _ in range(registers)]
        looks = cells_of(yaw, shape[1], self.around)
        for row in range(shape[0]):
            for column, look in enumerate(looks):
                for cell, weight in look.items():
                    place = self.cells.get((row * self.rows // shape[0], cell))
                    for register in range(registers):
                        if place is not None and place.counts[register] > 1e-3:
                            count = place.counts[register]
                            full = count if decay is None else 1 - decay**count
                            found[register][row][column] = (
                                found[register][row][column] + weight * place.values[register] / full
                            )
        return [torch.stack([torch.stack(line) for line in image]) for image in found]
