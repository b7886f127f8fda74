"""What `plan` predicts of each row, and the rows it refuses."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backends.registry import backends
from orchestrator.opening import open_study
from orchestrator.spec.cluster import BUILT_IN, load_cluster
from workloads.study.estimate import plan_disk, row_sizes, sizes_json, sizes_text, too_large
from workloads.study.footprint import GIB
from workloads.study.sizes import flops_denoise, full_step
from workloads.study.workload import WORKLOAD

RECOMPUTING = {"activation_checkpointing": {}}


def paper(root: Path, *overrides: str):  # type: ignore[no-untyped-def]
    return open_study(root / "matrix.yaml", profile="paper", overrides=overrides).plan


def test_the_paper_in_numbers(root: Path) -> None:
    plan = paper(root)
    sizes = row_sizes(plan, BUILT_IN)
    shown = sizes_json(sizes, plan_disk(plan, sizes))
    rows = {row["row"]: row for row in shown["sizes"]}
    assert len(rows) == len(shown["sizes"]) == 14  # distinct rows, once for three seeds
    assert rows["context-k5"]["tokens"] == 22_880 and rows["ssm-hybrid"]["tokens_written"] == 17_600
    assert rows["context-k1"]["parameters"] == 1_419_595_840 and rows["spatial"]["parameters_added"] == 4_096
    assert rows["context-k20"]["flops_step"] == pytest.approx(7.89e15, rel=0.01)
    assert rows["context-k5"]["fits"] is None and rows["context-k5"]["memory_limit_gib"] is None
    parts = rows["context-k5"]["memory_parts"]
    assert sum(parts.values()) == rows["context-k5"]["memory_bytes"]
    # three seeds of 13 trainings: spatial-masked shows the weights of spatial
    assert shown["disk"]["weights"] / (4 * 1_419_595_840) == pytest.approx(3 * 13, rel=0.02)
    assert shown["disk"]["latents"] == pytest.approx(530e9, rel=0.01)
    assert "100 scenes of 7601 frames" in shown["disk"]["assumption"]


def test_the_table_names_every_row_and_the_disk(root: Path) -> None:
    plan = paper(root)
    sizes = row_sizes(plan, replace(BUILT_IN, device_gib=141.0))
    text = sizes_text(sizes, plan_disk(plan, sizes))
    [k5] = [line for line in text.splitlines() if line.split()[:1] == ["context-k5"]]
    assert k5.split()[1:6] == ["22,880", "0", "1,419,595,840", "0", "3,722"] and "too much" not in k5
    [blockwise] = [line for line in text.splitlines() if "ssm-blockwise" in line]
    assert blockwise.endswith("too much") and "GiB/device of 141" in text and "disk, GiB: weights" in text


def test_a_row_that_cannot_fit_is_refused_with_numbers_and_ways_out(root: Path) -> None:
    said = too_large(row_sizes(paper(root), replace(BUILT_IN, device_gib=79.6)))
    assert said.startswith(
        "ssm-blockwise: training needs 255.4 GiB on each of 8 devices: states 24.7, activations 220.6"
    )
    assert "device_gib in cluster/*.yaml is 79.6 (and 13 more rows, which need less)" in said
    for way in ("activation checkpointing (", "a higher ZeRO stage (", "offloading the optimiser", "more memory"):
        assert way in said


def test_a_way_out_that_is_taken_is_not_offered_again(root: Path) -> None:
    plan, all_taken = (
        paper(root),
        {**RECOMPUTING, "zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}},
    )
    assert too_large(row_sizes(plan, replace(BUILT_IN, device_gib=79.6, deepspeed=RECOMPUTING))) == ""
    said = too_large(row_sizes(plan, replace(BUILT_IN, device_gib=8.0, deepspeed=all_taken)))
    assert "activation checkpointing (" not in said and "ZeRO stage" not in said and "offloading" not in said
    assert "more devices than 8" in said


def test_an_unknown_device_refuses_nothing(root: Path) -> None:
    assert too_large(row_sizes(paper(root), BUILT_IN)) == ""


def test_on_processors_the_limit_is_the_memory_that_the_profile_asks_for(root: Path) -> None:
    plan = open_study(root / "matrix.yaml").plan
    sizes = row_sizes(plan, BUILT_IN)
    assert too_large(sizes) == ""
    assert {size.limit_gib for size in sizes} == {2.0}
    wide = open_study(
        root / "matrix.yaml", overrides=["controls.backbone.width=8192", "controls.backbone.heads=64"]
    ).plan
    assert re.search(
        r"GiB on each of 1 process: .*resources\.train\.memory_gib is 2 ", too_large(row_sizes(wide, BUILT_IN))
    )


def test_only_selected_rows_are_judged(root: Path) -> None:
    plan = paper(root)
    one = {plan.jobs_of["context-k1/s0"]["train"]}
    sizes = row_sizes(plan, replace(BUILT_IN, device_gib=110.0), one)
    assert [size.label for size in sizes] == ["context-k1"]
    assert too_large(sizes) == ""


def test_a_shared_axis_gives_a_line_for_each_of_its_values(root: Path, tmp_path: Path) -> None:
    text = (root / "matrix.yaml").read_text(encoding="utf-8")
    path = tmp_path / "matrix.yaml"
    axis = "axes: {site: {key: controls.action.site, values: [pre_qkv, pre_qkv_gated]}}"
    path.write_text(text.replace("axes: {}", axis), encoding="utf-8")
    sizes = {size.label: size for size in row_sizes(open_study(path).plan, BUILT_IN)}
    assert len(sizes) == 36
    plain, gated = (sizes[f"context-k5/site={site}"].model for site in ("pre_qkv", "pre_qkv_gated"))
    assert plain.site == "pre_qkv" and gated.site == "pre_qkv_gated"


def test_the_memory_of_a_device_is_read_from_the_cluster_file(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "gpus.yaml"
    path.write_text("backend: ray\ndevice_gib: 79.6\n", encoding="utf-8")
    assert load_cluster(path, tmp_path, WORKLOAD, backends()).device_gib == 79.6
    assert load_cluster(root / "cluster" / "local.yaml", root, WORKLOAD, backends()).device_gib is None


def test_the_disk_of_everything_is_that_of_its_parts_at_one_gib(root: Path) -> None:
    plan = open_study(root / "matrix.yaml").plan
    disk = plan_disk(plan, row_sizes(plan, BUILT_IN))
    assert 0 < disk.weights < GIB and disk.latents == 288 * 33 * 12 * 4 * 8 * 4 and disk.pool == 288 * 33 * 8 * 16 * 3


def test_the_flops_of_a_plan_are_those_of_its_trainings_and_evaluations(root: Path) -> None:
    plan = open_study(root / "matrix.yaml", overrides=["seeds=[0, 1]"]).plan
    found = plan.workload.flops(plan)
    by_label = {plan.jobs[job].label: count for job, count in found.items()}
    size = next(size for size in row_sizes(plan, BUILT_IN) if size.label == "context-k5")
    assert by_label["train/context-k5/s1"] == 400 * full_step(size.model, 8)
    assert by_label["evaluate/loop/context-k5/s0"] == 16 * 4 * 8 * flops_denoise(size.model, 1, size.model.slots)
    assert {plan.jobs[job].stage for job in found} == {"train", "evaluate"}
    assert len(found) == sum(job.stage in ("train", "evaluate") for job in plan.jobs.values())


def test_the_flops_of_a_branch_with_groups_are_those_of_all_of_them(root: Path) -> None:
    on = ["branches.absence.gaps=[0, 2, 4]", "branches.sensitivity.perturb=[pose, missing]"]
    plan = open_study(root / "matrix.yaml", overrides=on).plan
    found = {plan.jobs[job].label: count for job, count in plan.workload.flops(plan).items()}
    size = next(size for size in row_sizes(plan, BUILT_IN) if size.label == "context-k5")
    chunk = 8 * flops_denoise(size.model, 1, size.model.slots)
    assert found["evaluate/absence/context-k5/s0"] == 16 * (4 + 6 + 8) * chunk
    assert found["evaluate/sensitivity/context-k5/s0"] == 16 * 3 * 2 * chunk


def test_the_flops_of_evaluations_are_not_known_where_only_the_pool_knows_its_cases(root: Path) -> None:
    plan = paper(root)
    known = {plan.jobs[job].label for job, count in plan.workload.flops(plan).items() if count}
    counted = tuple(f"evaluate/{branch}/" for branch in plan.branches if plan.cells[0].branches[branch]["cases"])
    assert known and all(label.startswith(("train/", *counted)) for label in known)
    assert not [label for label in known if label.startswith("evaluate/return/")]


def test_the_states_with_which_longer_trainings_begin_are_on_the_disk_unless_the_cluster_keeps_none(root: Path) -> None:
    plan = open_study(root / "matrix.yaml", profile="laptop", overrides=["controls.training.schedule=wsd"]).plan
    sizes = row_sizes(plan, BUILT_IN)
    disk, without = (plan_disk(plan, sizes, keep_stable=kept) for kept in (True, False))
    assert (disk.stable, without.stable) == (3 * disk.weights, 0)
    assert "states with which longer trainings begin" in sizes_text(sizes, disk)
    off = WORKLOAD.estimate(plan, None, replace(BUILT_IN, keep_stable=False))
    assert off is not None
    assert off.text.endswith(
        "not kept (keep_stable: false in cluster/*.yaml): states with which longer trainings could begin\n"
    )
    cosine = WORKLOAD.estimate(open_study(root / "matrix.yaml").plan, None, BUILT_IN)
    assert cosine is not None and "states" not in cosine.text.splitlines()[-1]
    train = [job.id for job in plan.jobs.values() if job.stage == "train"]
    added = [WORKLOAD.added_disk(plan, dict.fromkeys(train, 1.0), keep_stable=kept) for kept in (True, False)]
    assert added[0]["states with which longer trainings begin"] == 3 * added[0]["weights"]
    assert added[1].keys() == {"weights", "checkpoints of one training while it runs"}
