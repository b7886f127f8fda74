"""Two ranks over gloo against one: the global batch is the same, so are the losses (design, Rendezvous)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from by_two import run_by_two
from tiny_training import metrics, train_once, train_request, weights, zero

from orchestrator.opening import open_study
from orchestrator.spec.cluster import BUILT_IN
from workloads.contract.request import Rendezvous, Request
from workloads.study.estimate import row_sizes
from workloads.study.footprint import weights_bytes
from workloads.training.engine import COLLECTIVE_TIMEOUT

SLOW_DISK = 20e6  # bytes a second, of a shared folder that other trainings write to

RANK_SCRIPT = Path(__file__).with_name("one_rank.py")
TRAINING = {"sample_every": 3, "steps": 6}


def train_by_two(requests: Sequence[Request], stops: Mapping[str, int] | None = None) -> list[Request]:
    """Run `requests` one after the other as two ranks, those whose attempt is in `stops` to that step; rank 0's."""
    shared: list[Request] = []

    def arguments(meeting: Rendezvous) -> list[str]:
        given = []
        for request in requests:
            one = replace(request, rendezvous=meeting, execution=replace(request.execution, ranks=2))
            path = Path(request.work) / f"request-{meeting.rank}.json"
            one.write(path)
            stop = (stops or {}).get(request.attempt)
            given.append(f"{path}" if stop is None else f"{path}:{stop}")
            if meeting.rank == 0:
                shared.append(one)
        return given

    run_by_two(RANK_SCRIPT, arguments)
    return shared


def test_two_ranks_lose_what_one_rank_loses_at_every_zero_stage(pool: dict[str, str], tmp_path: Path) -> None:
    alone = train_request(tmp_path, pool, training=TRAINING)
    train_once(alone)
    expected = dict(metrics(alone, "loss"))
    hows: list[dict[str, Any]] = [{"deepspeed": zero(stage)} for stage in (0, 1, 2, 3)]
    hows.append({"deepspeed": {**zero(3), "activation_checkpointing": {}}})
    for request in train_by_two([train_request(tmp_path, pool, training=TRAINING, how=how) for how in hows]):
        found = metrics(request, "loss")
        assert [step for step, _ in found] == list(range(1, 7))
        for step, value in found:
            assert math.isclose(value, expected[step], rel_tol=0, abs_tol=1e-5), (request.execution.deepspeed, step)


@pytest.mark.long
def test_two_ranks_stop_together_and_resume_to_the_same_bits(pool: dict[str, str], tmp_path: Path) -> None:
    def requests(**changes: Any) -> list[Request]:
        return [
            train_request(
                tmp_path, pool, "ssm-blockwise", training=TRAINING, how={"deepspeed": zero(stage)},
                **{key: value[stage] for key, value in changes.items()},
            )
            for stage in (0, 2, 3)
        ]  # fmt: skip

    whole, first = requests(), requests()
    train_by_two([*whole, *first], stops={request.attempt: 3 for request in first})
    checkpoints = {}
    for stage, request in zip((0, 2, 3), first, strict=True):
        [checkpoint] = (Path(request.work) / "checkpoints").iterdir()
        assert checkpoint.name == "step-4"
        checkpoints[stage] = str(checkpoint)
    last = requests(resume=checkpoints)
    train_by_two(last)
    for ended, straight in zip(last, whole, strict=True):
        assert metrics(ended, "loss") == metrics(straight, "loss")
        a, b = weights(ended), weights(straight)
        assert all(bool((a[name] == b[name]).all()) for name in b)


def test_ranks_wait_for_as_long_as_rank_0_may_take_for_the_papers_checkpoint_on_a_slow_disk(root: Path) -> None:
    plan = open_study(root / "matrix.yaml", profile="paper").plan
    weights = max(weights_bytes(size.model) for size in row_sizes(plan, BUILT_IN))
    written_and_read = weights + 3 * weights  # the model is written, and all with both moments is read for its digests
    assert written_and_read / SLOW_DISK < COLLECTIVE_TIMEOUT.total_seconds()
