"""What a matrix can resolve of what its findings ask, by the variances of results that are there.

The last report has a table of it (`power` in report.json), so that nothing is computed here in the usual case: the
statistics are imported only for another number of scenes than the report's, or more seeds than it tabulates.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.wording import counted
from reports.input import NUMBERS
from reports.spec import POWER, SmallestEffect

ONE_SEED = (
    "one seed: effects get limits over scenes alone and no finding gets a verdict, since training again may change them"
)


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """A finding that asks for more than the matrix can tell."""

    finding: str
    metric: str
    unit: str
    effect: float
    """Asked for."""
    claim: str
    detectable: float
    """Smallest effect with `POWER`."""
    power: float
    """Of the effect asked for."""
    seeds: int
    scenes: int
    variances: str
    """Whose they are; empty: of this profile's results."""
    command: str
    """That says which seeds and scenes would do; empty: the results are not there."""

    def __str__(self) -> str:
        """One line for people."""
        unit = self.unit.partition(":")[0]
        resolved = f"{self.detectable:.2g} {unit}".rstrip()
        asks = f"a margin of {self.effect:g}" if self.claim == "equivalence" else f"{self.effect:g}"
        of = f" (variances of {self.variances})" if self.variances else ""
        what_next = f": `{self.command}`" if self.command else ""
        return (
            f"finding {self.finding}: {counted(self.seeds, 'seed')} × {counted(self.scenes, 'scene')} resolve "
            f"{resolved} (power {POWER:g}); it asks {asks}{of}{what_next}"
        )


def resolution_lines(plan: Plan, home: Path) -> list[str]:
    """What `plan` says: that one seed gives no verdict, or each finding that is not resolved; empty: nothing."""
    if not report_spec(plan.workload).smallest_effects:
        return []
    if _seeds(plan) == 1:
        return [f"{ONE_SEED}: `echo-matrix power` says what it takes"]
    return [str(one) for one in unresolved(plan, home)]


def resolution_json(plan: Plan, home: Path) -> dict[str, Any]:
    """The key `resolution` of `plan --json`."""
    found = [] if _seeds(plan) < 2 else unresolved(plan, home)
    return {
        "lines": resolution_lines(plan, home),
        "unresolved": [asdict(one) for one in found],
    }


def unresolved(plan: Plan, home: Path) -> list[Unresolved]:
    """The findings whose smallest effect has less than `POWER` in this matrix, where a report of the study knows.

    Args:
        plan: the whole matrix, not a selection.
        home: of the study, with its reports.
    """
    asked, seeds = {one.finding: one for one in report_spec(plan.workload).smallest_effects}, _seeds(plan)
    if not asked or seeds < 2:
        return []
    scenes = plan.workload.scenes(plan.cells)
    found: list[Unresolved] = []
    for pilot in _pilots(plan, home):
        for entry in pilot.findings:
            declared = asked.get(entry["id"])
            if declared is None or not _is_of(entry, declared, plan):
                continue
            count = scenes.get(entry["metric"].partition("/")[0])
            at = entry["scenes"] if count is None else count.number
            design = _design(entry, declared, seeds, at)
            if design is None:
                continue
            del asked[declared.finding]
            if design["power"] >= POWER:
                continue
            found.append(
                Unresolved(
                    finding=declared.finding,
                    metric=entry["metric"],
                    unit=entry["unit"],
                    effect=declared.effect,
                    claim=declared.claim,
                    detectable=design["detectable"],
                    power=design["power"],
                    seeds=seeds,
                    scenes=at,
                    variances=pilot.words(plan),
                    command=pilot.command(declared.finding, plan),
                )
            )
    order = [one.finding for one in report_spec(plan.workload).smallest_effects]
    return sorted(found, key=lambda one: order.index(one.finding))


def _seeds(plan: Plan) -> int:
    return len({cell.seed for cell in plan.cells})


def _is_of(entry: Mapping[str, Any], declared: SmallestEffect, plan: Plan) -> bool:
    """Whether the plan has the rows of a finding, and what is known is of the metric that it is about."""
    if not {row for pair in declared.pairs for row in pair} <= {cell.row for cell in plan.cells}:
        return False
    if "/" in declared.metric:
        return bool(entry["metric"] == declared.metric)
    branches = report_spec(plan.workload).branches
    heads = {f"{one.name}/{one.score[0].metric}" for one in branches if one.name == declared.metric and one.score}
    return not heads or entry["metric"] in heads


_TYPES = {"id": str, "metric": str, "unit": str, "scenes": int}


@dataclass(frozen=True, kw_only=True)
class _Pilot:
    """What a report knows of the findings."""

    profile: str
    findings: Sequence[Mapping[str, Any]]
    is_here: bool
    """Whether its results are in this home; else it is part of the study."""

    def words(self, plan: Plan) -> str:
        """Whose variances these are; empty: of the plan's profile, here."""
        if not self.is_here:
            return f"earlier results, profile {self.profile}"
        return "" if self.profile == plan.profile else f"profile {self.profile}"

    def command(self, finding: str, plan: Plan) -> str:
        """That shows the table; empty: it needs the results."""
        if not self.is_here:
            return ""
        profile = "" if self.profile == plan.profile else f" --profile {shlex.quote(self.profile)}"
        return f"echo-matrix power --finding {shlex.quote(finding)}{profile}"


def _pilots(plan: Plan, home: Path) -> list[_Pilot]:
    """The report of the plan's profile first, then those kept beside it, then what is part of the study."""
    found: list[_Pilot] = []
    committed = report_spec(plan.workload).pilot
    here = [home / "report" / NUMBERS, *sorted(home.glob(f"report-*/{NUMBERS}"))]
    for path in here if committed is None else [*here, committed]:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            findings = [dict(one) for one in report["power"]["findings"]]
            if not all(isinstance(one[key], kind) for one in findings for key, kind in _TYPES.items()):
                continue
            found.append(_Pilot(profile=str(report["profile"]), findings=findings, is_here=path != committed))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # there is none yet, an older one, or one that was edited: nothing is known
    return sorted(found, key=lambda one: (not one.is_here, one.profile != plan.profile))


def _design(entry: Mapping[str, Any], declared: SmallestEffect, seeds: int, scenes: int) -> Mapping[str, float] | None:
    """Detectable effect and power of a design; None: the report does not know the variances."""
    try:
        same = (entry["effect"], entry["claim"], entry["scenes"]) == (declared.effect, declared.claim, scenes)
        for one in entry["designs"] if same else ():
            if one["seeds"] == seeds:
                return {"detectable": float(one["detectable"]), "power": float(one["power"])}
        known: Mapping[str, Any] = entry["variance"]
        variance = {name: float(known[name]) for name in ("scene", "seed", "rest")}
        pooled = {} if known.get("pooled") is None else {n: float(known[n]) for n in ("pooled", "pooled_rows")}
    except (KeyError, TypeError, ValueError):
        return None
    if scenes < 2:
        return None
    from reports.statistics.power import VarianceComponents, design_power

    found = design_power(
        declared.effect, VarianceComponents(**variance, **pooled), scenes, seeds, power=POWER, claim=declared.claim
    )
    return {"detectable": found.detectable, "power": found.power}
