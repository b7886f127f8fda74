"""A detached run on the real backend, stopped in the middle of a training: nothing of it shows.

The undisturbed training that it is compared with is run by hand, as `explain --request` says: without Ray.
"""

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

from orchestrator.schedule.lease_holder import is_held, read_holder
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger

ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")
CHECKOUT = Path(__file__).parents[2]
MATRIX = CHECKOUT / "matrix.yaml"
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


def run_line(home: Path, *arguments: str) -> list[str]:
    cluster = home.parent / "cluster.yaml"
    cluster.write_text("backend: ray\ntracking: {kind: none}\n", encoding="utf-8")
    return line("run", "--cluster", str(cluster), "--rows", "context-k1", "--branches", "replay", *arguments, *SMALL)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1"}


def run(home: Path, *arguments: str) -> Any:
    return subprocess.run(run_line(home, *arguments), env=environment(home), capture_output=True, text=True)


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


def published(folder: Path, metrics: Path) -> tuple[bytes, list[Any]]:
    """Weights of a training, and its metrics but for those that measure the machine."""
    lines = [json.loads(text) for text in metrics.read_text(encoding="utf-8").splitlines()]
    shown = [(one["step"], one["name"], one["value"]) for one in lines if not one["name"].endswith(("_per_s", "_mib"))]
    return (folder / "weights.safetensors").read_bytes(), shown


def by_hand(home: Path, work: Path) -> tuple[bytes, list[Any]]:
    """The training of the study in `home`, from its pool, undisturbed."""
    work.mkdir()
    request = work / "request.json"
    shown = call(home, "explain", LABEL, "--request", "--work", str(work))
    assert shown.returncode == 0, shown.stderr
    request.write_text(shown.stdout, encoding="utf-8")
    command = [sys.executable, "-m", "workloads.runtime.run", str(request)]
    subprocess.run(command, env=environment(home), cwd=CHECKOUT, capture_output=True, check=True)
    return published(work / "out", work / "metrics.jsonl")


@pytest.mark.parametrize("interrupted", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_training_that_was_stopped_detached_and_by_ctrl_c_ends_bit_identical(
    tmp_path: Path, interrupted: bool
) -> None:
    home = tmp_path / "disturbed"

    detached = run(home, "--detach")
    assert detached.returncode == 0, detached.stdout + detached.stderr
    holder = read_holder(home / "echo-memory")
    assert holder is not None
    assert f"pid {holder.pid} is running the study" in detached.stdout
    second = run(home, "--detach")
    assert second.returncode == 1
    assert f"pid {holder.pid} on {holder.host} is running this study" in second.stderr
    os.kill(holder.pid, signal.SIGHUP)  # what closing the terminal sends
    wait_for(lambda: training_at(home, 1, 5), "the training does not begin")
    stopped = call(home, "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert not is_held(home / "echo-memory")
    last = trainings(home)[0]
    assert last.ending == "interrupted"
    assert last.step >= 5

    if interrupted:
        first = last
        foreground = subprocess.Popen(
            run_line(home), env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        wait_for(
            lambda: training_at(home, 2, first.step + 3) or foreground.poll() is not None, "nothing is taken up again"
        )
        foreground.send_signal(signal.SIGINT)  # nothing, if it has ended
        said, _ = foreground.communicate(timeout=120)
        assert foreground.returncode == 130, said
        last = trainings(home)[1]
        assert (last.ending, last.begun) == ("interrupted", first.step)
        assert last.step > first.step

    done = run(home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trainings(home)[-1].begun == last.step
    folder = Path(call(home, "path", LABEL).stdout.strip())
    assert published(folder, folder / "metrics.jsonl") == by_hand(home, tmp_path / "by-hand")
