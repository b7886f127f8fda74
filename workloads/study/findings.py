"""The paper's six findings, asked of this study's values (study.md section 8).

A finding of two parts is supported only when both parts are (the larger p counts), and contradicted
when either part is (the smaller p, doubled).
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from reports.findings import Answer, Material
from reports.statistics.agreement import kendall
from reports.statistics.intervals import LEVEL, Interval, complete, holm, interval_or_none
from reports.statistics.panel import Floats
from reports.statistics.resampling import limits
from reports.statistics.scores import headline, normalised, score_parts

AGREES = 0.8
"""Kendall's lower limit above which replay and return are said to rank alike."""


def ranked_differently(material: Material) -> Answer:
    """(1) Some pair of rows differs in opposite directions on replay and return, both significant after Holm.

    Replay is compared by the bundle with its ranges held at their point estimates, which makes it a
    mean over scenes like any metric. Contradicted if Kendall's lower limit is above 0.8; that is a
    limit of resamples and carries no p of its own, so its share of resamples at or below 0.8 stands in.
    """
    table = material.table
    if off := _without_branches(material, "replay", "return"):
        return Answer(effect=None, unit="Kendall's tau", detail=off)
    tau = float(kendall(table.scores["replay"], table.scores["return"]))
    if not np.isfinite(tau):
        return Answer(effect=None, unit="Kendall's tau", detail="under three rows have a replay and a return score")
    if table.draws is None:
        return Answer(effect=tau, unit="Kendall's tau")
    drawn = kendall(table.draws["replay"], table.draws["return"])
    between = limits(drawn, LEVEL)
    if between is None:
        return Answer(effect=tau, unit="Kendall's tau", detail="too few resamples have both scores")
    p, pair = _opposite_pair(material)
    finite = drawn[np.isfinite(drawn)]
    against = float((finite <= AGREES).mean()) if between[0] > AGREES else None
    detail = f"clearest opposite pair: {pair[0]} (replay) and {pair[1]} (return)" if pair else "no pair is opposite"
    return Answer(
        effect=tau,
        low=between[0],
        high=between[1],
        p_supported=p,
        p_contradicted=against,
        unit="Kendall's tau",
        detail=detail,
    )


def scaling(material: Material) -> Answer:
    """(2) From K=1 to 20 return gains more of its range than replay, and at least half of it by K=5."""
    table = material.table
    rows = [material.label(row) for row in ("context-k1", "context-k5", "context-k20")]
    if any(row not in table.names for row in rows):
        detail = material.without(rows) or "the table lacks a context row"
        return Answer(effect=None, unit="share of range", detail=detail)
    if off := _without_branches(material, "replay", "return"):
        return Answer(effect=None, unit="share of range", detail=off)
    at = [table.rows.index(table.names[row]) for row in rows]
    point = _scaling(table.scores["replay"], table.scores["return"], at)
    if not np.isfinite(point).all():
        return Answer(effect=None, unit="share of range", detail="a context row lacks a score")
    names = ("return's gain less replay's, K=1 to 20", "return's gain by K=5 less half of that by K=20")
    if table.draws is None:
        parts = [{"name": n, "effect": float(v), "low": None, "high": None} for n, v in zip(names, point, strict=True)]
        return Answer(effect=float(point[0]), unit="share of range", parts=parts)
    drawn = _scaling(table.draws["replay"], table.draws["return"], at)
    between = [limits(values, LEVEL) or (None, None) for values in drawn.T]
    parts = [
        {"name": name, "effect": float(value), "low": low, "high": high}
        for name, value, (low, high) in zip(names, point, between, strict=True)
    ]
    above = [_share(values, below=True) for values in drawn.T]
    under = [_share(values, below=False) for values in drawn.T]
    return Answer(
        effect=float(point[0]),
        low=between[0][0],
        high=between[0][1],
        p_supported=max(above),
        p_contradicted=min(1.0, 2 * min(under)),
        unit="share of range",
        parts=parts,
    )


def hybrid_loses(material: Material) -> Answer:
    """(3) Hybrid loses to plain length pooling on return, mean over r = 2 and 4."""
    pairs = [(f"compress-hybrid-r{r}", f"compress-length-r{r}") for r in (2, 4)]
    return _directed(material, _return_score(material), pairs, sign=-1)


def reading_raises_nothing(material: Material) -> Answer:
    """(4) Reading the spatial store does not raise replay: `spatial` − `context-k1`, and `spatial-masked` − `spatial`.

    Reading raises replay where the first is above 0 or the second below it. Supported: neither is,
    with limits on the other side of 0; contradicted: either is.
    """
    first = _directed(material, "replay/psnr", [("spatial", "context-k1")], sign=-1)
    second = _directed(material, "replay/psnr", [("spatial-masked", "spatial")], sign=+1)
    parts = [
        {"name": name, "effect": answer.effect, "low": answer.low, "high": answer.high}
        for name, answer in (("spatial − context-k1", first), ("spatial-masked − spatial", second))
    ]
    known = [answer for answer in (first, second) if answer.effect is not None]
    if len(known) < 2:
        missing = [part["name"] for part in parts if part["effect"] is None]
        without = material.without(map(material.label, ("spatial", "context-k1", "spatial-masked")))
        detail = without or f"no value: {', '.join(map(str, missing))}"
        return Answer(effect=first.effect, low=first.low, high=first.high, unit="dB", parts=parts, detail=detail)
    supports = [a.p_supported for a in known]
    against = [a.p_contradicted for a in known if a.p_contradicted is not None]
    return Answer(
        effect=first.effect,
        low=first.low,
        high=first.high,
        p_supported=None if None in supports else max(p for p in supports if p is not None),
        p_contradicted=min(1.0, 2 * min(against)) if against else None,
        unit="dB",
        parts=parts,
    )


def blockwise_wins(material: Material) -> Answer:
    """(5) `ssm-blockwise` beats `ssm-hybrid` on return."""
    return _directed(material, _return_score(material), [("ssm-blockwise", "ssm-hybrid")], sign=+1)


def efficiency_differs(material: Material) -> Answer:
    """(6) Efficiency (min-max score minus min-max cost) names different best rows for replay and return."""
    table = material.table
    cost = np.array([material.cost.get(row, np.nan) for row in table.rows])
    if np.isfinite(cost).sum() < 2:
        return Answer(effect=None, unit="share of resamples", detail="no cost is known for the table's rows")
    if off := _without_branches(material, "replay", "return"):
        return Answer(effect=None, unit="share of resamples", detail=off)
    price = normalised(cost)
    best = {b: normalised(table.scores[b]) - price for b in ("replay", "return")}
    if not all(np.isfinite(values).any() for values in best.values()):
        return Answer(effect=None, unit="share of resamples", detail="a branch has no scores")
    named = {b: table.rows[int(np.nanargmax(values))] for b, values in best.items()}
    detail = f"best for replay: {named['replay']}; for return: {named['return']}; cost is {material.cost_name}"
    if table.draws is None:
        return Answer(effect=float(named["replay"] != named["return"]), unit="differ", detail=detail)
    drawn = {b: normalised(table.draws[b]) - price for b in ("replay", "return")}
    usable = np.logical_and.reduce([np.isfinite(values).any(axis=-1) for values in drawn.values()])
    if not usable.any():
        return Answer(effect=None, unit="share of resamples", detail=detail)
    winners = [np.nanargmax(values[usable], axis=-1) for values in drawn.values()]
    share = float((winners[0] != winners[1]).mean())
    return Answer(effect=share, p_supported=1 - share, p_contradicted=share, unit="share of resamples", detail=detail)


QUESTIONS: Sequence[tuple[str, str, Callable[[Material], Answer]]] = (
    ("1", "Replay and return rank the rows differently", ranked_differently),
    (
        "2",
        "From K=1 to K=20 return gains more of its range than replay, and at least half of it by K=5",
        scaling,
    ),
    ("3", "Hybrid compression loses to plain length pooling on return", hybrid_loses),
    ("4", "Reading the spatial store does not raise replay", reading_raises_nothing),
    ("5", "The block-wise state space beats the hybrid one on return", blockwise_wins),
    ("6", "Efficiency names different best rows for replay and for return", efficiency_differs),
)


def _return_score(material: Material) -> str:
    """The return score: the judge's total of cases that left; of published values, which have no gate, of all."""
    return headline(material.table.scoring.of("return"), material.means.keys())[0]


def _without_branches(material: Material, *branches: str) -> str:
    """Why a finding has no value where the plan is without some of these branches; empty: it has them."""
    absent = [branch for branch in branches if branch not in material.table.scores]
    return f"the plan is without the branch {' and '.join(absent)}" if absent else ""


def _directed(material: Material, metric: str, pairs: Sequence[tuple[str, str]], sign: int) -> Answer:
    """Mean of A − B over `pairs`, paired by scene and seed; `sign` is the direction of the claim."""
    by_row = material.means.get(metric, {})
    labelled = [(material.label(a), material.label(b)) for a, b in pairs]
    computed = [(material.computed_by.get(a, a), material.computed_by.get(b, b)) for a, b in labelled]
    unit = "dB" if metric.startswith("replay/") else "points"
    absent = sorted({row for pair in computed for row in pair if row not in by_row})
    if absent:
        without = material.without(row for pair in labelled for row in pair)
        return Answer(effect=None, unit=unit, detail=without or f"{metric} is missing for {', '.join(absent)}")
    point = float(np.mean([by_row[a] - by_row[b] for a, b in computed]))
    if metric not in material.panels:
        return Answer(effect=point, unit=unit)
    panel = material.panels[metric]
    cut = complete([panel.layout(row) for pair in computed for row in pair])
    difference = np.mean([a - b for a, b in zip(cut.layouts[::2], cut.layouts[1::2], strict=True)], axis=0)
    interval = interval_or_none(difference)
    if interval is None:
        return Answer(effect=point, unit=unit, detail="under two scenes are there for both")
    return Answer(
        effect=interval.mean,
        low=interval.low,
        high=interval.high,
        p_supported=interval.p if sign * interval.mean > 0 else None,
        p_contradicted=interval.p if sign * interval.mean < 0 else None,
        unit=unit,
        detail=_dropped(interval, cut.dropped_scenes, cut.dropped_seeds),
    )


def _dropped(interval: Interval, scenes: int, seeds: int) -> str:
    said: list[str] = [interval.kind] if interval.kind == "scenes only" else []
    if scenes or seeds:
        said.append(f"left out as incomplete: {scenes} scenes, {seeds} seeds")
    return "; ".join(said)


def _scaling(replay: Floats, back: Floats, at: Sequence[int]) -> Floats:
    """(..., 2): both parts of finding 2, in shares of the range over the rows."""
    short, middle, long = at
    gains = []
    for scores in (replay, back):
        finite = np.isfinite(scores)
        spread = np.where(finite, scores, -np.inf).max(axis=-1) - np.where(finite, scores, np.inf).min(axis=-1)
        spread = np.where((spread > 0) & np.isfinite(spread), spread, np.nan)
        gains.append([(scores[..., k] - scores[..., short]) / spread for k in (middle, long)])
    return np.stack([gains[1][1] - gains[0][1], gains[1][0] - 0.5 * gains[1][1]], axis=-1)


def _share(values: Floats, *, below: bool) -> float:
    """Two-sided p of resamples against 0, never under one in their number."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 1.0
    wrong = (finite <= 0) if below else (finite >= 0)
    return min(1.0, 2 * max(float(wrong.mean()), 1.0 / finite.size))


def _opposite_pair(material: Material) -> tuple[float | None, tuple[str, str] | None]:
    """The opposite pair with the smallest p: (the larger adjusted p of its two branches, its rows)."""
    layouts = _replay_layouts(material)
    back = material.panels.get(_return_score(material))
    if layouts is None or back is None:
        return None, None
    tested = []
    for a, b in combinations(material.table.rows, 2):
        sides = [
            interval_or_none(np.subtract(*complete(pair).layouts))
            for pair in (
                [layouts[a], layouts[b]],
                [back.layout(material.computed_by[a]), back.layout(material.computed_by[b])],
            )
        ]
        if sides[0] is not None and sides[1] is not None:
            tested.append((a, b, sides[0], sides[1]))
    adjusted = holm([side.p for _, _, x, y in tested for side in (x, y)])
    opposite = []
    for i, (a, b, x, y) in enumerate(tested):
        if x.mean * y.mean < 0:
            better_on_replay, better_on_return = (a, b) if x.mean > 0 else (b, a)
            opposite.append((max(adjusted[2 * i], adjusted[2 * i + 1]), (better_on_replay, better_on_return)))
    return min(opposite) if opposite else (None, None)


def _replay_layouts(material: Material) -> dict[str, Floats] | None:
    """The bundle of every row by scene and seed, ranges held; None where a metric is missing."""
    parts = score_parts(material.table.scoring.of("replay"), material.panels.keys())
    if any(name not in material.panels for name, _ in parts):
        return None
    total: dict[str, Floats] = {}
    for name, better in parts:
        values = material.table.metrics[name]
        if not np.isfinite(values).any():
            return None
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        scale = (1 if better == "high" else -1) / ((high - low) if high > low else 1.0) / len(parts)
        for row in material.table.rows:
            layout = material.panels[name].layout(material.computed_by[row]) * scale
            total[row] = total[row] + layout if row in total else layout
    return total
