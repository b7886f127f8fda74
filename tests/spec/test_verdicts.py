"""What rows declare of their own, against what their jobs have recorded; and that every record is in a list."""

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import all_records, by_check, evaluations

from orchestrator.errors import ControlsError
from orchestrator.spec.cell import Cell, Deviation
from orchestrator.spec.controls import check_controls
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile
from orchestrator.spec.schema import ResolvedMatrix
from orchestrator.spec.verdicts import EXECUTION, declared_differences, verdicts
from workloads.contract.rows import Row
from workloads.study.memory.compress import Compress
from workloads.study.memory.context import Context
from workloads.study.memory.spatial import Spatial
from workloads.study.workload import WORKLOAD

OWN_K = "the row's own number of evidence frames, anchor included"


@pytest.fixture(scope="module")
def resolved(root: Path) -> ResolvedMatrix:
    return resolve_profile(load_matrix(root / "matrix.yaml"), "laptop", ["seeds=[0, 1]"])


@pytest.fixture(scope="module")
def cells(resolved: ResolvedMatrix) -> tuple[Cell, ...]:
    return compared(resolved)


def compared(matrix: ResolvedMatrix) -> tuple[Cell, ...]:
    return tuple(cell for cell in expand(matrix, matrix.profile_rows) if not cell.reference)


def with_row(matrix: ResolvedMatrix, name: str, row: Row, *deviations: Deviation) -> ResolvedMatrix:
    return replace(
        matrix,
        rows={**matrix.rows, name: row},
        profile_rows=(*matrix.profile_rows, name),
        deviations=(*matrix.deviations, *deviations),
    )


def test_a_job_that_saw_other_frames_than_its_row_says_is_violated_and_named(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    records["compress-weight/s0"]["evidence"] = "f" * 64
    found = by_check(cells, records)
    assert (found["evidence"]["verdict"], found["evidence"]["cells"]) == ("violated", ["compress-weight/s0"])
    assert "ffffffffffff in compress-weight/s0" in found["evidence"]["detail"]
    assert [name for name, one in found.items() if one["verdict"] != "held"] == ["evidence"]


def test_a_job_cannot_record_itself_into_another_group(cells: tuple[Cell, ...]) -> None:
    """A record of five frames in place of twenty, with the digest of the row that declares five."""
    records = all_records(cells)
    records["compress-weight/s0"] |= {name: records["context-k5/s0"][name] for name in ("evidence", "evidence_frames")}
    found = by_check(cells, records)
    assert found["evidence"]["cells"] == found["evidence_frames"]["cells"] == ["compress-weight/s0"]
    assert found["evidence_frames"]["detail"] == "5 in compress-weight/s0, which declares 20"


def test_a_row_alone_with_its_number_of_frames_must_still_see_as_many(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    records["context-k5/s1"]["evidence_frames"] = 7
    found = by_check(cells, records)["evidence_frames"]
    assert (found["verdict"], found["cells"]) == ("violated", ["context-k5/s1"])


@pytest.mark.parametrize("row", ["context-k20", "spatial", "ssm-hybrid", "spatial-masked", "spatial-withheld"])
def test_equal_numbers_of_frames_are_compared_whichever_family_declares_them(cells: tuple[Cell, ...], row: str) -> None:
    records = all_records(cells)
    records[f"{row}/s0"]["evidence"] = "f" * 64
    assert f"{row}/s0" in by_check(cells, records)["evidence"]["cells"]


def test_a_row_with_its_own_number_of_frames_is_a_deviation_with_its_reason(
    resolved: ResolvedMatrix, cells: tuple[Cell, ...]
) -> None:
    found = by_check(cells, all_records(cells))["evidence"]
    assert found["verdict"] == "held"
    assert found["detail"] == "equal in the cells of the same evidence_frames (20: 34 cells; 1: 4 cells; 5: 2 cells)"
    assert declared_differences(WORKLOAD, cells, resolved.deviations) == [
        {
            "key": "evidence_frames",
            "rows": ["context-k1", "spatial-withheld"],
            "reason": f"1, 20 in most rows: {OWN_K}",
            "value": 1,
        },
        {"key": "evidence_frames", "rows": ["context-k5"], "reason": f"5, 20 in most rows: {OWN_K}", "value": 5},
    ]


def test_without_a_usual_number_of_frames_every_row_is_listed(cells: tuple[Cell, ...]) -> None:
    two = [cell for cell in cells if cell.row in ("context-k1", "context-k5")]
    found = declared_differences(WORKLOAD, two, ())
    assert [(one["rows"], one["reason"]) for one in found] == [
        (["context-k1"], f"1: {OWN_K}"),
        (["context-k5"], f"5: {OWN_K}"),
    ]


def test_a_deviation_of_the_number_of_frames_is_compared_with_nobody_else(resolved: ResolvedMatrix) -> None:
    deviation = Deviation(key="controls.evidence.frames", rows=("ssm-hybrid",), reason="tried", value=7)
    cells = compared(replace(resolved, deviations=(*resolved.deviations, deviation)))
    found = by_check(cells, all_records(cells))
    assert {one["verdict"] for one in found.values()} == {"held"}
    assert "7: 2 cells" in found["evidence"]["detail"] and "7, retrieved: 2 cells" in found["written"]["detail"]


def test_what_a_state_is_written_from_is_compared_where_there_is_a_state(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    records["ssm-hybrid/s0"]["written"] = "f" * 64
    found = by_check(cells, records)["written"]
    assert (found["verdict"], found["cells"]) == ("violated", ["ssm-hybrid/s0"])
    records = all_records(cells)
    records["spatial/s1"]["written"] = records["ssm-hybrid/s1"]["written"]
    found = by_check(cells, records)["written"]
    assert (found["verdict"], found["cells"]) == ("violated", ["spatial/s1"])
    assert found["detail"] == "spatial/s1 recorded one, and declared to have none"


def test_a_study_from_before_a_record_has_no_line_of_it(cells: tuple[Cell, ...]) -> None:
    records = {name: {k: v for k, v in one.items() if k != "written"} for name, one in all_records(cells).items()}
    assert "written" not in by_check(cells, records)


AGAIN = Deviation(key="memory.init_stream", rows=("context-k5-again",), reason="A/A")


def test_another_initialisation_needs_a_reason_and_is_compared_with_its_own_kind(resolved: ResolvedMatrix) -> None:
    bare = with_row(resolved, "context-k5-again", Context(frames=5, init_stream=1))
    message = (
        r"row context-k5-again sets init_stream: 1, and no deviation gives the reason; add \{key: memory\.init_stream"
    )
    with pytest.raises(ControlsError, match=message):
        check_controls(WORKLOAD, expand(bare, bare.profile_rows), bare.deviations)
    matrix = with_row(resolved, "context-k5-again", Context(frames=5, init_stream=1), AGAIN)
    cells = compared(matrix)
    check_controls(WORKLOAD, expand(matrix, matrix.profile_rows), matrix.deviations)
    records = all_records(cells)
    for seed in (0, 1):
        records[f"context-k5-again/s{seed}"]["initial_shared"] = "c" * 64
    found = by_check(cells, records)
    assert {one["verdict"] for one in found.values()} == {"held"}
    assert found["initial_shared"]["detail"] == "equal in the cells of the same init_stream (0: 40 cells; 1: 2 cells)"
    assert not any(one["key"] == "init_stream" for one in declared_differences(WORKLOAD, cells, matrix.deviations))
    records["context-k5-again/s0"]["evidence"] = "f" * 64  # with context-k5 it is compared in everything else
    assert by_check(cells, records)["evidence"]["cells"] == ["context-k5/s0", "context-k5-again/s0"]


@pytest.mark.parametrize(
    "row",
    [
        Context(frames=5, init_stream=1),
        Compress(decay=0.9, init_stream=1),
        Spatial(write="grid", read="text", masked=True, init_stream=1),
        Spatial(write="grid", read="none", init_stream=1),
    ],
)
def test_no_family_loses_the_initialisation_on_the_way_to_training(row: Any) -> None:
    assert (row.trained().init_stream, row.evaluated().init_stream) == (1, 1)


def test_rows_that_were_evaluated_on_other_cases_are_violated(cells: tuple[Cell, ...]) -> None:
    recorded = {"train": all_records(cells), **evaluations(cells)}
    recorded["evaluate/loop"]["spatial/s0"]["items"] = "d" * 64
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}
    assert [(name, one["cells"]) for name, one in found.items() if one["verdict"] != "held"] == [
        ("items of evaluate/loop", ["spatial/s0"])
    ]
    assert found["items of evaluate/loop"]["branch"] == "loop"
    assert found["items of evaluate/loop"]["detail"] == (
        "'dddddddddddd' in spatial/s0, for which the plan has 'cccccccccccc'"
    )


def test_weights_of_a_measuring_network_are_compared_once_one_was_used(cells: tuple[Cell, ...]) -> None:
    recorded = {"train": all_records(cells), **evaluations(cells)}
    for record in recorded["evaluate/loop"].values():
        record["measuring_weights"] = {"lpips": "a"}
    recorded["evaluate/loop"]["spatial/s0"]["measuring_weights"] = {"lpips": "b"}
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}
    assert found["measuring_weights of evaluate/loop"]["cells"] == ["spatial/s0"]
    assert found["measuring_weights of evaluate/loop"]["branch"] == "loop"
    assert "measuring_weights of evaluate/return" not in found


def test_cells_that_read_other_contents_under_one_fingerprint_are_violated(cells: tuple[Cell, ...]) -> None:
    """As when latents were removed and computed again, on another machine, between two trainings."""
    recorded = {"train": all_records(cells), **evaluations(cells)}
    recorded["train"]["spatial/s0"]["inputs"] = {"data": {"fingerprint": "d" * 64, "manifest": "n" * 64}}
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}["inputs"]
    assert (found["verdict"], found["cells"]) == ("violated", ["spatial/s0"])
    assert found["detail"].startswith("data dddddddddddd was read as mmmmmmmmmmmm by context-k1/s0 and ")
    assert found["detail"].endswith(", nnnnnnnnnnnn by spatial/s0")


def read_of(manifest: str, made: str, of_new: str = "") -> dict[str, Any]:
    """A read of two scenes of a pool, `made` in one artifact; with `of_new`, the second in another."""
    items = {"held-0000": made * 64, "held-0001": (of_new or made) * 64}
    return {"data": {"fingerprint": "d" * 64, "manifest": manifest * 64, "items": items}}


def test_rows_of_a_grown_study_have_read_the_same_where_its_items_were_taken_over(cells: tuple[Cell, ...]) -> None:
    recorded = {"train": all_records(cells), **evaluations(cells)}
    for records in recorded.values():
        for record in records.values():
            record["inputs"] = read_of("m", "m")
    recorded["train"]["spatial/s0"]["inputs"] = read_of("n", "m")
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}["inputs"]
    assert (found["verdict"], found["detail"]) == ("held", "1 job read with the same contents by all that read them")
    recorded["train"]["spatial/s0"]["inputs"] = read_of("n", "m", "n")
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}["inputs"]
    assert (found["verdict"], found["cells"]) == ("violated", ["spatial/s0"])
    assert found["detail"].startswith("data dddddddddddd (held-0001) was read as mmmmmmmmmmmm by context-k1/s0 and ")


def test_a_row_that_read_another_job_than_its_plan_has_is_violated(cells: tuple[Cell, ...]) -> None:
    recorded = {"train": all_records(cells), **evaluations(cells)}
    other = {"fingerprint": "e" * 64, "manifest": "m" * 64, "planned": "d" * 64}
    recorded["train"]["spatial/s0"]["inputs"] = {"data": other}
    found = {one["check"]: one for one in verdicts(WORKLOAD, cells, recorded)}["inputs"]
    assert (found["verdict"], found["cells"]) == ("violated", ["spatial/s0"])
    assert found["detail"] == "data eeeeeeeeeeee was read by spatial/s0, and the plan has dddddddddddd"


def test_a_branch_that_cells_do_not_have_has_no_line(cells: tuple[Cell, ...]) -> None:
    without = [replace(cell, branches={k: v for k, v in cell.branches.items() if k != "loop"}) for cell in cells]
    found = {one["check"] for one in verdicts(WORKLOAD, without, {"train": all_records(cells), **evaluations(cells)})}
    assert "items of evaluate/return" in found and "items of evaluate/loop" not in found


def test_a_job_that_is_done_without_a_record_is_told_from_one_that_is_not(cells: tuple[Cell, ...]) -> None:
    records = all_records(cells)
    del records["spatial/s0"], records["spatial/s1"]["evidence"]
    found = by_check(cells, records)["evidence"]
    assert found["verdict"] == "open"
    assert found["detail"] == "2 of 40 cells have no record yet; 1 cell without it, though the job is done"


# Every record is either compared or listed with the reason why not.

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "control.md"
STUDY = Path(__file__).parents[2] / "workloads"


def listed(stage: str) -> set[str]:
    spec = WORKLOAD.by_name[stage]
    return {*EXECUTION, *(check.record for check in (*spec.checks, *spec.counted)), *spec.uncompared}


def written_in(module: str) -> set[str]:
    """Names of records in the source of a module: keys of what is called or bound to `records`, and of `digests`."""
    found: set[str] = set()
    tree = ast.parse((STUDY.parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        displays: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            displays = [word.value for word in node.keywords if word.arg == "records"]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in ("records", "digests"):
                    displays.append(node.value)
                elif ast.unparse(target).startswith("records["):
                    found.add(ast.literal_eval(ast.unparse(target)[len("records") :])[0])
        for display in displays:
            if isinstance(display, ast.Dict):
                found |= {str(key.value) for key in display.keys if isinstance(key, ast.Constant)}
    return found


@pytest.mark.parametrize("stage", WORKLOAD.stages, ids=lambda stage: stage.name)
def test_every_record_of_a_stage_is_compared_or_listed(stage: Any) -> None:
    modules = [stage.module, *(["workloads.evaluation.judge_vlm"] if stage.name == "judge" else [])]
    found = {name for module in modules for name in written_in(module)}
    assert found - listed(stage.name) == set()
    if stage.name != "train":  # its digests come from the index
        assert {name for name in listed(stage.name) - set(EXECUTION)} == found


def test_the_page_lists_every_record_and_says_what_becomes_of_it() -> None:
    lines = re.findall(r"^\| ((?:`\w+`,? ?)+)\| (\w+) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    told = {(stage, name): why for names, stage, why in lines for name in re.findall(r"\w+", names)}
    compared = {
        (stage.name, check.record) for stage in WORKLOAD.stages for check in (*stage.checks, *stage.counted)
    } | {("all", name) for name in (*EXECUTION, "inputs", "items")}
    listed_alone = {(stage.name, name): why for stage in WORKLOAD.stages for name, why in stage.uncompared.items()}
    assert {key for key, why in told.items() if not why.startswith("no: ")} == compared
    assert {key: why[len("no: ") :] for key, why in told.items() if why.startswith("no: ")} == listed_alone
