"""The workload of the toy stages: one stage, which does what its request says."""

from dataclasses import dataclass

from workloads.contract.rows import Row
from workloads.contract.stage import StageSpec
from workloads.contract.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Data:
    do: str


@dataclass(frozen=True, kw_only=True)
class Controls:
    data: Data


@dataclass(frozen=True, kw_only=True)
class Branches:
    pass


@dataclass(frozen=True, kw_only=True)
class Toy(Row):
    family = "toy"


WORKLOAD = Workload(
    name="toy",
    stages=(StageSpec(name="data", module="toy_stages", sections=("data",)),),
    controls=Controls,
    branches=Branches,
    families=(Toy,),
)
