"""A plan that was recorded and read back is the same to everything that shows or selects jobs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.opening import open_study
from orchestrator.plan.recorded import plan_document, plan_of
from orchestrator.plan.select import find_job, select, select_own
from orchestrator.plan.show import plan_json, plan_text


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_a_plan_that_is_read_back_is_the_same_but_for_the_code_of_its_workload(root: Path, profile: str) -> None:
    plan = open_study(root / "matrix.yaml", profile=profile, smoke=profile == "paper").plan
    back = plan_of(json.loads(json.dumps(plan_document(plan))))
    assert replace(back, workload=plan.workload) == plan
    assert (back.workload.stages, back.workload.branch_names) == (plan.workload.stages, plan.workload.branch_names)
    assert (back.workload.steps, back.workload.report) == (plan.workload.steps, plan.workload.report)
    standings = open_study(root / "matrix.yaml", profile=profile).standings()
    if profile == "laptop":
        assert plan_json(back, standings) == plan_json(plan, standings)
        assert plan_text(back, standings) == plan_text(plan, standings)
    alias = next(cell for cell in plan.cells if cell.alias_of)
    for name in (f"train/{alias.id}", *list(plan.jobs)[-2:]):
        assert find_job(back, name) == find_job(plan, name)
    for chosen in ({"rows": "family:context"}, {"seeds": "0", "branches": "loop"}):
        assert select(back, **chosen) == select(plan, **chosen)
        assert select_own(back, **chosen) == select_own(plan, **chosen)


@pytest.mark.parametrize("damaged", [{}, {"workload": None}, {"jobs": 3}, {"values": []}, {"jobs": [{"spec": "no"}]}])
def test_what_is_no_recorded_plan_is_a_value_error(root: Path, damaged: dict[str, object]) -> None:
    document = plan_document(open_study(root / "matrix.yaml").plan) if damaged else {}
    with pytest.raises(ValueError, match="is no recorded plan"):
        plan_of({**document, **damaged})
