"""DeepSpeed's settings: the study's keys cannot be overridden, the global batch cannot change."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from workloads.contract.request import Execution
from workloads.runtime.errors import BadInput
from workloads.study.deepspeed import FIXED
from workloads.training.settings import batch_shape, deepspeed_settings

TRAINING = {"clip": 1.0, "precision": "float32"}


def execution(
    micro_batch: int | None = None, accumulate: int = 1, deepspeed: Mapping[str, Any] | None = None
) -> Execution:
    return Execution(
        device="cpu", ranks=1, threads=1, micro_batch=micro_batch, accumulate=accumulate, deepspeed=deepspeed or {},
        checkpoint_every_s=30.0, keep="weights", grace_s=1.0, deterministic=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "micro_batch", "accumulate"), [(1, None, 1), (1, 8, 1), (2, None, 1), (2, 2, 2), (1, 1, 8), (4, None, 2)]
)
def test_the_samples_of_a_step_are_dealt_once_and_in_order(
    ranks: int, micro_batch: int | None, accumulate: int
) -> None:
    shape = batch_shape(8, ranks, execution(micro_batch, accumulate))
    dealt = [sample for rank in range(ranks) for part in range(accumulate) for sample in shape.samples(rank, part)]
    assert dealt == list(range(8))


@pytest.mark.parametrize(("ranks", "micro_batch", "accumulate"), [(3, None, 1), (1, 3, 1), (2, 8, 1), (16, None, 1)])
def test_factors_of_another_batch_are_refused_with_the_equation(
    ranks: int, micro_batch: int | None, accumulate: int
) -> None:
    with pytest.raises(
        BadInput, match=rf"micro_batch \d+ × accumulate {accumulate} × ranks {ranks} = \d+, but .* is 8"
    ):
        batch_shape(8, ranks, execution(micro_batch, accumulate))


@pytest.mark.parametrize("key", FIXED)
def test_a_key_that_the_study_fixes_is_refused_by_name(key: str) -> None:
    how = execution(deepspeed={key: {}})
    with pytest.raises(BadInput, match=rf"execution\.deepspeed\.{key} is fixed"):
        deepspeed_settings(TRAINING, how, batch_shape(8, 1, how))


def test_what_a_cluster_adds_reaches_deepspeed() -> None:
    how = execution(deepspeed={"zero_optimization": {"stage": 2}})
    settings = deepspeed_settings(TRAINING, how, batch_shape(8, 1, how))
    assert settings["zero_optimization"] == {"stage": 2}
    assert settings["gradient_clipping"] == 1.0


def test_without_sharding_deepspeed_does_not_clip_a_second_time() -> None:
    how = execution()
    assert deepspeed_settings(TRAINING, how, batch_shape(8, 1, how))["gradient_clipping"] == 0.0


@pytest.mark.parametrize(("precision", "present"), [("float32", False), ("bfloat16", True)])
def test_bfloat16_is_autocast_and_never_casts_parameters(precision: str, present: bool) -> None:
    how = execution()
    settings = deepspeed_settings({**TRAINING, "precision": precision}, how, batch_shape(8, 1, how))
    assert ("torch_autocast" in settings) is present
    assert "bf16" not in settings


def test_the_shape_follows_a_smaller_micro_batch_after_running_out_of_memory() -> None:
    whole = batch_shape(8, 1, execution())
    halved = batch_shape(8, 1, replace(execution(), micro_batch=4, accumulate=2))
    assert whole.global_batch == halved.global_batch == halved.micro_batch * halved.accumulate
