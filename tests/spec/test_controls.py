"""The two guards: what they let through, what they refuse, and what they only tell."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import RECORD, RUN, all_records, by_check, evaluations, record_of

from orchestrator.errors import ControlsError, MatrixError
from orchestrator.spec.cell import Cell, Deviation
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import ResolvedMatrix
from orchestrator.spec.verdicts import verdicts
from workloads.study.workload import WORKLOAD


@pytest.fixture(scope="module")
def resolved(root: Path) -> ResolvedMatrix:
    return resolve_profile(load_matrix(root / "matrix.yaml"), "laptop", ["seeds=[0, 1]"])


@pytest.fixture(scope="module")
def cells(resolved: ResolvedMatrix) -> tuple[Cell, ...]:
    return expand(resolved, resolved.profile_rows)


def with_control(cell: Cell, section: str, **changes: Any) -> Cell:
    return replace(cell, controls={**cell.controls, section: {**cell.controls[section], **changes}})


def test_the_study_is_controlled(resolved: ResolvedMatrix, cells: tuple[Cell, ...]) -> None:
    check_controls(WORKLOAD, cells, resolved.deviations)


def test_a_masked_row_needs_its_deviation(cells: tuple[Cell, ...]) -> None:
    with pytest.raises(
        ControlsError,
        match=r"row spatial-masked sets masked: true, and no deviation gives the reason; .*\{key: memory\.masked, rows",
    ):
        check_controls(WORKLOAD, cells, ())


def test_a_row_that_is_evaluated_otherwise_than_it_was_trained_is_refused(
    resolved: ResolvedMatrix, cells: tuple[Cell, ...]
) -> None:
    """As a family can whose `trained()` returns another row."""
    place = next(i for i, cell in enumerate(cells) if cell.row == "context-k5")
    for changed, said in (
        ({"family": "context", "frames": 20}, r"trained with frames: 20 and evaluated with frames: 5"),
        ({"family": "ssm", "frames": 5}, r"trained with family: ssm and evaluated with family: context"),
        ({"family": "context", "frames": 5, "new": 1}, r"trained with new: 1 and evaluated with new: absent"),
    ):
        other = (*cells[:place], replace(cells[place], trained=changed), *cells[place + 1 :])
        with pytest.raises(ControlsError, match=rf"row context-k5 is {said}; a row is evaluated as it was trained"):
            check_controls(WORKLOAD, other, resolved.deviations)


def test_a_different_control_is_refused_with_both_cells_and_values(
    resolved: ResolvedMatrix, cells: tuple[Cell, ...]
) -> None:
    changed = (*cells[:2], with_control(cells[2], "training", rate=1e-4), *cells[3:])
    message = (
        r"cells context-k1/s0 and context-k5/s0 differ in controls\.training\.rate \(0\.008 and 0\.0001\), and no "
        r"deviation gives the reason; add \{key: controls\.training\.rate, rows: \[context-k5\]"
    )
    with pytest.raises(ControlsError, match=message):
        check_controls(WORKLOAD, changed, resolved.deviations)
    why = Deviation(key="controls.training.rate", rows=("context-k5",), reason="tried", value=1e-4)
    check_controls(WORKLOAD, changed, (*resolved.deviations, why))


def test_a_missing_control_is_refused_and_a_missing_memory_control_is_not(
    resolved: ResolvedMatrix, cells: tuple[Cell, ...]
) -> None:
    bare = {key: value for key, value in cells[2].controls["training"].items() if key != "clip"}
    changed = (*cells[:2], replace(cells[2], controls={**cells[2].controls, "training": bare}), *cells[3:])
    with pytest.raises(ControlsError, match=r"differ in controls\.training\.clip \(1\.0 and 'absent'\)"):
        check_controls(WORKLOAD, changed, resolved.deviations)


def test_a_key_that_two_rows_have_otherwise_is_found_beside_a_row_that_deviates_in_it(
    resolved: ResolvedMatrix, cells: tuple[Cell, ...]
) -> None:
    """The first row, with which all others used to be compared, may differ in that very key."""
    deviation = Deviation(key="controls.training.clip", rows=("context-k1",), reason="tried", value=2.0)
    changed = list(cells)
    for place, cell in enumerate(cells):
        if cell.row == "context-k1":
            changed[place] = with_control(cell, "training", clip=2.0)
        elif cell.row != "ssm-hybrid":  # which alone keeps the key
            bare = {key: value for key, value in cell.controls["training"].items() if key != "clip"}
            changed[place] = replace(cell, controls={**cell.controls, "training": bare})
    message = r"cells context-k5/s0 and ssm-hybrid/s0 differ in controls\.training\.clip \('absent' and 1\.0\)"
    with pytest.raises(ControlsError, match=message):
        check_controls(WORKLOAD, changed, (*resolved.deviations, deviation))


def test_a_memory_control_must_be_equal_where_it_is_read(resolved: ResolvedMatrix, cells: tuple[Cell, ...]) -> None:
    changed = tuple(with_control(cell, "evidence", frames=7) if cell.row == "ssm-hybrid" else cell for cell in cells)
    with pytest.raises(ControlsError, match=r"controls\.evidence\.frames \(20 and 7\)"):
        check_controls(WORKLOAD, changed, resolved.deviations)


def test_a_different_branch_is_refused(resolved: ResolvedMatrix, cells: tuple[Cell, ...]) -> None:
    branches = {**cells[5].branches, "loop": {**cells[5].branches["loop"], "cases": 3}}
    changed = (*cells[:5], replace(cells[5], branches=branches), *cells[6:])
    with pytest.raises(ControlsError, match=r"differ in branches\.loop\.cases \(16 and 3\)"):
        check_controls(WORKLOAD, changed, resolved.deviations)


def test_equal_records_hold_though_the_order_of_samples_differs_between_seeds(cells: tuple[Cell, ...]) -> None:
    found = by_check(cells, all_records(cells))
    assert {one["verdict"] for one in found.values()} == {"held"}
    assert list(found) == [
        "sample_order", "drops", "candidates", "evidence_frames", "evidence", "written", "initial_shared", "steps",
        "items of evaluate/replay", "items of evaluate/loop", "items of evaluate/return", "inputs", "versions",
        "device_kind", "threads", "world_size", "micro_batch", "numerics", "code", "rejected steps",
    ]  # fmt: skip


DIGESTS = ("sample_order", "drops", "candidates", "evidence", "initial_shared")


@pytest.mark.parametrize(("key", "value"), [*((key, "c" * 64) for key in DIGESTS), ("steps", 399)])
def test_an_unequal_digest_or_number_of_steps_is_violated_and_names_the_odd_cell(
    cells: tuple[Cell, ...], key: str, value: Any
) -> None:
    records = all_records(cells)
    records["spatial/s1"][key] = value
    found = by_check(cells, records)[key]
    assert (found["verdict"], found["cells"]) == ("violated", ["spatial/s1"])
    assert "seed 1" in found["detail"] and "spatial/s1" in found["detail"]


def test_without_a_majority_all_cells_are_named(cells: tuple[Cell, ...]) -> None:
    two = (cells[0], cells[2])
    records = all_records(two)
    records[two[0].id]["steps"] = 1
    assert by_check(two, records)["steps"]["cells"] == [two[0].id, two[1].id]


def test_unequal_execution_is_mixed(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    records["spatial/s0"]["device_kind"] = "H100"
    found = by_check(cells, records)
    assert (found["device_kind"]["verdict"], found["device_kind"]["cells"]) == ("mixed", ["spatial/s0"])
    assert found["sample_order"]["verdict"] == "held"


def test_of_what_decides_bits_only_what_differs_is_named_with_its_cells(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    records["spatial/s0"]["numerics"] = {**RUN["numerics"], "cpu_capability": "AVX2"}
    records["ssm-hybrid/s1"]["numerics"] = {**RUN["numerics"], "environment": {}}
    found = by_check(cells, records)["numerics"]
    assert (found["verdict"], found["cells"]) == ("mixed", ["spatial/s0", "ssm-hybrid/s1"])
    assert found["detail"] == (
        f"cpu_capability: seed 0: AVX512 in context-k1/s0 and {len(cells) // 2 - 2} more, AVX2 in spatial/s0; "
        f"environment.MKL_CBWR: seed 1: AVX2 in context-k1/s1 and {len(cells) // 2 - 2} more, unset in ssm-hybrid/s1"
    )


def test_an_evaluation_that_ran_otherwise_is_named_and_one_that_did_not_takes_no_line(
    cells: tuple[Cell, ...],
) -> None:
    recorded = {"train": all_records(cells), **evaluations(cells)}
    plain = len(verdicts(WORKLOAD, cells, recorded))
    recorded["evaluate/loop"]["spatial/s0"]["numerics"] = {**RUN["numerics"], "float32_matmul": "high"}
    del recorded["evaluate/return"]["spatial/s0"]
    found = verdicts(WORKLOAD, cells, recorded)
    assert len(found) == plain + 1
    mixed = next(one for one in found if one["verdict"] == "mixed")
    assert (mixed["check"], mixed["cells"]) == ("numerics of evaluate/loop", ["spatial/s0"])
    assert mixed["detail"].endswith("high in spatial/s0")


def test_missing_records_leave_a_check_open_but_hide_no_violation(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    del records["spatial/s0"]
    assert by_check(cells, records)["steps"] == {
        "check": "steps",
        "verdict": "open",
        "detail": f"1 of {len(cells)} cells have no record yet",
        "cells": ["spatial/s0"],
        "branch": "",
    }
    records["context-k5/s0"]["steps"] = 2
    assert by_check(cells, records)["steps"]["verdict"] == "violated"
    assert {one["verdict"] for one in verdicts(WORKLOAD, cells, {})} == {"open"}


def test_rejected_steps_are_listed_for_each_cell_beside_their_bound(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    bound = "allowed in a cell: 40 of 400 (training.rejected_share 0.1)"
    found = by_check(cells, records)["rejected steps"]
    assert (found["verdict"], found["detail"], found["cells"]) == ("held", f"none in {len(cells)} cells; {bound}", [])
    records["spatial/s0"]["skipped"] = 3
    found = by_check(cells, records)["rejected steps"]
    detail = f"spatial/s0 3 of 400; none in the other {len(cells) - 1} cells; {bound}"
    assert (found["verdict"], found["detail"], found["cells"]) == ("held", detail, ["spatial/s0"])


def test_a_cell_that_rejected_more_steps_than_its_bound_is_violated(cells: tuple[Cell, ...]) -> None:
    """As one that ended well before there was a bound, and won."""
    records = all_records(cells)
    records["spatial/s0"]["skipped"] = 3
    records["ssm-blockwise/s1"]["skipped"] = 41
    del records["context-k1/s0"]
    found = by_check(cells, records)["rejected steps"]
    assert (found["verdict"], found["cells"]) == ("violated", ["ssm-blockwise/s1"])
    assert f"ssm-blockwise/s1 41 of 400, more than 40; none in the other {len(cells) - 3} cells; " in found["detail"]
    assert found["detail"].endswith(f"; 1 of {len(cells)} cells have no record yet")


def test_the_bound_is_that_of_the_cell_and_no_fingerprint_has_its_default(resolved: ResolvedMatrix, root: Path) -> None:
    """A key that came later: at its default, wherever that is written, every cell is what it was."""
    plain = {cell.id: cell.fingerprint for cell in expand(resolved)}
    key = "controls.training.rejected_share"
    for value in ("0.1", "1.0e-1"):
        again = resolve_profile(load_matrix(root / "matrix.yaml"), "laptop", ["seeds=[0, 1]", f"{key}={value}"])
        assert {cell.id: cell.fingerprint for cell in expand(again)} == plain
    deviation = Deviation(key=key, rows=("ssm-hybrid",), reason="tried", value=0.1)
    cells = expand(replace(resolved, deviations=(*resolved.deviations, deviation)))
    assert {cell.id: cell.fingerprint for cell in cells} == plain
    other = replace(deviation, value=0.5)
    cells = expand(replace(resolved, deviations=(*resolved.deviations, other)))
    check_controls(WORKLOAD, cells, (*resolved.deviations, other))
    assert {cell.row for cell in cells if cell.fingerprint != plain[cell.id]} == {"ssm-hybrid"}
    records = {cell.id: {**RECORD, "skipped": 100} for cell in cells if cell.row == "ssm-hybrid"}
    found = by_check(tuple(cell for cell in cells if cell.id in records), records)["rejected steps"]
    assert (found["verdict"], "200 of 400" in found["detail"]) == ("held", True)
    with pytest.raises(ControlsError, match=r"differ in controls\.training\.rejected_share \('absent' and 0\.5\)"):
        check_controls(WORKLOAD, cells, resolved.deviations)


@pytest.mark.parametrize("value", ["1.5", "-0.1", "ten", "null", "[0.1]", ".nan"])
def test_a_share_that_is_none_is_refused(root: Path, value: str) -> None:
    with pytest.raises(MatrixError, match=r"controls\.training\.rejected_share is .*; allowed: "):
        resolve_profile(load_matrix(root / "matrix.yaml"), "laptop", [f"controls.training.rejected_share={value}"])


def test_a_declared_deviation_of_the_steps_is_no_violation(resolved: ResolvedMatrix) -> None:
    deviation = Deviation(key="controls.training.steps", rows=("context-k1",), reason="tried", value=300)
    cells = expand(replace(resolved, deviations=(*resolved.deviations, deviation)))
    check_controls(WORKLOAD, cells, (*resolved.deviations, deviation))
    records = all_records(cells)
    for seed in (0, 1):
        records[f"context-k1/s{seed}"].update(steps=300, sample_order="d" * 64, drops="d" * 64, evidence="d" * 64)
    found = by_check(cells, records)
    assert {found[one]["verdict"] for one in ("steps", "sample_order", "drops", "evidence")} == {"held"}


SITES = ("post_attention", "pre_norm", "pre_qkv", "pre_qkv_gated")


@pytest.fixture(scope="module")
def with_sites(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ResolvedMatrix:
    """The study with the action's site as an axis, as a user writes it."""
    text = (root / "matrix.yaml").read_text(encoding="utf-8")
    line = f"axes: {{site: {{key: controls.action.site, values: [{', '.join(SITES)}]}}}}"
    path = tmp_path_factory.mktemp("sites") / "matrix.yaml"
    path.write_text("\n".join(line if one.startswith("axes:") else one for one in text.splitlines()), encoding="utf-8")
    return resolve_profile(load_matrix(path), "laptop", ["seeds=[0, 1]"])


def site_of(cell: Cell) -> str:
    return dict(cell.axes)["site"]


def test_an_axis_of_the_action_site_makes_a_cell_of_every_row_at_every_site(with_sites: ResolvedMatrix) -> None:
    cells = expand(with_sites)
    assert len(cells) == len(with_sites.rows) * len(SITES) * 2
    assert all(cell.controls["action"] == {"site": site_of(cell)} for cell in cells)
    assert len({cell.fingerprint for cell in cells}) == len(cells)
    # An alias is one computation at one site: never the cell of another site.
    sites = {cell.id: site_of(cell) for cell in cells}
    aliases = [cell for cell in cells if cell.alias_of]
    assert len(aliases) == 2 * len(SITES) * 2
    assert all(sites[cell.alias_of or ""] == site_of(cell) for cell in aliases)


def test_sites_differ_between_comparisons_and_never_within_one(with_sites: ResolvedMatrix) -> None:
    cells = expand(with_sites)
    check_controls(WORKLOAD, cells, with_sites.deviations)
    place = next(i for i, c in enumerate(cells) if c.id == "context-k5/site=pre_norm/s0")
    moved = with_control(cells[place], "action", site="pre_qkv")
    with pytest.raises(
        ControlsError,
        match=r"cells context-k1/site=pre_norm/s0 and context-k5/site=pre_norm/s0 differ in controls\.action\.site "
        r"\('pre_norm' and 'pre_qkv'\)",
    ):
        check_controls(WORKLOAD, (*cells[:place], moved, *cells[place + 1 :]), with_sites.deviations)


def test_any_other_control_is_compared_at_every_site(with_sites: ResolvedMatrix) -> None:
    cells = expand(with_sites)
    for site in SITES:
        changed = tuple(
            with_control(cell, "training", rate=1e-4) if cell.id == f"ssm-hybrid/site={site}/s1" else cell
            for cell in cells
        )
        with pytest.raises(ControlsError, match=rf"ssm-hybrid/site={site}/s1 differ in controls\.training\.rate"):
            check_controls(WORKLOAD, changed, with_sites.deviations)


def test_a_deviation_holds_for_its_row_at_every_site(with_sites: ResolvedMatrix) -> None:
    deviation = Deviation(key="controls.training.rate", rows=("context-k1",), reason="as in the paper", value=1e-4)
    deviations = (*with_sites.deviations, deviation)
    cells = expand(replace(with_sites, deviations=deviations))
    check_controls(WORKLOAD, cells, deviations)
    assert {site_of(cell) for cell in cells if cell.controls["training"]["rate"] == 1e-4} == set(SITES)
    assert {cell.row for cell in cells if cell.controls["training"]["rate"] == 1e-4} == {"context-k1"}


def test_after_the_run_the_cells_of_one_site_are_one_comparison(with_sites: ResolvedMatrix) -> None:
    cells = expand(with_sites)
    # At the gated site the map is drawn and a gate is there: other initial shared weights, rightly.
    gated = {cell.id for cell in cells if site_of(cell) == "pre_qkv_gated"}
    records = {
        cell.id: {**record_of(cell), "initial_shared": ("e" if cell.id in gated else "b") * 64} for cell in cells
    }
    assert {one["verdict"] for one in by_check(cells, records).values()} == {"held"}
    odd = "spatial-readout/site=pre_norm/s1"
    records[odd]["initial_shared"] = "e" * 64  # what every cell of another site has
    found = by_check(cells, records)["initial_shared"]
    assert (found["verdict"], found["cells"]) == ("violated", [odd])
    assert found["detail"].startswith("site=pre_norm, seed 1: ")
    assert by_check(cells, records)["sample_order"]["verdict"] == "held"


def test_a_stage_without_batches_has_no_check_of_micro_batches(cells: tuple[Cell, ...]) -> None:
    stages = tuple(replace(stage, global_batch="") for stage in WORKLOAD.stages)
    found = {one["check"] for one in verdicts(replace(WORKLOAD, stages=stages), cells, {})}
    assert "micro_batch" in by_check(cells, {})
    assert "micro_batch" not in found
    assert "threads" in found
