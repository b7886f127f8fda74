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
from reports.spec import SmallestEffect

POWER = 0.8
"""Power below which `plan` says so."""
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
    profile: str
    """Of the results whose variances these are."""
    is_of_other_profile: bool
    """Whether the plan is of another one."""
    command: str
    """That says which seeds and scenes would do."""

    def __str__(self) -> str:
        """One line for people."""
        unit = self.unit.partition(":")[0]
        resolved = f"{self.detectable:.2g} {unit}".rstrip()
        asks = f"a margin of {self.effect:g}" if self.claim == "equivalence" else f"{self.effect:g}"
        of = f" (variances of profile {self.profile})" if self.is_of_other_profile else ""
        return (
            f"finding {self.finding}: {counted(self.seeds, 'seed')} × {counted(self.scenes, 'scene')} resolve "
            f"{resolved} (power {POWER:g}); it asks {asks}{of}: `{self.command}`"
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
    for profile, known in _pilots(plan, home).items():
        for entry in known:
            declared = asked.pop(entry["id"], None)
            if declared is None or not _rows_are_there(declared, plan):
                continue
            count = scenes.get(entry["metric"].partition("/")[0])
            at = entry["scenes"] if count is None else count.number
            design = _design(entry, declared, seeds, at)
            if design is None or design["power"] >= POWER:
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
                    profile=profile,
                    is_of_other_profile=profile != plan.profile,
                    command=f"echo-matrix power --finding {shlex.quote(declared.finding)}"
                    + ("" if profile == plan.profile else f" --profile {shlex.quote(profile)}"),
                )
            )
    order = [one.finding for one in report_spec(plan.workload).smallest_effects]
    return sorted(found, key=lambda one: order.index(one.finding))


def _seeds(plan: Plan) -> int:
    return len({cell.seed for cell in plan.cells})


def _rows_are_there(declared: SmallestEffect, plan: Plan) -> bool:
    return {row for pair in declared.pairs for row in pair} <= {cell.row for cell in plan.cells}


def _pilots(plan: Plan, home: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Profile -> what its report knows of each finding; that of the plan's profile first, then those kept beside it."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for path in [home / "report" / NUMBERS, *sorted(home.glob(f"report-*/{NUMBERS}"))]:
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(str(report["profile"]), [dict(one) for one in report["power"]["findings"]])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # there is none yet, an older one, or one that was edited: nothing is known
    return dict(sorted(found.items(), key=lambda one: one[0] != plan.profile))


def _design(entry: Mapping[str, Any], declared: SmallestEffect, seeds: int, scenes: int) -> Mapping[str, float] | None:
    """Detectable effect and power of a design; None: the report does not know the variances."""
    try:
        same = (entry["effect"], entry["claim"], entry["scenes"]) == (declared.effect, declared.claim, scenes)
        for one in entry["designs"] if same else ():
            if one["seeds"] == seeds:
                return {"detectable": float(one["detectable"]), "power": float(one["power"])}
        variance = {name: float(entry["variance"][name]) for name in ("scene", "seed", "rest")}
    except (KeyError, TypeError, ValueError):
        return None
    if scenes < 2:
        return None
    from reports.statistics.power import VarianceComponents, design_power

    found = design_power(
        declared.effect, VarianceComponents(**variance), scenes, seeds, power=POWER, claim=declared.claim
    )
    return {"detectable": found.detectable, "power": found.power}
