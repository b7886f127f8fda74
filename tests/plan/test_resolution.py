"""What `plan` says of findings that the matrix cannot tell, from the report that is there, without any statistics."""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.job import Plan
from orchestrator.plan.resolution import ONE_SEED, resolution_json, resolution_lines, unresolved
from orchestrator.study import plan_of_matrix

ROOT = Path(__file__).parents[2]
FOURTH = (
    "finding 4: 3 seeds × 16 scenes resolve 1.4 dB (power 0.8); it asks a margin of 0.5 "
    "(variances of earlier results, profile evening)"
)
"""What the study's own pilot tells where its home knows nothing of finding 4."""


@cache
def planned(*overrides: str, profile: str = "laptop") -> Plan:
    return plan_of_matrix(ROOT / "matrix.yaml", profile, overrides)


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
        "finding 3: 3 seeds × 4 scenes resolve 9.1 points (power 0.8); it asks 5: `echo-matrix power --finding 3`",
        FOURTH,
    ]
    three = planned("seeds=[0,1,2]")
    cells = tuple(replace(cell, seed=cell.seed + more) for cell in three.cells for more in (0, 2))
    five = resolution_lines(replace(three, cells=cells), tmp_path)
    assert len(five) == 1 and five[0].startswith("finding 4: 5 seeds × 16 scenes resolve 0.97 dB")
    found = resolution_json(planned("seeds=[0,1,2]"), tmp_path)["unresolved"]
    assert [(one["finding"], one["detectable"], one["power"], one["seeds"]) for one in found] == [
        ("3", 9.1, 0.3, 3),
        ("4", found[1]["detectable"], 0.0, 3),
    ]


def test_one_seed_gives_no_verdict(tmp_path: Path) -> None:
    assert resolution_lines(planned(), tmp_path) == [f"{ONE_SEED}: `echo-matrix power` says what it takes"]
    assert resolution_json(planned(), tmp_path)["unresolved"] == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"profile": "laptop"}', '{"profile": "laptop", "power": {"findings": [1]}}']
)
def test_without_a_readable_report_only_the_studys_own_pilot_tells(tmp_path: Path, content: str) -> None:
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == [FOURTH]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(content)
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == [FOURTH]


def test_the_report_of_another_profile_tells_too(tmp_path: Path) -> None:
    report(tmp_path, profile="evening", folder="report-evening", scenes=8)
    found = unresolved(planned("seeds=[0,1,2]"), tmp_path)
    # The plan has four scenes: computed anew from the variances.
    assert [(one.finding, one.scenes, one.variances) for one in found] == [
        ("3", 4, "profile evening"),
        ("4", 16, "earlier results, profile evening"),
        ("5", 4, "profile evening"),
    ]
    assert found[0].detectable > 10
    assert str(found[0]).endswith("(variances of profile evening): `echo-matrix power --finding 3 --profile evening`")
    report(tmp_path)  # the plan's own profile comes first
    own = unresolved(planned("seeds=[0,1,2]"), tmp_path)
    assert (own[0].finding, own[0].variances) == ("3", "")


def test_a_report_of_one_seed_or_of_another_metric_leaves_the_question_to_the_next(tmp_path: Path) -> None:
    lone = [{**one, "seeds": 1, "designs": [], "variance": {"scene": 1.0, "seed": None}} for one in report(tmp_path)]
    (tmp_path / "report" / "report.json").write_text(json.dumps({"profile": "laptop", "power": {"findings": lone}}))
    assert FOURTH in resolution_lines(planned("seeds=[0,1,2]"), tmp_path)
    report(tmp_path, profile="evening", folder="report-evening")
    assert [one.finding for one in unresolved(planned("seeds=[0,1,2]"), tmp_path)] == ["3", "4"]
    ungated = [{**one, "metric": "return/judge"} for one in report(tmp_path)]
    (tmp_path / "report" / "report.json").write_text(json.dumps({"profile": "laptop", "power": {"findings": ungated}}))
    (tmp_path / "report-evening" / "report.json").unlink()
    assert resolution_lines(planned("seeds=[0,1,2]"), tmp_path) == [FOURTH]


def test_what_is_tabulated_needs_no_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report(tmp_path, profile="evening", scenes=8)
    for name in ("reports.statistics.power", "reports.power"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    # The evening has as many scenes as its report and the study's own pilot.
    assert len(resolution_lines(planned("seeds=[0,1,2]", profile="evening"), tmp_path)) == 2
