"""The tutorial's study as a finished run leaves it, with made-up values instead of trainings."""

import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from toy_study import commit_of

from orchestrator.opening import HOME_VARIABLE, open_study
from orchestrator.plan.job import Job
from orchestrator.study import Study

DIGITS = Path(__file__).parents[1] / "docs" / "tutorials" / "digits"
CASES = 8


def finished_study(folder: Path, monkeypatch: pytest.MonkeyPatch, *, without: Collection[str] = ()) -> Study:
    """The study in `folder`, which becomes the current one: two seeds, no axis, and all results but those of `without`.

    `without`: labels of jobs.
    """
    shutil.copytree(_finished(), folder, dirs_exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    study = open_study(Path("matrix.yaml"))
    for job in study.plan.jobs.values():
        if job.label in without:
            study.store.withdraw(job.fingerprint)
    return study


def accuracy(row: str, seed: int, branch: str, case: int) -> float:
    """`mlp` and `conv` are alike on `clean` and better than `linear`; `conv` is best on `shifted`. Seeds differ."""
    base = {"linear": 0.5, "mlp": 0.75, "conv": 0.75}[row] + (0.2 if (row, branch) == ("conv", "shifted") else 0.0)
    return base + 0.01 * (zlib.crc32(f"{row}{seed}{branch}{case}".encode()) % 8 - 3.5) / 3.5


@cache
def _finished() -> Path:
    """A study to copy, whose package this process can import; the folder goes when the process ends."""
    held = tempfile.TemporaryDirectory(prefix="finished-study-")
    _HELD.append(held)
    folder = Path(held.name)
    shutil.copytree(DIGITS, folder, dirs_exist_ok=True)
    sys.path.append(str(folder))
    matrix = folder / "matrix.yaml"
    text = re.sub(r"^axes:\n  .*$", "axes: {}", matrix.read_text(encoding="utf-8"), flags=re.M)
    matrix.write_text(re.sub(r"^seeds: .*$", "seeds: [0, 1]", text, flags=re.M), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "outputs"))
        study = open_study(matrix)
        for job in study.plan.jobs.values():
            finish(study, job)
    return folder


_HELD: list[tempfile.TemporaryDirectory[str]] = []


def finish(study: Study, job: Job) -> None:
    """Commit a job of it, with made-up values; what it needs is done."""
    folder = study.store.prepare(job.stage, job.fingerprint, "a001")
    folder.mkdir(parents=True, exist_ok=True)
    if job.branch is None:
        (folder / "metrics.jsonl").write_text('{"step": 1, "name": "loss", "value": 0.5, "wall": 1.0}\n')
        (folder / "result.bin").write_bytes(job.fingerprint.encode())  # what a dependent job reads
    else:
        cell = next(cell for cell in study.plan.cells if cell.id in job.cells)
        common = {"metric": "accuracy", "unit": "share", "better": "high"}
        lines = [
            {"case": f"digits/{case}/0", **common, "value": accuracy(cell.row, cell.seed, job.branch, case)}
            for case in range(CASES)
        ]
        (folder / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made: dict[str, Any] = {"code": "c", "git": "abc123", "host_kind": "cpu", "started": 10.0, "ended": 13.0}
    read = {stage: study.store.read(study.plan.jobs[need].fingerprint) for stage, need in job.inputs.items()}
    inputs = {stage: {"fingerprint": one.fingerprint, "manifest": one.manifest} for stage, one in read.items()}
    commit = replace(commit_of(job, "a001"), **made, inputs=inputs, result={"steps": 1, "records": {}, "cost": {}})
    assert study.store.commit(commit, folder)
