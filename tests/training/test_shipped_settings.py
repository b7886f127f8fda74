"""cluster/deepspeed/*.json: every shipped file is one that a training takes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny_training import metrics, train_once, train_request, weights

from workloads.contract.request import Execution
from workloads.runtime.errors import BadInput
from workloads.training.settings import batch_shape, deepspeed_settings, recomputes, zero_stage

SHIPPED = sorted((Path(__file__).parents[2] / "cluster" / "deepspeed").glob("*.json"))


def execution(deepspeed: dict[str, Any]) -> Execution:
    return Execution(
        device="cpu", ranks=1, threads=1, micro_batch=None, accumulate=1, deepspeed=deepspeed, checkpoint_every_s=30.0,
        keep="weights", grace_s=1.0, deterministic=True,
    )  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_says_only_how_and_reaches_deepspeed(path: Path) -> None:
    shipped = json.loads(path.read_text(encoding="utf-8"))
    how = execution(shipped)
    settings = deepspeed_settings({"clip": 1.0, "precision": "bfloat16"}, how, batch_shape(8, 1, how))
    assert {key: settings[key] for key in shipped} == shipped
    assert zero_stage(how) == next((stage for stage in (1, 2, 3) if f"zero{stage}" in path.stem), 0)
    assert recomputes(how) is (path.stem in ("checkpointing", "zero3", "zero3-offload"))


def test_all_stages_are_shipped() -> None:
    assert {path.stem for path in SHIPPED} == {"checkpointing", "zero1", "zero2", "zero3", "zero3-offload"}


def test_a_switch_of_deepspeeds_own_checkpointing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"activation_checkpointing\.cpu_checkpointing is True; nothing acts on it"):
        recomputes(execution({"activation_checkpointing": {"cpu_checkpointing": True}}))
    assert recomputes(execution({"activation_checkpointing": {"cpu_checkpointing": False}}))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_trains_as_none_does_and_resumes_to_the_same_bits(
    pool: dict[str, str], tmp_path: Path, path: Path
) -> None:
    training = {"sample_every": 0, "steps": 3}
    how = {"deepspeed": json.loads(path.read_text(encoding="utf-8"))}
    plain, whole, first = (train_request(tmp_path, pool, training=training, how=each) for each in ({}, how, how))
    train_once(plain)
    train_once(whole)
    for (_, expected), (_, found) in zip(metrics(plain, "loss"), metrics(whole, "loss"), strict=True):
        assert math.isclose(found, expected, rel_tol=0, abs_tol=1e-5)
    train_once(first, stop_at=1)
    [checkpoint] = (Path(first.work) / "checkpoints").iterdir()
    last = train_request(tmp_path, pool, training=training, how=how, resume=str(checkpoint))
    train_once(last)
    a, b = weights(last), weights(whole)
    assert a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)
