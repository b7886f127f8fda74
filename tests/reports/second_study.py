"""A made-up second study: digits, read by three kinds of network, clean and shifted, under two noises."""

import zlib
from collections.abc import Sequence

import numpy as np

from reports.input import ControlsCertificate, Cost, Curve, Missing, ReportInput, ResultLine, RowInfo

ROWS = (("linear", "linear"), ("mlp-small", "mlp"), ("mlp-large", "mlp"), ("conv", "conv"))
AXES = ("noise=0.0", "noise=0.3")
ACCURACY = {
    ("linear", "clean"): 0.80,
    ("linear", "shifted"): 0.35,
    ("mlp-small", "clean"): 0.88,
    ("mlp-small", "shifted"): 0.30,
    ("mlp-large", "clean"): 0.94,
    ("mlp-large", "shifted"): 0.45,
    ("conv", "clean"): 0.91,
    ("conv", "shifted"): 0.75,
}
MISSING = ("conv", 1, "noise=0.3", "shifted")


def second_study(seeds: Sequence[int] = (0, 1), cases: int = 60) -> ReportInput:
    """Its report input, with `ReportSpec()` and one part missing."""
    values, costs, curves = [], [], []
    for row, _ in ROWS:
        for axes in AXES:
            for seed in seeds:
                own = np.random.Generator(np.random.Philox(key=zlib.crc32(f"{row} {axes} {seed}".encode())))
                for branch in ("clean", "shifted"):
                    if (row, seed, axes, branch) == MISSING:
                        continue
                    right = own.random(cases) < ACCURACY[row, branch] - 0.1 * (axes == AXES[1])
                    for i in range(cases):
                        line = ResultLine(
                            row=row,
                            seed=seed,
                            axes=axes,
                            branch=branch,
                            case=f"digit-{i:04d}",
                            metric="accuracy",
                            unit="",
                            better="high",
                            value=float(right[i]),
                        )
                        values.append(line)
                    costs.append(
                        Cost(row=row, seed=seed, axes=axes, stage="test", branch=branch, values={"device_s": 0.5})
                    )
                fit = {"device_s": 2.0 + len(row), "parameters": 1000.0 * len(row)}
                costs.append(Cost(row=row, seed=seed, axes=axes, stage="fit", branch=None, values=fit))
                losses = [float(2.3 * np.exp(-step / 30)) for step in range(100)]
                curves.append(Curve(row=row, seed=seed, axes=axes, steps=range(100), values=losses))
    row, seed, axes, branch = MISSING
    return ReportInput(
        study="digits",
        profile="laptop",
        git="",
        seeds=seeds,
        rows=[RowInfo(name=name, family=family, alias_of=None) for name, family in ROWS],
        tables={},
        values=values,
        missing=[Missing(row=row, seed=seed, axes=axes, branch=branch, state="failed", reason="killed by a signal")],
        costs=costs,
        strips=[],
        curves=curves,
        controls=ControlsCertificate(
            fingerprint="ab" * 32,
            deviations=[],
            verdicts=[{"check": "sample order", "verdict": "held", "detail": "one digest", "cells": ["linear/s0"]}],
        ),
        sections={"data": {"digits": 1797}},
    )
