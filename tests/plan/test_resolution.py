"""What `plan` says of findings that the matrix cannot tell, from the report that is there, without any statistics."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.opening import plan_of_matrix
from orchestrator.plan import resolution
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.plan.resolution import ONE_SEED, resolution_json, resolution_lines, unresolved

ROOT = Path(__file__).parents[2]
THIRD = "finding 3: 3 seeds × 4 scenes resolve 9.1 points (power 0.8); it asks 5: `echo-matrix power --finding 3`"
FOURTH = (
    "finding 4: 3 seeds × 16 scenes resolve 1.5 dB (power 0.8); it asks a margin of 0.5 "
    "(variances of earlier results, profile evening)"
)


@cache
def planned(*overrides: str) -> Plan:
    return plan_of_matrix(ROOT / "matrix.yaml", "laptop", overrides or ("seeds=[0,1,2]",))


def entry(name: str, metric: str, effect: float, scenes: int, resolved: Sequence[float]) -> dict[str, Any]:
    """What a report knows of a finding: what two, three and five seeds resolve."""
    return {
        "id": name,
        "metric": metric,
        "unit": "dB" if name == "4" else "points:mask",
        "effect": effect,
        "claim": "equivalence" if name == "4" else "difference",
        "scenes": scenes,
        "seeds": 3,
        "variance": {"scene": 1.0, "seed": 25.0, "rest": 1.0, "pooled": None, "pooled_rows": 1.0},
        "designs": [
            {"seeds": seeds, "scenes": scenes, "detectable": one, "power": 0.3 if one > effect else 0.9}
            for seeds, one in zip((2, 3, 5), resolved, strict=True)
        ],
    }


def report(path: Path, profile: str, findings: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"profile": profile, "power": {"power": 0.8, "findings": findings}}))


def known(scenes: int = 4, metric: str = "return/judge_gated") -> list[dict[str, Any]]:
    """Of findings 3 and 5: three seeds resolve 9.1 points, and 2."""
    return [entry("3", metric, 5.0, scenes, (21.0, 9.1, 4.0)), entry("5", metric, 5.0, scenes, (2.0, 2.0, 2.0))]


@pytest.fixture(autouse=True)
def _pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study keeps a pilot that knows of finding 4 alone."""
    pilot = tmp_path / "kept" / "pilot.json"
    report(pilot, "evening", [entry("4", "replay/psnr", 0.5, 16, (3.0, 1.5, 0.4))])
    spec = replace(report_spec(planned().workload), pilot=pilot)
    monkeypatch.setattr(resolution, "report_spec", lambda _workload: spec)


def test_a_finding_that_asks_for_more_than_the_seeds_tell_is_named(tmp_path: Path) -> None:
    report(tmp_path / "report" / "report.json", "laptop", known())
    assert resolution_lines(planned(), tmp_path) == [THIRD, FOURTH]
    found = resolution_json(planned(), tmp_path)["unresolved"]
    assert [(one["finding"], one["detectable"], one["power"], one["seeds"]) for one in found] == [
        ("3", 9.1, 0.3, 3),
        ("4", 1.5, 0.3, 3),
    ]
    cells = tuple(replace(cell, seed=cell.seed + more) for cell in planned().cells for more in (0, 2))
    assert resolution_lines(replace(planned(), cells=cells), tmp_path) == []


def test_one_seed_gives_no_verdict(tmp_path: Path) -> None:
    alone = replace(planned(), cells=tuple(cell for cell in planned().cells if cell.seed == 0))
    assert resolution_lines(alone, tmp_path) == [f"{ONE_SEED}: `echo-matrix power` says what it takes"]
    assert resolution_json(alone, tmp_path)["unresolved"] == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"profile": "laptop"}',
        '{"profile": "laptop", "power": {"findings": [1]}}',
        '{"profile": "laptop", "power": {"findings": [{"id": "3", "metric": 3, "unit": "", "scenes": 4}]}}',
    ],
)
def test_without_a_readable_report_only_the_pilot_of_the_study_tells(tmp_path: Path, content: str) -> None:
    assert resolution_lines(planned(), tmp_path) == [FOURTH]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(content)
    assert resolution_lines(planned(), tmp_path) == [FOURTH]


def test_the_report_of_another_profile_tells_too(tmp_path: Path) -> None:
    report(tmp_path / "report-evening" / "report.json", "evening", known(scenes=8))
    found = unresolved(planned(), tmp_path)
    # The plan has four scenes: computed anew from the variances.
    assert [(one.finding, one.scenes, one.variances) for one in found] == [
        ("3", 4, "profile evening"),
        ("4", 16, "earlier results, profile evening"),
        ("5", 4, "profile evening"),
    ]
    assert found[0].detectable > 10
    assert str(found[0]).endswith("(variances of profile evening): `echo-matrix power --finding 3 --profile evening`")
    report(tmp_path / "report" / "report.json", "laptop", known())  # the plan's own profile comes first
    assert resolution_lines(planned(), tmp_path) == [THIRD, FOURTH]


def test_a_report_of_one_seed_or_of_another_metric_leaves_the_question_to_the_next(tmp_path: Path) -> None:
    lone = [{**one, "seeds": 1, "designs": [], "variance": {"scene": 1.0, "seed": None}} for one in known()]
    report(tmp_path / "report" / "report.json", "laptop", lone)
    assert resolution_lines(planned(), tmp_path) == [FOURTH]
    report(tmp_path / "report-evening" / "report.json", "evening", known())
    assert [one.finding for one in unresolved(planned(), tmp_path)] == ["3", "4"]
    report(tmp_path / "report-evening" / "report.json", "evening", known(metric="return/judge"))
    assert resolution_lines(planned(), tmp_path) == [FOURTH]


def test_pooled_variances_resolve_more(tmp_path: Path) -> None:
    pooled = [
        {**one, "variance": {**one["variance"], "pooled": 25.0, "pooled_rows": 9.0}} for one in known(scenes=8)[:1]
    ]
    report(tmp_path / "report" / "report.json", "laptop", known(scenes=8)[:1])
    alone = unresolved(planned(), tmp_path)[0]
    report(tmp_path / "report" / "report.json", "laptop", pooled)
    assert unresolved(planned(), tmp_path)[0].detectable < 0.7 * alone.detectable


def test_what_is_tabulated_needs_no_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report(tmp_path / "report" / "report.json", "laptop", known())
    for name in ("reports.statistics.power", "reports.power"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    assert resolution_lines(planned(), tmp_path) == [THIRD, FOURTH]


def test_the_pilot_that_the_study_keeps_is_of_its_findings() -> None:
    spec = report_spec(planned().workload)
    assert spec.pilot is not None
    kept = json.loads(spec.pilot.read_text(encoding="utf-8"))
    asked = {one.finding: one for one in spec.smallest_effects}
    assert kept["power"]["findings"]
    for one in kept["power"]["findings"]:
        assert (one["effect"], one["claim"]) == (asked[one["id"]].effect, asked[one["id"]].claim)
