"""Two ranks over gloo against one: the global batch is the same, so are the losses (design, Rendezvous)."""

import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import metrics, train_once, train_request, weights

from workloads.contract.request import Rendezvous, Request

RANK_SCRIPT = Path(__file__).with_name("one_rank.py")
TRAINING = {"sample_every": 3, "steps": 6}
TIME_LIMIT_S = 240.0


def train_by_two(request: Request, stop_at: int | None = None) -> Request:
    """Run `request` as two ranks that meet at a socket bound beforehand; rank 0's request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        port = server.getsockname()[1]
        ranks = []
        processes = []
        for rank in range(2):
            meeting = Rendezvous(
                world_size=2,
                rank=rank,
                local_rank=rank,
                address="127.0.0.1",
                port=port,
                listen_fd=server.fileno() if rank == 0 else None,
            )
            ranks.append(replace(request, rendezvous=meeting, execution=replace(request.execution, ranks=2)))
            path = Path(request.work) / f"request-{rank}.json"
            ranks[-1].write(path)
            command = [sys.executable, str(RANK_SCRIPT), str(path), *([] if stop_at is None else [str(stop_at)])]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
            processes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    pass_fds=[server.fileno()] if rank == 0 else [],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    try:
        for process in processes:
            _, errors = process.communicate(timeout=TIME_LIMIT_S)
            assert process.returncode == 0, errors[-4000:]
    finally:
        for process in processes:
            process.kill()
    return ranks[0]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1])
def test_two_ranks_lose_what_one_rank_loses(pool: dict[str, str], tmp_path: Path, stage: int) -> None:
    how: dict[str, Any] = {"deepspeed": {"zero_optimization": {"stage": stage}}}
    alone = train_request(tmp_path, pool, training=TRAINING)
    train_once(alone)
    shared = train_by_two(train_request(tmp_path, pool, training=TRAINING, how=how))
    expected = dict(metrics(alone, "loss"))
    found = metrics(shared, "loss")
    assert [step for step, _ in found] == list(range(1, 7))
    for step, value in found:
        assert math.isclose(value, expected[step], abs_tol=1e-5), step


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_two_ranks_stop_together_and_resume_to_the_same_bits(pool: dict[str, str], tmp_path: Path, stage: int) -> None:
    how: dict[str, Any] = {"deepspeed": {"zero_optimization": {"stage": stage}}}
    whole = train_by_two(train_request(tmp_path, pool, "ssm-blockwise", training=TRAINING, how=how))
    first = train_by_two(train_request(tmp_path, pool, "ssm-blockwise", training=TRAINING, how=how), stop_at=3)
    [checkpoint] = (Path(first.work) / "checkpoints").iterdir()
    assert checkpoint.name == "step-4"
    last = train_by_two(
        train_request(tmp_path, pool, "ssm-blockwise", training=TRAINING, how=how, resume=str(checkpoint))
    )
    assert metrics(last, "loss") == metrics(whole, "loss")
    a, b = weights(last), weights(whole)
    assert all(bool((a[name] == b[name]).all()) for name in b)
