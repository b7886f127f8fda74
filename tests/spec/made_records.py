"""What the jobs of controlled cells record, and the verdicts on it."""

from collections.abc import Sequence
from typing import Any

from orchestrator.spec.cell import Cell
from orchestrator.spec.verdicts import verdicts
from workloads.study.memory.families import row_from
from workloads.study.stages import BRANCHES
from workloads.study.workload import WORKLOAD

RUN = {
    "versions": {"torch": "2.13"},
    "device_kind": "cpu",
    "threads": 1,
    "world_size": 1,
    "code": "f" * 64,
    "inputs": {"data": {"fingerprint": "d" * 64, "manifest": "m" * 64}},
    "numerics": {"cpu_capability": "AVX512", "float32_matmul": "highest", "environment": {"MKL_CBWR": "AVX2"}},
}
RECORD = {
    "sample_order": "a" * 64,
    "drops": "a" * 64,
    "candidates": "a" * 64,
    "initial_shared": "b" * 64,
    "steps": 400,
    "skipped": 0,
    "micro_batch": 8,
    **RUN,
}


def by_check(cells: Sequence[Cell], records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in verdicts(WORKLOAD, cells, {"train": records, **evaluations(cells)})}


def all_records(cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    return {cell.id: record_of(cell) for cell in cells}


def record_of(cell: Cell) -> dict[str, Any]:
    """What a training of the cell's row records."""
    row = row_from(cell.trained)
    frames = row.evidence_frames(cell.controls["evidence"])
    evidence = {"evidence_frames": frames, "evidence": f"{frames:064}"}
    written = {"written": f"{frames:064}"} if row.carries_state else {}
    return {**RECORD, **evidence, **written, "sample_order": str(cell.seed) * 64}


def evaluations(cells: Sequence[Cell]) -> dict[str, dict[str, dict[str, Any]]]:
    """What evaluations record, by step."""
    return {
        f"evaluate/{branch}": {cell.id: {**RUN, "items": "c" * 64, "planned_items": "c" * 64} for cell in cells}
        for branch in BRANCHES
    }
