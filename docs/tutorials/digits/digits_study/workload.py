"""What the orchestrator knows of this study. It imports nothing that computes."""

from dataclasses import dataclass

from workloads.contract.fields import Count, Natural, Positive, Share
from workloads.contract.rows import Row
from workloads.contract.stage import RecordCheck, StageSpec
from workloads.contract.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Data:
    seed: Natural
    test_share: Share


@dataclass(frozen=True, kw_only=True)
class Training:
    epochs: Count
    batch: Count
    rate: Positive


@dataclass(frozen=True, kw_only=True)
class Controls:
    data: Data
    training: Training


@dataclass(frozen=True, kw_only=True)
class Clean:
    cases: Count


@dataclass(frozen=True, kw_only=True)
class Shifted:
    cases: Count
    pixels: Count


@dataclass(frozen=True, kw_only=True)
class Branches:
    clean: Clean
    shifted: Shifted


@dataclass(frozen=True, kw_only=True)
class Linear(Row):
    family = "linear"


@dataclass(frozen=True, kw_only=True)
class Mlp(Row):
    family = "mlp"
    width: Count


@dataclass(frozen=True, kw_only=True)
class Conv(Row):
    family = "conv"
    channels: Count


WORKLOAD = Workload(
    name="digits",
    controls=Controls,
    branches=Branches,
    families=(Linear, Mlp, Conv),
    preload=("numpy", "torch"),
    stages=(
        StageSpec(name="split", module="digits_study.split", sections=("data",), seconds_guess=2.0),
        StageSpec(
            name="train",
            module="digits_study.train",
            inputs=("split",),
            sections=("training",),
            row="trained",
            seed=True,
            seconds_guess=5.0,
            smoke=True,
            tracked=True,
            curve="loss",
            checks=(RecordCheck(record="order", depends=("data", "training.epochs", "training.batch")),),
            whole_checkpoints=True,
        ),
        StageSpec(
            name="evaluate",
            module="digits_study.evaluate",
            inputs=("split", "train"),
            row="evaluated",
            branches=("clean", "shifted"),
            seconds_guess=1.0,
            smoke=True,
            tracked=True,
        ),
    ),
)
