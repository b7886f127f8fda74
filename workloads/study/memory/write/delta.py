"""Write `delta`: keys and values in a matrix a head, corrected by the delta rule. Source: study.md section 5."""

from dataclasses import dataclass
from typing import ClassVar

from workloads.study.memory.write.matrix import MatrixSpec


@dataclass(frozen=True, kw_only=True)
class DeltaSpec(MatrixSpec):
    """As a matrix in size."""

    name: ClassVar[str] = "delta"
    computation: ClassVar[str] = "workloads.memory.write.delta:DeltaState"
