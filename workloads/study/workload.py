"""Workload of Echo-Memory. Imports no library that computes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workloads.contract.planned import (
    Diagnosis,
    Estimate,
    Planned,
    PlannedCell,
    PlannedCluster,
    PlannedJob,
    SceneCount,
    ServiceEndpoint,
)
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Items, Workload
from workloads.study import (
    added_disk,
    cases,
    checks,
    deepspeed,
    estimate,
    flops,
    items,
    notes,
    outside,
    services,
    sizes,
)
from workloads.study.gate import DERIVED
from workloads.study.memory.base import MemoryRow
from workloads.study.memory.families import FAMILIES, MEMORY_CONTROLS, row_from
from workloads.study.sections import Branches, Controls
from workloads.study.stages import REVISIONS, STAGES

IMPORTED_LATE = (
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")),  # with the first picture
    "numpy.ma",  # with the first median
    "encodings.cp437",  # with the first archive
)
"""What libraries import on first use: in each job anew, were it not preloaded."""


class EchoMemory(Workload):
    """The study of arXiv:2606.09803: one video diffusion transformer, many memories."""

    def items(
        self, stage: StageSpec, branch: str | None, controls: Mapping[str, Any], section: Mapping[str, Any] | None
    ) -> Items | None:
        """See `items`."""
        return items.items_of(stage, branch, controls, section)

    def reads(self, stage: StageSpec, controls: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
        """See `items`."""
        return items.reads_of(stage, controls)

    def problems(self, controls: Controls, branches: Branches) -> Iterator[tuple[str, str]]:
        """See `checks`."""
        return checks.problems(controls, branches)

    def refuse_plan(self, plan: Planned, selected: Collection[str] | None) -> str:
        """See `cases`."""
        return cases.missing_cases(plan, selected)

    def estimate(self, plan: Planned, selected: Collection[str] | None, cluster: PlannedCluster) -> Estimate | None:
        """See `estimate`."""
        return estimate.estimate(plan, cluster, selected)

    def added_disk(self, plan: Planned, made: Mapping[str, float], *, keep_stable: bool = True) -> dict[str, int]:
        """See `added_disk`."""
        return added_disk.added_disk(plan, made, keep_stable=keep_stable)

    def flops(self, plan: Planned) -> Mapping[str, float]:
        """See `flops`."""
        return flops.flops(plan)

    def sizes(self, cells: Sequence[PlannedCell]) -> Mapping[str, Mapping[str, float]]:
        """Floats read and kept by each memory at the paper's size; none of ceiling and floor."""
        rows = {cell.id: (row_from(cell.evaluated), cell.controls["evidence"]) for cell in cells if not cell.reference}
        return {name: sizes.remembered(row, row.evidence_frames(evidence)) for name, (row, evidence) in rows.items()}

    def scenes(self, cells: Sequence[PlannedCell]) -> Mapping[str, SceneCount]:
        """See `cases`."""
        return cases.scenes(cells)

    def cannot_rerun(self, job: PlannedJob, paths: Mapping[str, str]) -> str:
        """See `outside`."""
        return outside.cannot_rerun(job, paths)

    def deepspeed_problem(self, settings: Mapping[str, Any]) -> tuple[str, str] | None:
        """See `deepspeed`."""
        return deepspeed.deepspeed_problem(settings)

    def notes(self, cells: Sequence[PlannedCell], sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """See `notes`."""
        return notes.notes_of(cells, sections)

    def remarks(self, label: str, last: Mapping[str, float]) -> list[str]:
        """See `notes`."""
        return notes.remarks_of(label, last)

    def diagnoses(
        self, cells: Sequence[PlannedCell], paths: Mapping[str, str], environment: Mapping[str, str]
    ) -> Iterable[tuple[str, Diagnosis | ServiceEndpoint]]:
        """See `services`."""
        return (("judge", found) for found in services.judge(cells, paths, environment))


WORKLOAD = EchoMemory(
    name="echo-memory",
    stages=STAGES,
    controls=Controls,
    branches=Branches,
    families=FAMILIES,
    rows_key="memory",
    row_controls=MEMORY_CONTROLS,
    revisions=REVISIONS,
    preload=("numpy", *IMPORTED_LATE, "safetensors.torch", "torch"),
    derived=DERIVED,
    report="workloads.study.report",
    template=("workloads.study", "templates/matrix.yaml"),
    unchecked_paths=("judge_url", "judge_cache"),
    name_in_fingerprints=False,
)


def with_families(*families: type[MemoryRow]) -> EchoMemory:
    """The study with further memory mechanisms; see docs/tutorials/add-a-mechanism.md.

    An address needs no mention here: its declaration registers itself when it is imported. Fingerprints of the study's
    own rows do not change.
    """
    return replace(WORKLOAD, families=(*FAMILIES, *families))
