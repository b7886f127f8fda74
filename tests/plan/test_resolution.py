"""What `plan` says of findings that the matrix cannot tell, from the report that is there, without any statistics."""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.job import Plan
from orchestrator.plan.resolution import ONE_SEED, resolution_json, resolution_lines, unresolved
from orchestrator.study import plan_of_matrix

ROOT = Path(__file__).parents[2]


@cache
def planned(*overrides: str) -> Plan:
    return plan_of_matrix(ROOT / "matrix.yaml", "laptop", overrides)


def report(home: Path, profile: str = "laptop", folder: str = "report", scenes: int = 4) -> list[dict[str, Any]]:
    """A report that knows of findings 3 and 5: three seeds resolve 9.1 points, and 2."""
    designs = [
        {"seeds": seeds, "scenes": scenes, "detectable": detectable, "power": power}
        for seeds, detectable, power in ((2, 21.0, 0.1), (3, 9.1, 0.3), (5, 4.0, 0.9))
    ]
    common = {"metric": "return/judge_gated", "unit": "points:mask", "effect": 5.0, "claim": "difference"}
    variance = {"scene": 1.0, "seed": 25.0, "rest": 1.0}
    findings = [
        {"id": "3", **common, "scenes": scenes, "seeds": 3, "variance": variance, "designs": designs},
        {
            "id": "5",
            **common,
            "scenes": scenes,
            "seeds": 3,
            "variance": variance,
            "designs": [{**one, "detectable": 2.0, "power": 0.99} for one in designs],
        },
    ]
    path = home / folder / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"profile": profile, "power": {"power": 0.8, "findings": findings}}))
    return findings


def test_a_finding_that_asks_for_more_than_the_seeds_tell_is_named(tmp_path: Path) -> None:
    report(tmp_path)
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == [
        "finding 3: 3 seeds × 4 scenes resolve 9.1 points (power 0.8); it asks 5: `echo-matrix power --finding 3`"
    ]
    assert resolution_lines(planned("seeds=[0,1,2,3,4]"), tmp_path) == []
    found = resolution_json(planned("seeds=[0,1,2]"), tmp_path)["unresolved"]
    assert [(one["finding"], one["detectable"], one["power"], one["seeds"]) for one in found] == [("3", 9.1, 0.3, 3)]


def test_one_seed_gives_no_verdict(tmp_path: Path) -> None:
    assert resolution_lines(planned(), tmp_path) == [f"{ONE_SEED}: `echo-matrix power` says what it takes"]
    assert resolution_json(planned(), tmp_path)["unresolved"] == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"profile": "laptop"}', '{"profile": "laptop", "power": {"findings": [1]}}']
)
def test_without_a_readable_report_nothing_is_said(tmp_path: Path, content: str) -> None:
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == []
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(content)
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == []


def test_the_report_of_another_profile_tells_too(tmp_path: Path) -> None:
    report(tmp_path, profile="evening", folder="report-evening", scenes=8)
    found = unresolved(planned("seeds=[0,1,2]"), tmp_path)
    # The plan has four scenes: computed anew from the variances.
    assert {(one.finding, one.scenes, one.profile) for one in found} == {("3", 4, "evening"), ("5", 4, "evening")}
    assert all(one.detectable > 10 for one in found)
    assert str(found[0]).endswith("(variances of profile evening): `echo-matrix power --finding 3 --profile evening`")
    report(tmp_path)  # the plan's own profile comes first
    assert [one.profile for one in unresolved(planned("seeds=[0,1,2]"), tmp_path)] == ["laptop"]


def test_what_is_tabulated_needs_no_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report(tmp_path)
    for name in ("reports.statistics.power", "reports.power"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    assert len(resolution_lines(planned("seeds=[0,1,2]"), tmp_path)) == 1
