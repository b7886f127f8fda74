"""A training over two nodes of a Ray cluster, of which one is killed, has the bits of two ranks on one node."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Marked
from small_study import CHECKOUT, ECHO_MATRIX, SMALL
from standing import Standing, end
from toy_jobs import wait_until

from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.store.files import FilesStore

CLUSTER = """\
backend: ray
ray: {{{ray}}}
store: {{kind: files}}
tracking: {{kind: none, uri: null}}
retries: {{error: 1, out_of_memory: 1, vanished: 3, free_in_a_row: 10}}
pause_after: 3
grace_s: 20.0
idle_s: 60.0
unknown_s: 300.0
checkpoint_every_s: 0.02
deepspeed: {{zero_optimization: {{stage: 2, reduce_bucket_size: 1000000, allgather_bucket_size: 1000000}}}}
deterministic: true
keep: full
paths: {{}}
"""
ROW = "context-k5"
TWO_RANKS = ("resources.train.ranks=2", "resources.train.cpus=2", "resources.train.memory_gib=6")
STEPS = 40
ENDS_S = 500.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Standing, dict[str, Marked]]]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Standing(cpus=0)
    marks = {name: made.add_node(1, name) for name in ("left", "right")}
    yield made, marks
    for mark in marks.values():
        end(mark)
    made.close()


def start(home: Path, ray: str, *overrides: str) -> "subprocess.Popen[str]":
    """`run` of one row as far as its training and one evaluation."""
    home.mkdir()
    (home / "cluster.yaml").write_text(CLUSTER.format(ray=ray), encoding="utf-8")
    small = [one for one in SMALL if not one.startswith("controls.training.steps")]
    command = [
        str(ECHO_MATRIX), "run", "--matrix", str(CHECKOUT / "matrix.yaml"),
        "--cluster", str(home / "cluster.yaml"), "--rows", ROW, "--branches", "replay",
        *small, f"controls.training.steps={STEPS}", *TWO_RANKS, *overrides,
    ]  # fmt: skip
    environment = {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )


def ended_well(run: "subprocess.Popen[str]") -> None:
    said, _ = run.communicate(timeout=ENDS_S)
    assert run.returncode == 0, said


def published(home: Path) -> dict[str, dict[str, str]]:
    """Label -> file -> digest of all that was published, but for metrics, which tell of the machine's speed."""
    store = FilesStore(home / "echo-memory" / "store")
    found = {}
    for fingerprint in store.commits():
        manifest = json.loads((store.fetch(fingerprint) / "manifest.json").read_text(encoding="utf-8"))
        digests = {line["path"]: line["sha256"] for line in manifest["files"] if line["path"] != "metrics.jsonl"}
        found[store.read(fingerprint).label] = digests
    return found


def trainings(home: Path) -> list[Attempt]:
    """Attempts of the training."""
    with Ledger.read(home / "echo-memory" / NAME) as ledger:
        return [one for one in ledger.attempts() if one.stage == "train"]


def test_two_nodes_train_what_two_ranks_on_one_node_train_though_one_of_them_is_killed(
    cluster: tuple[Standing, dict[str, Marked]], tmp_path: Path
) -> None:
    standing, marks = cluster
    one, two = tmp_path / "one", tmp_path / "two"
    run = start(two, f"address: '{standing.address}'", "resources.train.nodes=2")
    wait_until(
        lambda: run.poll() is not None or any(two.glob("echo-memory/attempts/*/*/checkpoints/step-*/manifest.json")),
        "a checkpoint of the training on two nodes",
        ENDS_S,
    )
    assert run.poll() is None, run.communicate()[0]
    marks["late"] = standing.add_node(1, "late")
    end(marks.pop("right"))
    ended_well(run)
    ended_well(start(one, "address: local, cpus: 2, devices: 0, memory_gib: null"))
    assert published(two) == published(one) and len(published(one)) == 5
    (first, second) = trainings(two)
    assert (first.ending, first.failed_on, set(first.placement.hosts)) == ("node_lost", "right", {"left", "right"})
    assert (second.ending, set(second.placement.hosts)) == ("ok", {"left", "late"}) and second.begun > 0
