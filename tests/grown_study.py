"""A study that grows, with made-up results: its jobs take over what earlier ones have, as a run does."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toy_study import commit_of

from orchestrator.plan.growth import FinishedItems, Growth
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.select import select
from orchestrator.schedule.recognition import recognise
from orchestrator.store.lineage import made_in
from orchestrator.store.protocol import Commit, Store

SMALL = ("branches.return.cases=12", "controls.data.open_variants=4", "controls.data.held_out_scenes=8")
LARGE = ("branches.return.cases=20", "controls.data.open_variants=5", "controls.data.held_out_scenes=9")
"""What a study had, and has once it has grown."""


def value(label: str, case: str) -> float:
    """A value of a case that depends on nothing else."""
    return float(zlib.crc32(f"{label}{case}".encode()) % 1000)


def finish(plan: Plan, store: Store, rows: str, *, stages: Iterable[str] = ()) -> dict[str, Growth]:
    """Commit a result of each job of some rows that has none, or only of these stages; returns what each took over."""
    chosen = select(plan, rows)
    wanted = [job for job in plan.jobs.values() if job.id in chosen and (not stages or job.stage in stages)]
    done = store.commits()
    finished = FinishedItems(done, store.read)
    done |= recognise((job for job in wanted if job.fingerprint not in done), finished, store)
    grown: dict[str, Growth] = {}
    for job in wanted:
        if job.fingerprint in done:
            continue
        grown[job.label] = finished.growth(job)
        _commit(plan, store, job, grown[job.label])
        finished.add(job.fingerprint)
    return grown


def _commit(plan: Plan, store: Store, job: Job, growth: Growth) -> None:
    folder = store.prepare(job.stage, job.fingerprint, "a001-x")
    _write(job, folder)
    taken = {one: store.read(one.fingerprint) for one in growth.taken}
    sources = {stage: store.read(plan.jobs[need].fingerprint) for stage, need in job.inputs.items()}
    changed: dict[str, Any] = {
        "inputs": {stage: {"fingerprint": one.fingerprint, "manifest": one.manifest} for stage, one in sources.items()},
        "result": {"steps": 1, "records": {}, "cost": {}},
        "items": job.items or {},
        "measured": job.measured,
        "taken": {one.fingerprint: record.manifest for one, record in taken.items()},
        "origins": {item: made for one, record in taken.items() for item, made in made_in(record, one.items).items()},
    }
    store.commit(Commit(**{**vars(commit_of(job, "a001-x")), **changed}), folder)


def _write(job: Job, folder: Path) -> None:
    if job.branch is None:
        (folder / "result.txt").write_text(job.fingerprint, encoding="utf-8")
        (folder / "metrics.jsonl").write_text('{"step": 1, "name": "loss", "value": 0.5, "wall": 1.0}\n')
        return
    common = {"metric": f"made_up_{job.stage}", "unit": "1", "better": "high"}
    lines = [{"case": case, **common, "value": value(job.label, case)} for case in job.items or ()]
    (folder / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
