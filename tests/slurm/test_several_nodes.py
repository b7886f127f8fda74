"""A training over two nodes of a real SLURM, put back into the queue on the way, has the bits of two ranks on one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_site import CHAOS, Site

sys.path.insert(0, str(CHAOS))

from small_study import CHECKOUT, ECHO_MATRIX, SMALL

from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.store.files import FilesStore

Wait = Callable[[Callable[[], bool], str], None]

ZERO = "deepspeed: {zero_optimization: {stage: 1, reduce_bucket_size: 1000000, allgather_bucket_size: 1000000}}"
ON_ONE = "backend: ray\nray: {address: local, cpus: 2, devices: 0, memory_gib: null}\n"
ON_TWO = "backend: slurm\nslurm: {stages: {train: {nodes: 2}}, poll_s: 1.0}\n"
REST = f"""\
store: {{kind: files}}
tracking: {{kind: none, uri: null}}
retries: {{error: 1, out_of_memory: 1, vanished: 3, free_in_a_row: 10}}
pause_after: 3
grace_s: 20.0
idle_s: 60.0
unknown_s: 300.0
checkpoint_every_s: 0.02
{ZERO}
deterministic: true
keep: full
paths: {{}}
"""
ROW = "ssm-blockwise"
TWO_RANKS = ("resources.train.ranks=2", "resources.train.cpus=2", "resources.train.memory_gib=6")
STEPS = 40


def start(home: Path, cluster: str) -> "subprocess.Popen[str]":
    """`run` of one row as far as its training and one evaluation."""
    home.mkdir()
    (home / "cluster.yaml").write_text(cluster + REST, encoding="utf-8")
    small = [one for one in SMALL if not one.startswith("controls.training.steps")]
    command = [
        str(ECHO_MATRIX), "run", "--matrix", str(CHECKOUT / "matrix.yaml"),
        "--cluster", str(home / "cluster.yaml"), "--rows", ROW, "--branches", "replay",
        *small, f"controls.training.steps={STEPS}", *TWO_RANKS,
    ]  # fmt: skip
    environment = {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )


def ended_well(run: "subprocess.Popen[str]") -> None:
    said, _ = run.communicate(timeout=400)
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


def trainings(home: Path) -> list[tuple[str, str, int]]:
    """Attempts of the training: id, ending, the step it began from."""
    with Ledger.read(home / "echo-memory" / NAME) as ledger:
        return [(one.id, one.ending or "", one.begun) for one in ledger.attempts() if one.stage == "train"]


def test_two_nodes_train_what_two_ranks_on_one_node_train_and_a_requeue_changes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    one, two = tmp_path / "one", tmp_path / "two"
    on_two = start(two, ON_TWO)

    def job() -> str:
        lines = site.call("squeue", "--noheader", "--states=RUNNING", "--format=%i %j %N").splitlines()
        return next((line.split()[0] for line in lines if ":train/" in line and line.endswith("n[1-2]")), "")

    def saved() -> bool:
        return any(two.glob("echo-memory/attempts/*/*/checkpoints/step-*/manifest.json"))

    wait_until(lambda: bool(job()) and saved(), "a checkpoint of the training on two nodes")
    number = job()
    site.call("scontrol", "requeue", number)
    wait_until(lambda: site.call("squeue", "--noheader", "--format=%T", "--jobs", number) == "PENDING", "the requeue")
    site.call("scontrol", "update", f"JobId={number}", "StartTime=now")  # SLURM itself would let it wait two minutes
    ended_well(on_two)
    ended_well(start(one, ON_ONE))
    assert published(two) == published(one) and len(published(one)) == 5
    assert (two / "echo-memory/report/results.csv").read_bytes() == (
        one / "echo-memory/report/results.csv"
    ).read_bytes()
    (first, ending, begun), (second, well, resumed) = trainings(two)
    assert (ending, well, begun) == ("preempted", "ok", -1) and second == f"{first}.r1" and resumed > 0
    logs = sorted(path.name for path in two.glob(f"echo-memory/attempts/*/{second}/log*.txt"))
    assert logs == ["log-n1.txt", "log.txt"]
