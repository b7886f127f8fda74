"""A hand-made input of the report: all rows of the laptop study, with numbers of known shape."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reports.input import ControlsCertificate, Cost, Curve, Missing, ReportInput, ResultLine, RowInfo, Strip
from workloads.study.report import REPORT

ROWS: tuple[tuple[str, str, str | None], ...] = (
    ("context-k1", "context", None),
    ("context-k5", "context", None),
    ("context-k20", "context", None),
    ("compress-weight", "compress", None),
    ("compress-length-r2", "compress", None),
    ("compress-length-r4", "compress", None),
    ("compress-length-r8", "compress", None),
    ("compress-hybrid-r2", "compress", None),
    ("compress-hybrid-r4", "compress", None),
    ("spatial", "spatial", None),
    ("spatial-text", "spatial", "spatial"),
    ("spatial-readout", "spatial", None),
    ("spatial-withheld", "spatial", "context-k1"),
    ("spatial-masked", "spatial", None),
    ("ssm-hybrid", "ssm", None),
    ("ssm-blockwise", "ssm", None),
)

TABLES = {
    "families": [
        "context-k1",
        "context-k5",
        "context-k20",
        "spatial",
        "compress-weight",
        "ssm-hybrid",
        "ssm-blockwise",
    ],
    "spatial": ["spatial", "spatial-withheld", "spatial-text", "spatial-readout", "spatial-masked"],
    "compression": [name for name, family, _ in ROWS if family == "compress"],
    "state-space": ["ssm-hybrid", "ssm-blockwise"],
    "context": ["context-k1", "context-k5", "context-k20"],
}

QUALITY = {
    "context-k1": (14.2, 21.0),
    "context-k5": (16.4, 58.0),
    "context-k20": (16.9, 64.0),
    "compress-weight": (16.2, 49.0),
    "compress-length-r2": (16.0, 55.0),
    "compress-length-r4": (15.6, 50.0),
    "compress-length-r8": (15.1, 41.0),
    "compress-hybrid-r2": (15.8, 46.0),
    "compress-hybrid-r4": (15.3, 38.0),
    "spatial": (14.9, 27.0),
    "spatial-readout": (14.6, 25.0),
    "spatial-masked": (14.4, 22.0),
    "ssm-hybrid": (14.7, 30.0),
    "ssm-blockwise": (14.8, 44.0),
}
"""(replay PSNR in dB, judge in points) of every computation."""


def png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 (h, w, 3) as PNG."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + pixels[y].tobytes() for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def without_figures(given: ReportInput) -> ReportInput:
    """The input without what only figures and tables of cost show: a page of it is a text, rendered in a moment."""
    spec = replace(given.spec, scaling=(), published=None, frontier=None)
    return replace(given, costs=[], curves=[], spec=spec)


def made_input(
    folder: Path | None = None, seeds: Sequence[int] = (0,), cases: int = 16, missing_row: str | None = None
) -> ReportInput:
    """The input; `folder` gets the strips, without it there are none; `missing_row` has no values at all."""
    generator = np.random.Generator(np.random.Philox(key=7))
    scene = {b: generator.normal(size=cases) for b in ("replay", "loop", "return")}
    values: list[ResultLine] = []
    strips: list[Strip] = []
    curves: list[Curve] = []
    costs: list[Cost] = []
    for name, _, alias in ROWS:
        if name == missing_row:
            continue
        replay, judge = QUALITY[alias or name]
        for seed in seeds:
            own = np.random.Generator(np.random.Philox(key=zlib.crc32((alias or name).encode()) + seed))
            for branch in ("replay", "loop", "return"):
                for i in range(cases):
                    case = f"worlds/held-{i:04d}/0" if branch != "return" else f"worlds/open-{i // 4:02d}-{i % 4}/0"
                    hard = float(scene[branch][i])
                    psnr = replay + 1.2 * hard + 0.4 * float(own.normal())
                    score = float(np.clip(judge + 9 * hard + 6 * float(own.normal()), 0, 100))
                    found = {
                        "replay": [
                            ("psnr", "dB", "high", psnr),
                            ("ssim", "", "high", 0.03 * psnr),
                            ("rf_distance", "", "low", 1.2 - 0.04 * psnr + 0.01 * float(own.normal())),
                            ("psnr_retention", "", "high", 0.9 + 0.02 * float(own.normal())),
                            ("psnr@chunk0", "dB", "high", psnr + 1),
                        ],
                        "loop": [
                            ("psnr", "dB", "high", psnr + 0.5),
                            ("ssim", "", "high", 0.031 * psnr),
                            ("rf_distance", "", "low", 1.1 - 0.04 * psnr),
                            ("psnr_truth", "dB", "high", psnr - 0.3),
                            ("judge", "points:mask", "high", score),
                        ],
                        "return": [
                            ("judge", "points:mask", "high", score),
                            ("judge_appearance", "points:mask", "high", score / 20),
                            ("psnr_first", "dB", "high", 10 + score / 15),
                            ("psnr_truth_last", "dB", "high", 11 + score / 14),
                        ],
                    }[branch]
                    values += [
                        ResultLine(
                            row=name,
                            seed=seed,
                            axes="",
                            branch=branch,
                            case=case,
                            metric=metric,
                            unit=unit,
                            better="low" if better == "low" else "high",
                            value=value,
                        )
                        for metric, unit, better, value in found
                    ]
                if folder is not None and seed == seeds[0]:
                    path = folder / f"{name}-{branch}.png"
                    noise = own.integers(0, 90, size=(2, 3, 8, 16, 3))
                    base = np.linspace(60, 160, 16)[None, None, None, :, None]
                    tiles = (noise + base).astype(np.uint8)
                    rows = [np.concatenate(list(line), axis=1) for line in tiles]
                    png(path, np.kron(np.concatenate(rows), np.ones((6, 6, 1), dtype=np.uint8)))
                    case = "worlds/held-0000/0" if branch != "return" else "worlds/open-00-0/0"
                    strips.append(Strip(row=name, seed=seed, axes="", branch=branch, case=case, path=str(path)))
            steps = list(range(1, 401))
            decay = 0.25 + 0.8 * np.exp(-np.arange(400) / (50 + judge)) + 0.03 * own.normal(size=400)
            curves.append(Curve(row=name, seed=seed, axes="", steps=steps, values=[float(v) for v in decay]))
            tokens = {"context-k1": 8, "context-k5": 40, "context-k20": 160}.get(alias or name, 60.0 + len(name))
            costs.append(
                Cost(
                    row=name,
                    seed=seed,
                    axes="",
                    stage="train",
                    branch=None,
                    values={
                        "device_s": 20 + tokens / 4,
                        "flops": 1e9 * tokens,
                        "tokens": 3200.0 * tokens,
                        "parameters_added": 100.0 * len(name),
                        "s_per_step": 0.05 + tokens / 4000,
                        "peak_mib": 700 + tokens,
                    },
                )
            )
            costs += [
                Cost(
                    row=name, seed=seed, axes="", stage="evaluate", branch=branch, values={"device_s": 6 + tokens / 30}
                )
                for branch in ("replay", "loop", "return")
            ]
    missing = [
        Missing(
            row=missing_row,
            seed=seed,
            axes="",
            branch="train",
            state="failed",
            reason="out of memory at micro-batch 1: activation checkpointing, a higher ZeRO stage, or offload",
        )
        for seed in seeds
        if missing_row
    ]
    return ReportInput(
        study="echo-memory",
        profile="laptop",
        git="0393efe2c1a4",
        seeds=seeds,
        rows=[RowInfo(name=name, family=family, alias_of=alias) for name, family, alias in ROWS],
        tables=TABLES,
        values=values,
        missing=missing,
        costs=costs,
        strips=strips,
        curves=curves,
        controls=ControlsCertificate(
            fingerprint="8f3c" * 16,
            deviations=[
                {
                    "key": "memory.masked",
                    "rows": ["spatial-masked"],
                    "reason": "asks whether a trained reader needs its memory",
                }
            ],
            verdicts=[
                {
                    "check": "sample order",
                    "verdict": "held",
                    "detail": "one digest in all cells",
                    "cells": ["a/s0"] * 14,
                },
                {
                    "check": "execution",
                    "verdict": "mixed",
                    "detail": "two cells ran with 2 threads",
                    "cells": ["b/s0"] * 2,
                },
            ],
        ),
        sections={"data": {"height": 8, "width": 16}, "training": {"steps": 400}},
        notes=[
            "One seed: intervals run over scenes only. They say how another draw of scenes could change a number, "
            "and nothing about another training.",
            "Frames of 8×16 pixels and a model of four blocks: orders of rows are about mechanisms at this scale, "
            "not about video models.",
            "rf_distance stands for LPIPS: the same formula on fixed random features. It is another number and never "
            "stands beside a published LPIPS.",
        ],
        spec=REPORT,
    )
