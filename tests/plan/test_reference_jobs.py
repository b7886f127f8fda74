"""Reference rows share one job a branch, which needs nothing of a row, and are found in it by what they are."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.plan.forecast import SHARED, Forecaster
from orchestrator.plan.job import Plan, part_of
from orchestrator.plan.recorded import plan_document, plan_of
from orchestrator.plan.select import find_job, select, select_own
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Axis, Matrix, ResolvedMatrix
from workloads.contract.rows import Row
from workloads.study.memory.bound import Bound
from workloads.study.memory.families import FAMILIES
from workloads.study.workload import WORKLOAD

BRANCHES = ("replay", "loop", "return")


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.yaml")


def resolved(matrix: Matrix, **rows: Row) -> ResolvedMatrix:
    """Two seeds of `context-k1` and `rows`."""
    whole = resolve_profile(matrix, "laptop", ["seeds=[0, 1]"])
    return replace(whole, rows={"context-k1": whole.rows["context-k1"], **rows}, tables={}, deviations=())


def planned(one: ResolvedMatrix) -> Plan:
    return build_plan(one, expand(one))


def bounds_of(plan: Plan) -> dict[str, str]:
    """Branch -> fingerprint of its only job of reference rows."""
    jobs = [job for job in plan.jobs.values() if job.stage == "bound"]
    found = {str(job.branch): job.fingerprint for job in jobs}
    assert len(found) == len(jobs)
    return found


def test_all_of_them_are_one_job_a_branch_for_all_seeds_and_wait_for_no_training(matrix: Matrix) -> None:
    plan = build_plan(whole := resolve_profile(matrix, "laptop", ["seeds=[0, 1]"]), expand(whole))
    assert set(bounds_of(plan)) == set(BRANCHES)
    names = {row for row, one in whole.rows.items() if one.reference}
    for cell in plan.cells:
        if cell.reference:
            ids = plan.jobs_of[cell.id]
            assert list(ids) == ["data", *(f"bound/{branch}" for branch in BRANCHES)]
    job = find_job(plan, "bound/return")
    assert list(job.inputs) == ["data"] and job.seed is None and job.row is None
    assert {cell.split("/")[0] for cell in job.cells} == names
    assert find_job(plan, "bound/return/bound-anchor/s1") is job
    assert Forecaster(plan).row_of(job) == SHARED
    counts = Counter(job.stage for job in plan.jobs.values())
    assert counts["evaluate"] == counts["judge"] / 2 * 3


def test_a_row_is_found_by_what_it_is_and_never_by_its_name(matrix: Matrix) -> None:
    floor, ceiling = Bound(shows="anchor"), Bound(shows="truth")
    plan = planned(resolved(matrix, floor=floor, ceiling=ceiling, again=ceiling))
    job = find_job(plan, "bound/loop")
    assert list(job.parts) == list(job.config["references"]) == sorted(job.parts) and len(job.parts) == 2
    cells = {cell.row: cell for cell in plan.cells}
    assert cells["again"].alias_of is not None
    assert job.part_of(cells["ceiling"]) == job.part_of(cells["again"]) == part_of(cells["ceiling"].evaluated)
    assert job.config["references"][job.part_of(cells["floor"])] == {"family": "bound", "shows": "anchor"}
    renamed = planned(resolved(matrix, a=ceiling, b=floor))
    assert bounds_of(renamed) == bounds_of(plan)
    assert bounds_of(planned(resolved(matrix, a=ceiling))) != bounds_of(plan)


def test_a_job_of_one_row_has_one_part_which_is_all_of_it(matrix: Matrix) -> None:
    plan = planned(resolved(matrix, floor=Bound(shows="anchor")))
    job = find_job(plan, "evaluate/loop/context-k1/s0")
    assert job.parts == ("",) and job.part_of(plan.cells[0]) == ""


def test_selecting_one_runs_the_job_of_all_and_no_training(matrix: Matrix) -> None:
    plan = planned(resolved(matrix, floor=Bound(shows="anchor"), ceiling=Bound(shows="truth")))
    chosen = [plan.jobs[job].label for job in plan.jobs if job in select(plan, rows="floor")]
    assert chosen == ["data", *(f"bound/{branch}" for branch in BRANCHES)]
    assert not select_own(plan, rows="floor")  # the ceiling uses them too
    assert {plan.jobs[job].stage for job in select_own(plan, rows="floor,ceiling")} == {"bound"}
    assert not {"bound"} & {plan.jobs[job].stage for job in select(plan, rows="context-k1")}


def test_an_axis_that_they_do_not_read_shares_their_job_and_one_that_they_read_does_not(matrix: Matrix) -> None:
    one = resolved(matrix, floor=Bound(shows="anchor"), ceiling=Bound(shows="truth"))
    site = replace(one, axes={"site": Axis(key="controls.action.site", values=("pre_qkv", "pre_norm"))})
    assert bounds_of(planned(site)) == bounds_of(planned(one))
    tail = replace(one, axes={"tail": Axis(key="controls.judge.tail_frames", values=(4, 2))})
    labels = [job.label for job in planned(tail).jobs.values() if job.stage == "bound"]
    assert len(labels) == 2 * len(BRANCHES) and "bound/loop/tail=2" in labels


def test_a_row_that_is_excluded_somewhere_stays_in_the_job_that_is_shared(matrix: Matrix) -> None:
    one = resolved(matrix, floor=Bound(shows="anchor"), ceiling=Bound(shows="truth"))
    cells = [cell for cell in expand(one) if cell.id != "floor/s1"]
    assert bounds_of(build_plan(one, cells)) == bounds_of(planned(one))


@pytest.mark.parametrize("stage", ["bound", "evaluate", "judge"])
def test_its_meaning_changes_with_that_of_the_stages_whose_work_it_does(matrix: Matrix, stage: str) -> None:
    one = resolved(matrix, floor=Bound(shows="anchor"))
    stages = tuple(replace(spec, revision=7) if spec.name == stage else spec for spec in WORKLOAD.stages)
    assert bounds_of(planned(replace(one, workload=replace(WORKLOAD, stages=stages)))) != bounds_of(planned(one))


def test_its_meaning_changes_with_that_of_a_family_that_is_in_it(matrix: Matrix) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Meant(Row):
        family = "bound"
        revision = 2
        reference = True
        shows: str

    families = tuple(Meant if kind.family == "bound" else kind for kind in FAMILIES)
    workload = replace(WORKLOAD, families=families)
    one = resolved(matrix, floor=Bound(shows="anchor"))
    assert bounds_of(planned(replace(one, workload=workload))) != bounds_of(planned(one))


def test_without_a_stage_of_theirs_reference_rows_go_through_the_stages_of_all(matrix: Matrix) -> None:
    stages = tuple(spec for spec in WORKLOAD.stages if spec.row != "references")
    workload = replace(WORKLOAD, stages=stages)
    assert workload.reference_steps == workload.steps
    plan = planned(replace(resolved(matrix, floor=Bound(shows="anchor")), workload=workload))
    assert plan.jobs_of["floor/s0"].keys() == plan.jobs_of["context-k1/s0"].keys()
    assert plan.jobs_of["floor/s0"]["train"] == plan.jobs_of["context-k1/s0"]["train"]


def test_a_recorded_plan_has_the_parts(matrix: Matrix) -> None:
    plan = planned(resolved(matrix, floor=Bound(shows="anchor"), ceiling=Bound(shows="truth")))
    back = plan_of(plan_document(plan))
    job = find_job(back, "bound/return")
    assert job.parts == find_job(plan, "bound/return").parts
    assert job.part_of(back.cells[-1]) in job.parts
