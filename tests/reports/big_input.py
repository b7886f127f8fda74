"""A report's input of any size, with the metrics of the hand-made one: for the bench of the report and the bounds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import made_input
import numpy as np

from reports.input import Cost, Curve, ReportInput, ResultLine, RowInfo, Strip

FAMILIES = ("context", "compress", "spatial", "ssm")
POINTS = 500
"""Of a loss curve, as many as are collected."""


def big_input(rows: int, seeds: int, cases: int, folder: Path | None = None) -> ReportInput:
    """The input of `rows` × `seeds` cells with so many cases a branch, in an order that is not that of results.csv.

    The rows are the shortest and the longest one, which gain and tiles are about, and others named by family and
    number; the main table has them all, and each family has a table. `folder` gets a strip a row and branch.
    """
    small = made_input.made_input(folder, cases=1)
    given = {name: family for name, family, alias in made_input.ROWS if alias is None}
    names = {"context-k1": "context", "context-k5": "context", "context-k20": "context"}
    for i in range(rows - len(names)):
        names[f"{FAMILIES[i % len(FAMILIES)]}-{i:03d}"] = FAMILIES[i % len(FAMILIES)]
    lines = [line for line in small.values if line.row == "context-k5"]
    generator = np.random.default_rng(5)
    tables = {family: [name for name, of in names.items() if of == family] for family in FAMILIES}
    cells = [(name, seed) for seed in range(seeds) for name in names]
    strips = [one for one in small.strips if one.row == "context-k5"]
    curve = next(iter(small.curves))
    costs = [one for one in small.costs if one.row == "context-k5"]
    assert given["context-k5"] == "context"
    return replace(
        small,
        seeds=range(seeds),
        rows=[RowInfo(name=name, family=family, alias_of=None) for name, family in names.items()],
        tables={"families": list(names), **tables},
        values=list(_values(lines, list(names), seeds, cases, generator)),
        costs=[_cost(one, name, seed, generator) for name, seed in cells for one in costs],
        strips=[
            Strip(row=name, seed=0, axes="", branch=one.branch, case=one.case, path=one.path)
            for name in names
            for one in strips
        ],
        curves=[_curve(curve, name, seed, generator) for name, seed in cells],
    )


def _values(
    lines: list[ResultLine], names: list[str], seeds: int, cases: int, generator: np.random.Generator
) -> Iterator[ResultLine]:
    shape = (len(lines), len(names), seeds, cases)
    effects = [generator.normal(size=part) for part in ((1, len(names), 1, 1), (1, 1, 1, cases), (1, 1, seeds, 1))]
    own = np.array([line.value for line in lines])[:, None, None, None]
    values = own * (1 + 0.1 * sum(effects, 0.05 * generator.normal(size=shape)))
    for r, name in enumerate(names):
        for seed in range(seeds):
            for line, column in zip(lines, values[:, r, seed], strict=True):
                for i, value in enumerate(column.tolist()):
                    case = (
                        f"worlds/held-{i:04d}/0" if line.branch != "return" else f"worlds/open-{i // 4:02d}-{i % 4}/0"
                    )
                    yield ResultLine(
                        row=name,
                        seed=seed,
                        axes="",
                        branch=line.branch,
                        case=case,
                        metric=line.metric,
                        unit=line.unit,
                        better=line.better,
                        value=value,
                    )


def _cost(of: Cost, name: str, seed: int, generator: np.random.Generator) -> Cost:
    size = float(generator.uniform(0.5, 2))
    return replace(of, row=name, seed=seed, values={key: size * value for key, value in of.values.items()})


def _curve(of: Curve, name: str, seed: int, generator: np.random.Generator) -> Curve:
    decay = 0.3 + np.exp(-np.arange(POINTS) / 60) + 0.03 * generator.normal(size=POINTS)
    return replace(of, row=name, seed=seed, steps=list(range(1, POINTS + 1)), values=decay.tolist())
