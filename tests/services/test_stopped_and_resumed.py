"""A detached run on the real backend, stopped and interrupted in the middle of a training: nothing of it shows."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.schedule.lease import is_held, read_holder
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger

pytestmark = [pytest.mark.service, pytest.mark.slow]

ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")
MATRIX = Path(__file__).parents[2] / "matrix.yaml"
SMALL = (
    "controls.data.train_scenes=8",
    "controls.data.held_out_scenes=2",
    "controls.data.open_prompts=2",
    "controls.data.open_variants=1",
    "controls.training.steps=240",
    "controls.training.warmup_steps=2",
    "controls.training.sample_every=240",
    "controls.sampler.steps=2",
    "branches.replay.cases=2",
)
LABEL = "train/context-k1/s0"


def line(verb: str, *arguments: str) -> list[str]:
    return [str(ECHO_MATRIX), verb, "--matrix", str(MATRIX), *arguments]


def call(home: Path, verb: str, *arguments: str) -> Any:
    return subprocess.run(line(verb, *arguments), env=environment(home), capture_output=True, text=True)


def run_line(*arguments: str) -> list[str]:
    return line("run", "--rows", "context-k1", "--branches", "replay", *arguments, *SMALL)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1"}


def run(home: Path, *arguments: str) -> Any:
    return subprocess.run(run_line(*arguments), env=environment(home), capture_output=True, text=True)


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 240.0) -> Any:
    end = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return answer


def trainings(home: Path) -> list[Attempt]:
    with Ledger.read(home / "echo-memory" / NAME) as ledger:
        return [attempt for attempt in ledger.attempts() if attempt.label == LABEL]


def training_at(home: Path, number: int, step: int) -> bool:
    """Whether the `number`th attempt of the training has got to `step`."""
    found = trainings(home)[number - 1 : number]
    if not found:
        return False
    folder = home / "echo-memory" / "attempts" / found[0].fingerprint[:16] / found[0].id
    try:
        return int(json.loads((folder / "heartbeat.json").read_text(encoding="utf-8"))["step"]) >= step
    except (OSError, ValueError, KeyError):
        return False


def published(home: Path) -> tuple[bytes, list[Any]]:
    """Weights of the training, and its metrics but for those that measure the machine."""
    folder = Path(call(home, "path", LABEL).stdout.strip())
    metrics = [json.loads(text) for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = [
        (one["step"], one["name"], one["value"]) for one in metrics if not one["name"].endswith(("_per_s", "_mib"))
    ]
    return (folder / "weights.safetensors").read_bytes(), shown


def test_a_training_that_was_stopped_detached_and_by_ctrl_c_ends_bit_identical(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert run(undisturbed).returncode == 0

    detached = run(disturbed, "--detach")
    assert detached.returncode == 0, detached.stdout + detached.stderr
    holder = read_holder(disturbed / "echo-memory")
    assert holder is not None
    assert f"pid {holder.pid} is running the study" in detached.stdout
    second = run(disturbed, "--detach")
    assert second.returncode == 1
    assert f"pid {holder.pid} on {holder.host} is running this study" in second.stderr
    os.kill(holder.pid, signal.SIGHUP)  # what closing the terminal sends
    wait_for(lambda: training_at(disturbed, 1, 5), "the training does not begin")
    stopped = call(disturbed, "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert not is_held(disturbed / "echo-memory")
    first = trainings(disturbed)[0]
    assert first.ending == "interrupted"
    assert first.step >= 5

    foreground = subprocess.Popen(
        run_line(), env=environment(disturbed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    wait_for(
        lambda: training_at(disturbed, 2, first.step + 3) or foreground.poll() is not None, "nothing is taken up again"
    )
    os.kill(foreground.pid, signal.SIGINT)
    said, _ = foreground.communicate(timeout=120)
    assert foreground.returncode == 130, said
    second_attempt = trainings(disturbed)[1]
    assert (second_attempt.ending, second_attempt.begun) == ("interrupted", first.step)

    last = run(disturbed)
    assert last.returncode == 0, last.stdout + last.stderr
    assert trainings(disturbed)[-1].begun == second_attempt.step > first.step
    assert published(disturbed) == published(undisturbed)
