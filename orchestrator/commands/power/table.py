"""The table of `power`: seeds × scenes, what each resolves, and what it costs; as text and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.plan.design_cost import DesignCost, DesignCosts
from orchestrator.plan.forecast import Forecaster
from orchestrator.study import Study
from orchestrator.wording import counted
from reports.formats import decimals_of
from reports.input import CaseValues
from reports.measured import combinations, measured
from reports.noise import noise_difference
from reports.power import PairedPilot, designs, median_and_worst, paired_pilot, pilot_metric
from reports.spec import SmallestEffect
from reports.statistics.power import DesignPower, PilotVariance, half_width


@dataclass(frozen=True, kw_only=True)
class ComparedPower:
    """One pair of rows, or several of a finding, in every design."""

    name: str
    """`median`, `worst`, `rows` or `finding`."""
    found: PairedPilot
    designs: Sequence[DesignPower]
    """In the order of `PowerTable.costs`; empty: the variance of seeds is not known."""
    cautious: Sequence[DesignPower]
    """The same, with every variance at its upper limit."""


@dataclass(frozen=True, kw_only=True)
class PowerTable:
    """Everything that `power` shows."""

    study: str
    profile: str
    source: str
    """The file; empty: the study."""
    metric: str
    unit: str
    decimals: int
    asked: SmallestEffect
    power: float
    rows: int
    comparisons: Sequence[ComparedPower]
    costs: Sequence[tuple[int, int, DesignCost]]
    """(seeds, scenes, what they take beyond what is done) of each design."""
    scenes_key: str
    trains_again: bool
    scenes_grow: bool
    """Whether of more scenes only the new ones are evaluated."""
    is_first_guess: bool

    def cheapest(self, of: Sequence[DesignPower]) -> int | None:
        """The design with the power asked for that costs least, then has fewest seeds; None: there is none."""
        enough = [i for i, design in enumerate(of) if design.power >= self.power]
        return min(enough, key=lambda i: (*self.costs[i][2].rank, self.costs[i][0], self.costs[i][1]), default=None)


def power_table(
    study: Study,
    given: CaseValues,
    asked: SmallestEffect,
    *,
    power: float,
    most_seeds: int,
    scenes: Sequence[int],
    source: str,
) -> PowerTable:
    """Work everything out.

    Args:
        study: planned, for the costs.
        given: the pilot.
        asked: without pairs: the median and the worst pair; with an empty metric: the default one.
        power: wanted.
        most_seeds: designs have 2 to so many.
        scenes: of the designs; empty: the pilot's, two and four times.
        source: of the pilot, for people.

    Raises:
        ValueError: the values are no pilot of this, and why.
    """
    found = measured(given, combinations(given))
    metric = pilot_metric(found, asked.metric)
    again = noise_difference(given, metric)
    if asked.pairs:
        known = [row.label for row in found.rows]
        if unknown := [row for pair in asked.pairs for row in pair if row not in known]:
            raise ValueError(f"row {unknown[0]!r} has no values here; allowed: {', '.join(known)}")
        for a, b in asked.pairs:
            if found.computed_by[a] == found.computed_by[b]:
                raise ValueError(f"{a} and {b} are one computation, whose difference is 0; name two different rows")
        one = paired_pilot(found, metric, asked.pairs, again, of_finding=bool(asked.finding))
        if one is None:
            raise ValueError(f"the rows have values of {metric} in under two scenes that both have; run more of them")
        pilots = [("finding" if asked.finding else "rows", one)]
    else:
        median, worst = median_and_worst(found, metric, again)
        pilots = [("median", median)] + ([("worst", worst)] if worst != median else [])
    measured_scenes = max(one.pilot.scenes for _, one in pilots)
    grid = tuple(scenes) or tuple(measured_scenes * factor for factor in (1, 2, 4))
    seeds = range(2, most_seeds + 1)
    branch = metric.partition("/")[0]
    known_scenes = study.plan.workload.scenes(study.plan.cells).get(branch)
    planned = known_scenes.number if source and known_scenes is not None else measured_scenes
    done = 0 if source else max(one.pilot.seeds for _, one in pilots)
    forecaster = Forecaster(study.plan, study.durations(), study.cluster.backend)
    costs = DesignCosts(study.plan, forecaster, branch, planned, done)
    return PowerTable(
        study=study.plan.study,
        profile=study.plan.profile,
        source=source,
        metric=metric,
        unit=found.panels[metric].unit,
        decimals=decimals_of(given.spec, metric.partition("/")[2]),
        asked=asked,
        power=power,
        rows=sum(not row.reference for row in found.rows),
        comparisons=[
            ComparedPower(
                name=name,
                found=one,
                designs=designs(asked.effect, one.pilot, grid, seeds, power, declared=asked),
                cautious=designs(asked.effect, one.pilot, grid, seeds, power, declared=asked, cautious=True),
            )
            for name, one in pilots
        ],
        costs=[(s, i, costs.added(s, i)) for i in grid for s in seeds],
        scenes_key=costs.key,
        trains_again=costs.trains_again,
        scenes_grow=costs.grows,
        is_first_guess=all(forecaster.of(job).basis != "measured" for job in study.plan.jobs.values()),
    )


def power_json(table: PowerTable) -> dict[str, Any]:
    """What `power --json` prints; variances in the metric's unit squared."""
    return {
        "version": 1,
        "study": table.study,
        "profile": table.profile,
        "source": table.source or None,
        "metric": table.metric,
        "unit": table.unit,
        "effect": table.asked.effect,
        "claim": table.asked.claim,
        "finding": table.asked.finding or None,
        "power": table.power,
        "comparisons": [_comparison_json(table, one) for one in table.comparisons],
        "scenes_key": table.scenes_key or None,
        "more_scenes_train_again": table.trains_again,
        "is_first_guess": table.is_first_guess,
    }


def _comparison_json(table: PowerTable, one: ComparedPower) -> dict[str, Any]:
    pilot = one.found.pilot
    return {
        "name": one.name,
        "pairs": [list(pair) for pair in one.found.pairs],
        "mean": one.found.effect,
        "pilot": {
            "seeds": pilot.seeds,
            "scenes": pilot.scenes,
            "seed_from": pilot.seed_from or None,
            "negative": list(pilot.negative),
            "variance": asdict(pilot.estimate),
            "cautious": asdict(pilot.cautious),
        },
        "designs": [
            {**asdict(design), "cautious": asdict(careful), "added": asdict(cost)}
            for design, careful, (_, _, cost) in zip(one.designs, one.cautious, table.costs, strict=False)
        ],
        "recommended": _chosen_json(table, one.designs),
        "recommended_cautious": _chosen_json(table, one.cautious),
    }


def _chosen_json(table: PowerTable, of: Sequence[DesignPower]) -> dict[str, Any] | None:
    at = table.cheapest(of)
    return None if at is None else {**asdict(of[at]), "added": asdict(table.costs[at][2])}


def power_text(table: PowerTable) -> str:
    """What `power` prints."""
    pilot = table.comparisons[0].found.pilot
    unit = table.unit.partition(":")[0]
    asks = f"{table.asked.effect:g} {unit}".rstrip()
    what = f"a margin of {asks}" if table.asked.claim == "equivalence" else asks
    test = (
        "two one-sided 5 % tests, no difference being the truth"
        if table.asked.claim == "equivalence"
        else "two-sided 5 % test"
    )
    if table.asked.finding:
        test += ", with the scatter over seeds of all rows as findings have it"
    lines = [
        f"{table.study} · {table.source or table.profile}: {table.metric}{f', {unit}' if unit else ''}",
        f"asked: {what} with power {table.power:g}; {test}, before it is adjusted over several",
        f"pilot: {counted(pilot.seeds, 'seed')} × {counted(pilot.scenes, 'scene')}, {counted(table.rows, 'row')}; "
        f"how much a paired difference varies (standard deviations{f', {unit}' if unit else ''}):",
        *_variances(table),
    ]
    lines += _remarks(table)
    if any(one.designs for one in table.comparisons):
        lines += ["", *_grid(table), "", *_recommendations(table, asks)]
    else:
        lines += ["", *_scenes_alone(table)]
    return "\n".join(lines)


def _variances(table: PowerTable) -> list[str]:
    names = {one.name: _rows_text(one) for one in table.comparisons}
    width = max(len(text) for text in names.values())
    lines = [f"  {'':<{width}}  {'scene':>8} {'seed':>8} {'rest':>8}"]
    for one in table.comparisons:
        lines.append(f"  {names[one.name]:<{width}}  {_deviations(one.found.pilot, table.decimals)}")
    return lines


def _rows_text(one: ComparedPower) -> str:
    pairs = "; ".join(f"{a} − {b}" for a, b in one.found.pairs)
    return f"{one.name} pair: {pairs}" if one.name in ("median", "worst") else pairs


def _deviations(pilot: PilotVariance, decimals: int) -> str:
    of = pilot.estimate
    values = (of.scene, of.seed, of.rest)
    texts = ["?" if value is None else f"{math.sqrt(value):.{decimals}f}" for value in values]
    if pilot.seeds == 1:
        texts[2] = "in scene"
    return " ".join(f"{text:>8}" for text in texts)


def _remarks(table: PowerTable) -> list[str]:
    lines = []
    for one in table.comparisons:
        pilot = one.found.pilot
        if pilot.negative:
            named = " and ".join(pilot.negative)
            lines.append(
                f"  {one.name}: the estimate for {named} was below 0 and counts as 0; with few seeds that happens by "
                "chance, so read the cautious line"
            )
    pilots = [one.found.pilot for one in table.comparisons]
    if any(pilot.seed_from == "noise row" for pilot in pilots):
        lines.append(
            "  seed: from the row that was trained twice, one number with one degree of freedom: a guess; scene and "
            "rest cannot be told apart with one seed and count as scene"
        )
    return lines


def _scenes_alone(table: PowerTable) -> list[str]:
    """One seed and no noise row: what can be said without the variance of seeds."""
    lines = [
        "one seed: how much training again changes a difference is not known, so no number of seeds can be named,",
        "and no verdict is given. Run a second seed ('seeds=[0,1]'), or a row that is trained twice (the noise row).",
        "for these trained networks alone, over scenes (95 % limits, half their width):",
    ]
    scenes = sorted({i for _, i, _ in table.costs})
    for one in table.comparisons:
        said = ", ".join(
            f"± {half_width(one.found.pilot.estimate, i):.{table.decimals}f} with {counted(i, 'scene')}" for i in scenes
        )
        lines.append(f"  {_rows_text(one)}: {said}")
    return lines


def _grid(table: PowerTable) -> list[str]:
    devices = any(cost.device_hours for _, _, cost in table.costs)
    unit = "device-hours" if devices else "core-hours"
    known = [one for one in table.comparisons if one.designs]
    heads = [f"{one.name if one.name in ('median', 'worst') else 'the'} pair" for one in known]
    lines = [
        (f"{'':>14}" + "".join(f"  {head:^17}" for head in heads)).rstrip(),
        f"{'seeds':>6} {'scenes':>7}" + f"  {'resolves':>9} {'power':>7}" * len(known) + f"  {unit + ' more':>17}",
    ]
    for at, (seeds, scenes, cost) in enumerate(table.costs):
        cells = "".join(
            f"  {one.designs[at].detectable:>9.{table.decimals}f} {math.floor(100 * one.designs[at].power) / 100:>7.2f}"
            for one in known
        )
        hours = cost.device_hours if devices else cost.core_hours
        lines.append(f"{seeds:>6} {scenes:>7}{cells}  {_hours(hours):>17}")
    return lines


def _hours(hours: float) -> str:
    return "0" if hours == 0 else f"{hours:.3g}"


def _recommendations(table: PowerTable, asks: str) -> list[str]:
    lines = [f"resolves: the smallest effect found with power {table.power:g}; power: for {asks}"]
    for one in table.comparisons:
        subject = f"{one.name} pair" if one.name in ("median", "worst") else "cheapest"
        lines.append(f"{subject}: {_recommended(table, one.designs)}")
        lines.append(f"  cautious (each variance at its 80 % upper limit): {_recommended(table, one.cautious)}")
    guess = " (a first guess)" if table.is_first_guess else ""
    if table.trains_again:
        lines.append(f"hours{guess}: more scenes ({table.scenes_key}) train every row again, since trainings read it")
    else:
        more = "only the new ones are evaluated" if table.scenes_grow else "the branch is evaluated again"
        lines.append(f"hours{guess}: another seed trains every row again; with more scenes {more}")
    return lines


def _recommended(table: PowerTable, of: Sequence[DesignPower]) -> str:
    at = table.cheapest(of)
    if at is None:
        best = min(of, key=lambda design: design.detectable)
        return (
            f"none of these; {best.seeds} seeds × {best.scenes} scenes resolve "
            f"{best.detectable:.{table.decimals}f}; try --most-seeds {2 * best.seeds}"
        )
    seeds, scenes, cost = table.costs[at]
    hours = [
        f"{_hours(value)} {name}"
        for value, name in ((cost.device_hours, "device-hours"), (cost.core_hours, "core-hours"))
        if value
    ]
    return f"{seeds} seeds × {scenes} scenes, {' and '.join(hours) + ' more' if hours else 'which are there'}"
