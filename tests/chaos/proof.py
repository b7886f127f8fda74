"""What a finished study came to, and everything that must hold however often it was killed on the way.

`taken` reads the results; `differences` compares two of them; `wrongs` looks for what a kill may
leave: a job committed twice or begun again after it was done, an open attempt, a temporary file, a
step that MLflow has twice.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_study import ROWS, STEPS, SmallStudy

from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.schema import Attempt

JOBS = 3 + len(ROWS) * (1 + 3 + 2 + 2)
"""data, latents, index; and a row's training, three evaluations and two judgings."""
MEASURED = ("samples_per_s", "tokens_per_s", "memory_mib")
"""Metrics that tell of the machine: their steps are compared, their values cannot be."""
PROVENANCE = ("git", "cost", "durations")
"""Parts of report.json that tell of the machine and the checkout."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Results of a finished study that must not depend on what was killed."""

    table: bytes
    """results.csv; empty where no report was written."""
    report: Mapping[str, Any]
    files: Mapping[str, Mapping[str, str]]
    """Label -> path -> sha256 of what was published, metrics apart."""
    metrics: Mapping[str, list[tuple[int, str, float]]]
    """Label -> (step, name, value), in order."""


def taken(study: SmallStudy) -> Proof:
    """Its results."""
    store, folder = study.store, study.folder
    files: dict[str, dict[str, str]] = {}
    metrics: dict[str, list[tuple[int, str, float]]] = {}
    for fingerprint in store.commits():
        label, artifact = store.read(fingerprint).label, store.fetch(fingerprint)
        files[label] = {entry.path: entry.sha256 for entry in store.manifest(fingerprint)}
        if files[label].pop("metrics.jsonl", None):
            metrics[label] = list(_values(artifact / "metrics.jsonl"))
    report, table = folder / "report" / "report.json", folder / "report" / "results.csv"
    return Proof(
        table=table.read_bytes() if table.is_file() else b"",
        report=json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {},
        files=files,
        metrics=metrics,
    )


def differences(reference: Proof, other: Proof) -> list[str]:
    """In words, what `other` has otherwise than the undisturbed run; empty: nothing."""
    found = [] if reference.table == other.table else ["results.csv differs"]
    for key in sorted(set(reference.report) | set(other.report)):
        if key not in PROVENANCE and reference.report.get(key) != other.report.get(key):
            found.append(f"report.json: {key} differs")
    for label in sorted(set(reference.files) | set(other.files)):
        mine, its = reference.files.get(label, {}), other.files.get(label, {})
        found += [
            f"{label}: {path} differs" for path in sorted(set(mine) | set(its)) if mine.get(path) != its.get(path)
        ]
        if reference.metrics.get(label) != other.metrics.get(label):
            found.append(f"{label}: metrics.jsonl differs: {_first_difference(reference, other, label)}")
    return found


def wrongs(study: SmallStudy, *, jobs: int = JOBS) -> list[str]:
    """In words, what a kill has left behind in a study whose run has ended well; empty: nothing."""
    return [*_wrong_in_the_books(study, jobs), *_left_lying(study.folder)]


def doubled_points(database: Path) -> list[str]:
    """Points that the SQLite file behind MLflow holds more than once, and cells with more than one run."""
    found: list[str] = []
    if not database.exists():
        return found
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        runs = dict(db.execute("SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active'"))
        for name, number in Counter(runs.values()).items():
            if number > 1:
                found.append(f"MLflow: {number} runs of {name}")
        query = "SELECT run_uuid, key, step, count(*) FROM metrics GROUP BY 1, 2, 3 HAVING count(*) > 1"
        for run, key, step, number in db.execute(query):
            found.append(f"MLflow: {runs.get(run)}: {key} has step {step} {number} times")
    db.close()
    return found


def missing_points(database: Path, proof: Proof) -> list[str]:
    """Steps of the loss that MLflow does not hold with the value that was published, and runs not finished."""
    if not database.exists():
        return ["MLflow: there is no database"]
    found = []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        for row in ROWS:
            cell = f"{row}/s0"
            query = "SELECT run_uuid, status FROM runs WHERE name = ? AND lifecycle_stage = 'active'"
            runs = db.execute(query, (cell,)).fetchall()
            if not runs:
                found.append(f"MLflow: no run of {cell}")
                continue
            run, status = runs[0]
            query = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = 'train/loss'"
            sent = sorted(db.execute(query, (run,)))
            made = [(step, value) for step, name, value in proof.metrics[f"train/{cell}"] if name == "loss"]
            if [step for step, _ in made] != list(range(1, STEPS + 1)):
                found.append(f"{cell}: steps of metrics.jsonl are {[step for step, _ in made]}")
            if sent != made:
                steps = sorted({step for step, _ in made} ^ {step for step, _ in sent})
                found.append(f"MLflow: {cell}: train/loss differs; steps on one side only: {steps}")
            if status != "FINISHED":
                found.append(f"MLflow: {cell} is {status}")
    db.close()
    return found


def attempts_begun(study: SmallStudy) -> dict[str, int]:
    """Label -> attempts, on all machines."""
    return dict(Counter(attempt.label for attempt in _attempts(study)))


def _attempts(study: SmallStudy) -> list[Attempt]:
    """All attempts on all machines, in the order in which they began; as the last machine that knows one has it."""
    found: dict[str, Attempt] = {}
    for folder in (*study.lost, study.folder):
        if (folder / NAME).exists():  # a machine may be lost before it has one
            with Ledger.read(folder / NAME) as ledger:
                found.update({attempt.id: attempt for attempt in ledger.attempts()})
    return list(found.values())


def _wrong_in_the_books(study: SmallStudy, jobs: int) -> Iterable[str]:
    store = study.store
    commits = store.commits()
    if len(commits) != jobs:
        yield f"{len(commits)} of {jobs} jobs are committed"
    with Ledger.read(study.folder / NAME) as ledger:
        for attempt in ledger.open_attempts():
            yield f"ledger: {attempt.label} {attempt.id} is open"
    attempts = _attempts(study)
    for fingerprint in commits:
        commit = store.read(fingerprint)
        tried = [attempt for attempt in attempts if attempt.fingerprint == fingerprint]
        won = [attempt.id for attempt in tried if attempt.ending == "ok"]
        if won != [commit.attempt]:
            yield f"ledger: {commit.label}: attempts that ended well are {won}, the COMMIT names {commit.attempt}"
        elif tried[-1].id != commit.attempt:
            yield f"ledger: {commit.label} was begun again after {commit.attempt} had finished it"
        for attempt in tried:
            if attempt.ending in ("error", "bad_input", "diverged", "out_of_memory"):  # nothing done to it explains it
                yield f"ledger: {commit.label} {attempt.id} ended as {attempt.ending}: {attempt.detail}"


def _left_lying(folder: Path) -> Iterable[str]:
    for path in (folder / "store").rglob(".*"):
        yield f"store: {path.relative_to(folder)} is left"
    for pattern in ("attempts/*/*/checkpoints", "attempts/*/*/.upload-*", "store/attempts/*/*/*"):
        for path in folder.glob(pattern):
            yield f"{path.relative_to(folder)} is left of a job that is done"
    if (folder / "driver.json").exists():
        yield "driver.json is left"
    for path in (folder / "inbox").glob("*"):
        yield f"{path.relative_to(folder)} is left"


def _values(path: Path) -> Iterable[tuple[int, str, float]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        point = json.loads(line)
        yield point["step"], point["name"], 0.0 if point["name"] in MEASURED else point["value"]


def _first_difference(reference: Proof, other: Proof, label: str) -> str:
    mine, its = reference.metrics.get(label, []), other.metrics.get(label, [])
    for one, two in zip(mine, its, strict=False):
        if one != two:
            return f"{two} in place of {one}"
    return f"{len(its)} points in place of {len(mine)}"
