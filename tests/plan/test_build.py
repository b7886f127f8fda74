"""The plan's laws: what is one job, and what changes which fingerprints."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.build import build_plan
from orchestrator.plan.job import Plan
from orchestrator.plan.reference import fingerprint_of
from orchestrator.spec.cell import Deviation
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import Axis, Matrix, ResolvedMatrix
from workloads.contract.rows import Row
from workloads.contract.stage import StageSpec
from workloads.study import items
from workloads.study.memory.ssm import Ssm
from workloads.study.workload import WORKLOAD, EchoMemory


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "tests" / "golden" / "matrix.yaml")


@pytest.fixture(scope="module")
def resolved(matrix: Matrix) -> ResolvedMatrix:
    return resolve_profile(matrix, "laptop", [])


def planned(resolved: ResolvedMatrix, smoke: bool = False) -> Plan:
    return build_plan(resolved, expand(resolved), smoke)


def fingerprints(plan: Plan) -> set[str]:
    return {job.fingerprint for job in plan.jobs.values()}


def test_sixteen_rows_are_thirteen_trainings_and_fourteen_generations(resolved: ResolvedMatrix) -> None:
    plan = planned(resolved)
    counts = Counter((job.stage, job.branch) for job in plan.jobs.values())
    assert counts == {
        ("data", None): 1,
        ("latents", None): 1,
        ("index", None): 1,
        ("train", None): 13,
        ("evaluate", "replay"): 14,
        ("evaluate", "loop"): 14,
        ("evaluate", "return"): 14,
        ("judge", "loop"): 14,
        ("judge", "return"): 14,
        ("camera", "loop"): 14,
        ("camera", "return"): 14,
    }


def test_a_masked_row_generates_with_the_weights_of_the_row_it_masks(resolved: ResolvedMatrix) -> None:
    plan = planned(resolved)
    masked, spatial = plan.jobs_of["spatial-masked/s0"], plan.jobs_of["spatial/s0"]
    assert masked["train"] == spatial["train"]
    assert masked["evaluate/loop"] != spatial["evaluate/loop"]
    assert plan.jobs[masked["evaluate/loop"]].row == {
        "family": "spatial",
        "write": "grid",
        "read": "text",
        "masked": True,
    }
    assert plan.jobs[spatial["train"]].cells == ("spatial/s0", "spatial-text/s0", "spatial-masked/s0")


def test_needs_come_before_needers_and_labels_are_unique(resolved: ResolvedMatrix) -> None:
    axes = {
        "height": Axis(key="controls.data.height", values=(8, 16)),
        "k": Axis(key="controls.evidence.frames", values=(5, 20)),
    }
    rate = Deviation(key="controls.training.steps", rows=("context-k1",), reason="tried", value=300)
    plan = planned(replace(resolved, axes=axes, seeds=(0, 1), deviations=(*resolved.deviations, rate)))
    seen: set[str] = set()
    for job in plan.jobs.values():
        assert seen.issuperset(job.needs)
        seen.add(job.id)
    labels = [job.label for job in plan.jobs.values()]
    assert len(labels) == len(set(labels))
    assert [label for label in labels if label.startswith("data")] == ["data/height=8", "data/height=16"]
    assert plan.defaults == {"height": "8", "k": "20"}, "what the controls have without the axes"
    assert "index/height=8/s0" in labels and "index/height=8/s0".replace("s0", "s1") in labels


def test_a_jobs_fingerprint_covers_exactly_what_its_request_holds(resolved: ResolvedMatrix) -> None:
    for smoke in (False, True):
        plan = planned(resolved, smoke)
        for job in plan.jobs.values():
            assert job.fingerprint == fingerprint_of(job, plan.jobs)
            assert job.id.rpartition("/")[2] == job.fingerprint[:12]


def test_a_job_may_read_certain_items_of_an_input_that_has_a_seed(resolved: ResolvedMatrix) -> None:
    class Reading(EchoMemory):
        def reads(self, stage: StageSpec, controls: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
            return {"index": items.items_of(index, None, controls, None) or {}} if stage.name == "train" else {}

    index = WORKLOAD.by_name["index"]
    reading = Reading(**{field.name: getattr(WORKLOAD, field.name) for field in fields(WORKLOAD)})
    plan = planned(replace(resolved, workload=reading, seeds=(0, 1)))
    for job in plan.jobs.values():
        assert job.fingerprint == fingerprint_of(job, plan.jobs)
    trained = [job for job in plan.jobs.values() if job.stage == "train"]
    assert {(job.seed, plan.jobs[job.inputs["index"]].seed) for job in trained} == {(0, 0), (1, 1)}


def test_the_configuration_of_each_stage_is_the_table_of_the_contract(resolved: ResolvedMatrix) -> None:
    plan = planned(resolved)
    jobs = plan.jobs_of["spatial-readout/s0"]
    for name, job_id in jobs.items():
        job = plan.jobs[job_id]
        wanted = {section.partition(".")[0] for section in WORKLOAD.by_name[job.stage].sections}
        assert set(job.config) == wanted | ({"branch"} if WORKLOAD.by_name[job.stage].branches else set()), name
    assert plan.jobs[jobs["index"]].config["evidence"] == {"rule": "spread", "min_overlap": 0.3, "drop": 0.1}
    assert plan.jobs[jobs["index"]].config["training"] == {"steps": 400, "global_batch": 8}
    assert plan.jobs[jobs["judge/loop"]].config["branch"] == plan.jobs[jobs["evaluate/loop"]].config["branch"]
    assert set(plan.jobs[jobs["evaluate/loop"]].inputs) == {"train", "data", "latents"}


def test_every_job_has_all_fields_and_none_besides(resolved: ResolvedMatrix) -> None:
    for job in planned(resolved).jobs.values():
        assert list(vars(job)) == [field.name for field in fields(job)]
        assert replace(job) == job


def test_a_plan_survives_json(resolved: ResolvedMatrix) -> None:
    for job in planned(resolved).jobs.values():
        assert json.loads(json.dumps(job.config)) == job.config


def test_renaming_rows_changing_resources_or_profile_changes_no_fingerprint(
    matrix: Matrix, resolved: ResolvedMatrix
) -> None:
    renamed = replace(resolved, rows={f"x-{name}": row for name, row in resolved.rows.items()}, deviations=())
    resources = resolve_profile(matrix, "laptop", ["resources.train.cpus=4", "resources.train.devices=1"])
    named = replace(resolved, profile="other", study="elsewhere")
    expected = fingerprints(planned(resolved))
    for other in (renamed, resources, named):
        assert fingerprints(planned(other)) == expected


def test_two_profiles_that_agree_on_the_pool_share_it(matrix: Matrix) -> None:
    same = ["controls.data.height=16", "controls.data.train_scenes=512", "controls.data.held_out_scenes=32"]
    laptop = planned(resolve_profile(matrix, "laptop", [*same, "controls.data.open_prompts=8"]))
    evening = planned(resolve_profile(matrix, "evening", []))
    shared = {laptop.jobs[job].stage for job in laptop.jobs.keys() & evening.jobs.keys()}
    assert shared == {"data", "latents"}


def test_other_steps_keep_the_pool_and_its_latents(matrix: Matrix, resolved: ResolvedMatrix) -> None:
    before, after = planned(resolved), planned(resolve_profile(matrix, "laptop", ["controls.training.steps=300"]))
    assert {before.jobs[job].stage for job in before.jobs.keys() & after.jobs.keys()} == {"data", "latents"}


def test_a_smoke_run_shares_what_it_makes_in_full_and_nothing_else(resolved: ResolvedMatrix) -> None:
    real, smoke = planned(resolved), planned(resolved, smoke=True)
    assert {real.jobs[job].stage for job in real.jobs.keys() & smoke.jobs.keys()} == {"data", "latents", "index"}
    assert {job.stage for job in smoke.jobs.values() if job.smoke} == {"train", "evaluate", "judge", "camera"}
    assert not {job.label for job in real.jobs.values()} & {job.label for job in smoke.jobs.values() if job.smoke}


def test_raising_a_revision_redoes_what_read_it_and_nothing_else(resolved: ResolvedMatrix) -> None:
    class Revised(Row):
        family = Ssm.family
        revision = 2

    families = tuple(Revised if kind is Ssm else kind for kind in resolved.workload.families)
    plan, raised = planned(resolved), planned(replace(resolved, workload=replace(resolved.workload, families=families)))
    redone = {plan.jobs[job].label for job in plan.jobs.keys() - raised.jobs.keys()}
    assert redone == {
        job.label for job in plan.jobs.values() if job.label.rpartition("/")[0].endswith(("hybrid", "blockwise"))
    }


def test_a_stage_of_all_rows_may_come_after_one_of_a_row_and_have_branches(resolved: ResolvedMatrix) -> None:
    data, latents, index, train = (WORKLOAD.by_name[name] for name in ("data", "latents", "index", "train"))
    after = replace(index, inputs=("data",), branches=("loop", "return"))
    stages = (data, replace(train, inputs=("data",)), latents, after)
    plan = planned(replace(resolved, workload=replace(WORKLOAD, stages=stages)))
    assert {frozenset(jobs) for jobs in plan.jobs_of.values()} == {
        frozenset(("data", "train", "latents", "index/loop", "index/return"))
    }
    assert Counter(job.stage for job in plan.jobs.values()) == {"data": 1, "latents": 1, "index": 2, "train": 13}


def test_golden_fingerprints_of_five_jobs(resolved: ResolvedMatrix, golden: Callable[[str, str], None]) -> None:
    by_label = {job.label: job.fingerprint for job in planned(resolved).jobs.values()}
    chosen = ("data", "latents", "index/s0", "train/ssm-blockwise/s0", "judge/return/spatial-masked/s0")
    golden("fingerprints.json", json.dumps({label: by_label[label] for label in chosen}, indent=2) + "\n")


def test_ten_thousand_cells_are_eighty_thousand_jobs_and_share_their_sections(matrix: Matrix) -> None:
    seeds = list(range(714))
    plan = planned(resolve_profile(matrix, "laptop", [f"seeds={seeds}"]))
    assert (len(plan.cells), len(plan.jobs)) == (16 * 714, 2 + 112 * 714)
    assert len({id(job.config) for job in plan.jobs.values()}) < 60
    assert all(len(ids) == 11 for ids in itertools.islice(plan.jobs_of.values(), 100))
