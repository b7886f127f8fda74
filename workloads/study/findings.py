"""The paper's six findings, asked of this study's values (study.md section 8), and one more of rows with an address.

A finding of two parts is supported only when both parts are (the larger p counts), and contradicted when either part is
(the smaller p, doubled). What is compared over all pairs of rows (findings 1 and 6) is deduced from orders that are
sure together (`reports/statistics/sure_order.py`), and every interval and p has the scatter over seeds of all rows
(`seed_scatter.py`). How often verdicts are false where nothing is to be found is simulated
(`docs/reference/calibration.md`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reports.findings import Answer, Material, Question
from reports.marks import too_few
from reports.statistics.agreement import kendall
from reports.statistics.contrasts import BranchContrast, Contrasted, contrasted
from reports.statistics.equivalence import equivalence
from reports.statistics.held_scores import held_scores
from reports.statistics.intervals import ALPHA, FEWEST_SEEDS
from reports.statistics.pairs import row_pairs
from reports.statistics.panel import Floats
from reports.statistics.scores import normalised
from reports.statistics.sure_order import SureOrder, sure_order
from workloads.study.effects import MARGIN_DB
from workloads.study.row_differences import difference, directed, return_score

AGREES = 0.8
"""Kendall's lower limit above which replay and return are said to rank alike."""

BRANCHES = ("replay", "return")


def ranked_differently(material: Material) -> Answer:
    """(1) Some pair of rows differs in opposite directions on replay and return, both significant after Holm.

    A pair is opposite when both of its orders are sure, so that its p is the larger of both (intersection-union).
    Contradicted if Kendall's lower limit is above 0.8. Both are deduced from the same sure orders. Replay is compared
    by the bundle with its ranges held at their point estimates.
    """
    table, unit = material.table, "Kendall's tau"
    if off := _without_branches(material):
        return Answer(effect=None, unit=unit, detail=off)
    tau = float(kendall(*(table.scores[branch] for branch in BRANCHES)))
    if not np.isfinite(tau):
        return Answer(effect=None, unit=unit, detail="under three rows have a replay and a return score")
    scores = _scores(material)
    if scores is None:
        return Answer(effect=tau, unit=unit)
    kept = _with_scores(material)
    order, seeds, few = _ordered(material, {b: {row: scores[b][row] for row in kept} for b in BRANCHES}, scores)
    low, high = order.tau_limits()
    opposite = order.opposite()
    name = {label: row for row, label in zip(table.rows, table.computed, strict=True)}
    clearest = (
        f"clearest opposite pair: {name[opposite[0].better_on_first]} (replay) and "
        f"{name[opposite[0].better_on_second]} (return)"
        if opposite
        else "no pair is opposite"
    )
    return Answer(
        effect=tau,
        low=low,
        high=high,
        p_supported=opposite[0].p if opposite else None,
        p_contradicted=order.p_tau_above(AGREES),
        seeds=seeds,
        unit=unit,
        detail=few or clearest,
    )


def scaling(material: Material) -> Answer:
    r"""(2) From K=1 to 20 return gains more of its range than replay, and at least half of it by K=5.

    The share of the range on a branch is $g = (y_{20} - y_1) / (y_{hi} - y_{lo})$, with the rows of the largest and the
    smallest score held. Near the means it is linear, $g + \frac{d_{20} - d_1}{R} - g \frac{d_{hi} - d_{lo}}{R}$ with
    $d$ the deviations and $R$ the range, and return's less replay's is a contrast over two branches that share their
    seeds. That holds where $R$ is not near 0, so there is a limit only where both ranges are surely above it. The
    second part, $y_5 - y_1 - (y_{20} - y_1)/2$, is linear as it stands, and needs no range.
    """
    table, unit = material.table, "share of range"
    rows = [material.label(row) for row in ("context-k1", "context-k5", "context-k20")]
    if any(row not in table.names for row in rows):
        return Answer(effect=None, unit=unit, detail=material.without(rows) or "the table lacks a context row")
    if off := _without_branches(material):
        return Answer(effect=None, unit=unit, detail=off)
    at = [table.rows.index(table.names[row]) for row in rows]
    shares = {branch: _gain_share(table.scores[branch], at) for branch in BRANCHES}
    short, middle, long = (float(table.scores["return"][i]) for i in at)
    first, second = shares["return"] - shares["replay"], middle - short - 0.5 * (long - short)
    if not np.isfinite([first, second]).all():
        return Answer(effect=None, unit=unit, detail="a context row lacks a score")
    parts: list[dict[str, Any]] = [
        {"name": "return's gain less replay's, K=1 to 20", "effect": first, "unit": unit},
        {"name": "return's gain by K=5 less half of that by K=20", "effect": second, "unit": "points"},
    ]
    scores = _scores(material)
    if scores is None:
        return Answer(effect=first, unit=unit, parts=[{**part, "low": None, "high": None} for part in parts])
    k1, k5, k20 = (table.computed[i] for i in at)
    tested = [
        _range_shares(material, scores, shares, (k1, k20)),
        contrasted([BranchContrast(layouts=scores["return"], weights={k5: 1.0, k20: -0.5, k1: -0.5})]),
    ]
    intervals = [one.interval if isinstance(one, Contrasted) else None for one in tested]
    parts = [
        {**part, "low": None if found is None else found.low, "high": None if found is None else found.high}
        for part, found in zip(parts, intervals, strict=True)
    ]
    above = [None if found is None or found.mean <= 0 else found.p for found in intervals]
    under = [found.p for found in intervals if found is not None and found.mean < 0]
    return Answer(
        effect=first,
        low=parts[0]["low"],
        high=parts[0]["high"],
        p_supported=None if above[0] is None or above[1] is None else max(above[0], above[1]),
        p_contradicted=min(1.0, 2 * min(under)) if under else None,
        seeds=min((found.seeds for found in intervals if found is not None), default=None),
        unit=unit,
        parts=parts,
        detail=tested[0] if isinstance(tested[0], str) else "",
    )


def hybrid_loses(material: Material) -> Answer:
    """(3) Hybrid loses to plain length pooling on return, mean over r = 2 and 4."""
    pairs = [(f"compress-hybrid-r{r}", f"compress-length-r{r}") for r in (2, 4)]
    return directed(material, return_score(material), pairs, sign=-1)


def reading_raises_nothing(material: Material) -> Answer:
    """(4) Reading the spatial store does not raise replay: `spatial` − `context-k1`, equivalent within 0.5 dB of PSNR.

    Contradicted if it raises replay by more than the margin. One that lowers it by more is neither. `spatial-masked`
    reads masked tokens with weights that were trained on them: a mismatch, shown beside, which decides nothing.
    """
    metric = "replay/psnr"
    answer, found = difference(material, metric, [("spatial", "context-k1")])
    beside, _ = difference(material, metric, [("spatial-masked", "spatial")])
    parts = [
        {
            "name": "beside, decides nothing: spatial-masked − spatial, whose trained tokens are masked",
            "effect": beside.effect,
            "low": beside.low,
            "high": beside.high,
            "unit": "dB",
        }
    ]
    if found is None or found.interval is None:
        return replace(answer, parts=parts)
    test = equivalence(found.interval, MARGIN_DB)
    lowers = f"it lowers replay by more than {MARGIN_DB} dB" if test.below <= ALPHA else ""
    return replace(
        answer,
        parts=parts,
        p_supported=test.within,
        p_contradicted=test.above,
        detail="; ".join(filter(None, (lowers, answer.detail))),
    )


def blockwise_wins(material: Material) -> Answer:
    """(5) `ssm-blockwise` beats `ssm-hybrid` on return."""
    return directed(material, return_score(material), [("ssm-blockwise", "ssm-hybrid")], sign=+1)


def blockwise_with_address_wins(material: Material) -> Answer | None:
    """(5b) `ssm-place`, block-wise with an address, beats `ssm-hybrid-place` on return; not asked without such rows."""
    rows = ("ssm-place", "ssm-hybrid-place")
    return directed(material, return_score(material), [rows], sign=+1) if material.known(*rows) else None


def efficiency_differs(material: Material) -> Answer:
    r"""(6) Efficiency (min-max score minus min-max cost) names different best rows for replay and return.

    Row r is more efficient than j on a branch where $x_r - x_j - \kappa (x_{hi} - x_{lo}) > 0$, with $\kappa$ the
    difference of their normalised costs: linear once the rows of the largest and the smallest score are held. Each
    branch has the set of rows that are not surely less efficient than some other. Supported if the sets have no row in
    common, contradicted if both are one and the same row.
    """
    table, unit = material.table, "differ"
    cost = np.array([material.cost.get(row, np.nan) for row in table.rows])
    if np.isfinite(cost).sum() < 2:
        return Answer(effect=None, unit=unit, detail="no cost is known for the table's rows")
    if off := _without_branches(material):
        return Answer(effect=None, unit=unit, detail=off)
    price = normalised(cost)
    efficient = {branch: normalised(table.scores[branch]) - price for branch in BRANCHES}
    if not all(np.isfinite(values).any() for values in efficient.values()):
        return Answer(effect=None, unit=unit, detail="a branch has no scores")
    best = {branch: table.rows[int(np.nanargmax(values))] for branch, values in efficient.items()}
    effect = float(best["replay"] != best["return"])
    detail = f"best for replay: {best['replay']}; for return: {best['return']}; cost is {material.cost_name}"
    scores = _scores(material)
    kept = [i for i in range(len(table.rows)) if all(np.isfinite(efficient[branch][i]) for branch in BRANCHES)]
    if scores is None or len(kept) < 2:
        return Answer(effect=effect, unit=unit, detail=detail)
    layouts: dict[str, dict[str, Floats]] = {}
    loads: dict[str, Floats] = {}
    for branch in BRANCHES:
        high, low = _extremes(table.scores[branch])
        pool = list(scores[branch])
        ranged = scores[branch][table.computed[high]] - scores[branch][table.computed[low]]
        layouts[branch] = {table.rows[i]: scores[branch][table.computed[i]] - price[i] * ranged for i in kept}
        loads[branch] = np.zeros((len(kept), len(pool)))
        for place, i in enumerate(kept):
            for row, times in ((i, 1.0), (high, -price[i]), (low, price[i])):
                loads[branch][place, pool.index(table.computed[row])] += times
    order, seeds, few = _ordered(material, layouts, scores, loads)
    may = [few] if few else [f"may be best for {b}: {', '.join(order.best(i))}" for i, b in enumerate(BRANCHES)]
    return Answer(
        effect=effect,
        p_supported=order.p_no_common_best(),
        p_contradicted=order.p_same_best(),
        seeds=seeds,
        unit=unit,
        detail="; ".join([detail, *may]),
    )


QUESTIONS: Sequence[Question] = (
    ("1", "Replay and return rank the rows differently", ranked_differently),
    (
        "2",
        "From K=1 to K=20 return gains more of its range than replay, and at least half of it by K=5",
        scaling,
    ),
    ("3", "Hybrid compression loses to plain length pooling on return", hybrid_loses),
    (
        "4",
        f"Reading the spatial store does not raise replay: it stays within {MARGIN_DB} dB of PSNR",
        reading_raises_nothing,
    ),
    ("5", "The block-wise state space beats the hybrid one on return", blockwise_wins),
    (
        "5b",
        "With an address the block-wise state space beats the hybrid one on return (explored: not the paper's)",
        blockwise_with_address_wins,
    ),
    ("6", "Efficiency names different best rows for replay and for return", efficiency_differs),
)


def _without_branches(material: Material) -> str:
    """Why a finding has no value where the plan is without one of the two branches; empty: it has them."""
    absent = [branch for branch in BRANCHES if branch not in material.table.scores]
    return f"the plan is without the branch {' and '.join(absent)}" if absent else ""


def _scores(material: Material) -> dict[str, dict[str, Floats]] | None:
    """Scores by scene and seed of all rows whose scatter counts, by branch; None: there are none."""
    rows = list(dict.fromkeys((*material.table.computed, *material.pool)))
    found = {branch: held_scores(material.table, branch, rows, material.panels) for branch in BRANCHES}
    whole = {branch: scores for branch, scores in found.items() if scores is not None}
    return whole if len(whole) == len(BRANCHES) else None


def _with_scores(material: Material) -> list[str]:
    """The rows of the panels with the values of the table's rows that have both scores."""
    scores = [material.table.scores[branch] for branch in BRANCHES]
    there = np.flatnonzero(np.isfinite(np.stack(scores)).all(axis=0))
    return [material.table.computed[i] for i in there]


def _ordered(
    material: Material,
    layouts: Mapping[str, Mapping[str, Floats]],
    scores: Mapping[str, Mapping[str, Floats]],
    loads: Mapping[str, Floats] | None = None,
) -> tuple[SureOrder, int | None, str]:
    """The sure orders of some layouts on both branches, the seeds that they rest on, and why there is none.

    With one seed they are over scenes only; the reason is empty where rows share scenes enough on both branches.
    """
    pairs = [
        row_pairs(layouts[b], pool=list(scores[b].values()), loads=None if loads is None else loads[b])
        for b in BRANCHES
    ]
    seeds = int(min(one.seeds.max(initial=0) for one in pairs))
    scenes = {b: int(one.scenes.max(initial=0)) for b, one in zip(BRANCHES, pairs, strict=True)}
    return sure_order(pairs, fewest_seeds=min(FEWEST_SEEDS, max(seeds, 1))), seeds or None, too_few(scenes, "scenes")


def _extremes(scores: Floats) -> tuple[int, int]:
    """(the row with the largest score, the one with the smallest)."""
    return int(np.nanargmax(scores)), int(np.nanargmin(scores))


def _ends(material: Material, branch: str) -> tuple[str, str]:
    """The rows of the panels with the values of the extremes."""
    high, low = _extremes(material.table.scores[branch])
    return material.table.computed[high], material.table.computed[low]


def _gain_share(scores: Floats, at: Sequence[int]) -> float:
    """The gain from the first to the last of these rows in shares of the range over all rows."""
    if not np.isfinite(scores).any():
        return float("nan")
    high, low = _extremes(scores)
    spread = float(scores[high] - scores[low])
    return float(scores[at[-1]] - scores[at[0]]) / spread if spread > 0 else float("nan")


def _range_shares(
    material: Material,
    scores: Mapping[str, Mapping[str, Floats]],
    shares: Mapping[str, float],
    ends: tuple[str, str],
) -> Contrasted | str:
    """Return's share less replay's (derivation in `scaling`); or why it has no limits."""
    table = material.table
    kept = _with_scores(material)
    order, _, few = _ordered(material, {b: {row: scores[b][row] for row in kept} for b in BRANCHES}, scores)
    parts, value = [], 0.0
    for i, (branch, sign) in enumerate((("replay", -1.0), ("return", 1.0))):
        high, low = _extremes(table.scores[branch])
        top, bottom = _ends(material, branch)
        if top not in kept or bottom not in kept:
            return f"no limits: the best or worst row of {branch} lacks a score on the other branch"
        if few:
            return f"no limits: {few}"
        if order.above[i][kept.index(top), kept.index(bottom)] > ALPHA:
            return f"no limits: the range of {branch} over the rows is not surely above 0"
        spread = float(table.scores[branch][high] - table.scores[branch][low])
        weights: dict[str, float] = {}
        for row, times in ((ends[1], 1.0), (ends[0], -1.0), (top, -shares[branch]), (bottom, shares[branch])):
            weights[row] = weights.get(row, 0.0) + sign * times / spread
        parts.append(BranchContrast(layouts=scores[branch], weights=weights))
        value += sign * shares[branch]
    if all(set(ends) == set(_ends(material, branch)) for branch in BRANCHES):
        return "no limits: K=1 and K=20 are the ends of both ranges, so that both shares are 1 whatever the values"
    return contrasted(parts, plus=value)
