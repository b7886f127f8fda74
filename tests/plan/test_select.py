"""What `--rows`, `--seeds`, `--branches` and a job's name mean."""

from pathlib import Path

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Plan
from orchestrator.plan.select import find_job, find_jobs, select, select_own, selected_part
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    matrix = load_matrix(root / "tests" / "golden" / "matrix.yaml")
    resolved = resolve_profile(matrix, "laptop", ["seeds=[0, 1]"])
    return build_plan(resolved, expand(resolved))


def labels(plan: Plan, ids: frozenset[str]) -> set[str]:
    return {plan.jobs[job].label for job in ids}


def test_nothing_chosen_is_everything(plan: Plan) -> None:
    assert select(plan) == set(plan.jobs)


def test_a_selection_holds_all_that_it_needs(plan: Plan) -> None:
    chosen = select(plan, rows="context-k5", seeds="1", branches="loop")
    assert labels(plan, chosen) == {
        "data", "latents", "index/s1", "train/context-k5/s1", "evaluate/loop/context-k5/s1", "judge/loop/context-k5/s1",
        "camera/loop/context-k5/s1",
    }  # fmt: skip


def test_an_alias_chooses_the_jobs_of_its_computation(plan: Plan) -> None:
    assert select(plan, rows="spatial-text") == select(plan, rows="spatial")


@pytest.mark.parametrize(
    ("rows", "same"),
    [
        ("ssm-*", "ssm-hybrid,ssm-blockwise"),
        ("family:ssm", "ssm-hybrid, ssm-blockwise"),
        ("context-k1,ssm-*", ["context-k1", "ssm-hybrid,ssm-blockwise"]),
        ("*", None),
    ],
)
def test_lists_globs_and_families_mean_the_same_rows(plan: Plan, rows: str, same: str | list[str] | None) -> None:
    assert select(plan, rows=rows) == select(plan, rows=same)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"rows": "spatail"}, r"no row 'spatail' in this matrix; did you mean 'spatial'\? \(rows: context-k1"),
        ({"rows": "family:ssn"}, r"no row of family 'ssn' in this matrix; did you mean 'ssm'\? \(families: context"),
        ({"seeds": "7"}, r"no seed 7 in this matrix \(seeds: 0, 1\); add it with seeds=\[0,1,7\]"),
        (
            {"branches": "lop"},
            r"no branch 'lop' in this matrix; did you mean 'loop'\? \(branches: replay, loop, return",
        ),
        ({"rows": ""}, r"no row '' in this matrix"),
    ],
)
def test_what_matches_nothing_is_refused(plan: Plan, chosen: dict[str, str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        select(plan, **chosen)


def test_a_job_is_found_by_id_prefix_fingerprint_and_any_cells_label(plan: Plan) -> None:
    job = find_job(plan, "train/spatial/s1")
    for name in (job.id, job.id[:-2], job.fingerprint, job.fingerprint[:10], "train/spatial-text/s1", job.label):
        assert find_job(plan, name) is job
    assert find_job(plan, "data/context-k5/s0") is find_job(plan, "data")


def test_an_unknown_or_ambiguous_job_is_refused_with_candidates(plan: Plan) -> None:
    with pytest.raises(PlanError, match=r"no job 'train/spatail/s0' in the plan .*; did you mean 'train/spatial/s0'"):
        find_job(plan, "train/spatail/s0")
    with pytest.raises(PlanError, match=r"job 'train/' is ambiguous, 26 match: .* and 20 more; give more digits"):
        find_job(plan, "train/")


def test_the_cells_of_a_job_are_all_that_it_serves(plan: Plan) -> None:
    cells = find_job(plan, "train/spatial/s0").cells
    assert cells == ("spatial/s0", "spatial-text/s0", "spatial-masked/s0")


def test_a_part_of_a_plan_has_the_chosen_cells_and_the_jobs_that_a_run_of_them_has(plan: Plan) -> None:
    part = selected_part(plan, rows="context-*", seeds="1", branches="loop")
    assert {cell.id for cell in part.cells} == {"context-k1/s1", "context-k5/s1", "context-k20/s1"}
    assert part.jobs.keys() == select(plan, rows="context-*", seeds="1", branches="loop")
    assert {job_id for ids in part.jobs_of.values() for job_id in ids.values()} == set(part.jobs)
    assert selected_part(plan) == plan


def test_what_may_be_cancelled_with_a_row_serves_no_other(plan: Plan) -> None:
    own = labels(plan, select_own(plan, rows="context-k5", seeds="1", branches=None))
    assert "train/context-k5/s1" in own
    assert not {"data", "latents", "index/s1"} & own
    assert labels(plan, select_own(plan, seeds="1")) >= {"index/s1", "train/spatial/s1"}
    assert select_own(plan, rows="spatial") == select_own(plan, rows="spatial-text"), "aliases are one computation"


def test_a_glob_finds_jobs_by_label_by_id_and_by_an_alias_label(plan: Plan) -> None:
    by_label = find_jobs(plan, ["train/ssm-*/s0"])
    assert [job.label for job in by_label] == ["train/ssm-hybrid/s0", "train/ssm-blockwise/s0"]
    assert find_jobs(plan, [f"{by_label[0].id[:-2]}*"]) == (by_label[0],)
    assert find_jobs(plan, ["train/spatial-tex?/s0"]) == find_jobs(plan, ["train/spatial/s0"])
