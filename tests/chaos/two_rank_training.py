"""One row of the small study, trained by two ranks on one node or on two, by the real command line."""

import json
import os
import subprocess
from pathlib import Path

from small_study import CHECKOUT, ECHO_MATRIX, SMALL

from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.schema import Attempt
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Store

ON_ONE = "backend: ray\nray: {address: local, cpus: 2, devices: 0, memory_gib: null}\n"
REST = """\
store: {store}
tracking: {{kind: none, uri: null}}
retries: {{error: 1, out_of_memory: 1, vanished: 3, free_in_a_row: 10}}
pause_after: 3
grace_s: 20.0
idle_s: 60.0
unknown_s: 300.0
checkpoint_every_s: 0.02
deepspeed: {{zero_optimization: {{stage: {stage}, reduce_bucket_size: 1000000, allgather_bucket_size: 1000000}}}}
deterministic: true
keep: full
paths: {{}}
"""
TWO_RANKS = ("resources.train.ranks=2", "resources.train.cpus=2", "resources.train.memory_gib=6")
STEPS = 40
CHECKPOINTS = "echo-memory/attempts/*/*/checkpoints/step-*/manifest.json"


def start(
    home: Path, site: str, *overrides: str, row: str, zero_stage: int, store: str = "{kind: files}"
) -> "subprocess.Popen[str]":
    """`run` of a row as far as its training and one evaluation.

    `site`: the first lines of its cluster file; `store`: its section of that name.
    """
    home.mkdir()
    (home / "cluster.yaml").write_text(site + REST.format(stage=zero_stage, store=store), encoding="utf-8")
    small = [one for one in SMALL if not one.startswith("controls.training.steps")]
    command = [
        str(ECHO_MATRIX), "run", "--matrix", str(CHECKOUT / "matrix.yaml"),
        "--cluster", str(home / "cluster.yaml"), "--rows", row, "--branches", "replay",
        *small, f"controls.training.steps={STEPS}", *TWO_RANKS, *overrides,
    ]  # fmt: skip
    environment = {**os.environ, "ECHO_MATRIX_HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )


def ended_well(run: "subprocess.Popen[str]", within_s: float = 400.0) -> None:
    said, _ = run.communicate(timeout=within_s)
    assert run.returncode == 0, said


def published(home: Path, store: Store | None = None) -> dict[str, dict[str, str]]:
    """Label -> file -> digest of all that was published, but for metrics, which tell of the machine's speed."""
    store = store or FilesStore(home / "echo-memory" / "store")
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
