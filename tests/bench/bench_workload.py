"""The workload of the benchmarks: a stage of which one optimiser step is left, and one of which nothing is."""

from dataclasses import dataclass

from workloads.contract.rows import Row
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Data:
    n: int


@dataclass(frozen=True, kw_only=True)
class Controls:
    data: Data


@dataclass(frozen=True, kw_only=True)
class Branches:
    pass


@dataclass(frozen=True, kw_only=True)
class Step(Row):
    family = "step"


WORKLOAD = Workload(
    name="bench",
    stages=(
        StageSpec(name="data", module="one_step", sections=("data",)),
        StageSpec(name="idle", module="one_import", sections=("data",)),
    ),
    controls=Controls,
    branches=Branches,
    families=(Step,),
)
