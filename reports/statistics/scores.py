"""One score a row and branch, from its metrics (study.md section 8).

Replay and loop: the *bundle*, the mean of min-max normalised PSNR, SSIM and 1 − LPIPS over the
rows of one table. Return: the judge's total. With the embedded stand-in for LPIPS the bundle has
another name, because it is another number.
"""

from collections.abc import Mapping

import numpy as np

from reports.statistics.panel import Floats

BRANCHES = ("replay", "loop", "return")


def perceptual(names: frozenset[str] | set[str], branch: str) -> str:
    """The third metric of a branch's bundle: `lpips`, or the stand-in where there is none."""
    return "rf_distance" if f"{branch}/lpips" not in names and f"{branch}/rf_distance" in names else "lpips"


def bundle_name(names: frozenset[str] | set[str], branch: str = "replay") -> str:
    """`replay_bundle`, or `replay_bundle_rf` with the stand-in."""
    return f"{branch}_bundle" + ("_rf" if perceptual(names, branch) == "rf_distance" else "")


def bundle_parts(names: frozenset[str] | set[str], branch: str) -> tuple[tuple[str, str], ...]:
    """(metric, better) of the three parts of a branch's bundle."""
    return (
        (f"{branch}/psnr", "high"),
        (f"{branch}/ssim", "high"),
        (f"{branch}/{perceptual(names, branch)}", "low"),
    )


def normalised(values: Floats, better: str = "high") -> Floats:
    """Min-max over the rows, (..., rows): best 1, worst 0, all equal 0.5, missing NaN."""
    signed = values if better == "high" else -values
    finite = np.isfinite(signed)
    low = np.where(finite, signed, np.inf).min(axis=-1, keepdims=True)
    high = np.where(finite, signed, -np.inf).max(axis=-1, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    shifted = np.where(finite, signed, 0.0) - np.where(np.isfinite(low), low, 0.0)
    return np.where(finite, np.where(high > low, shifted / spread, 0.5), np.nan)


def branch_score(branch: str, metrics: Mapping[str, Floats], rows: int) -> Floats:
    """The score of every row, (..., rows).

    Args:
        branch: replay, loop or return.
        metrics: `branch/metric` -> (..., rows).
        rows: how many; for an answer where nothing was measured.
    """
    if branch == "return":
        return metrics.get("return/judge", np.full(rows, np.nan))
    parts = bundle_parts(set(metrics), branch)
    if any(name not in metrics for name, _ in parts):
        return np.full(rows, np.nan)
    # A sum, not a nanmean: a metric missing in a row makes its bundle missing.
    total: Floats = np.stack([normalised(metrics[name], better) for name, better in parts]).sum(axis=0)
    return total / len(parts)
