"""Recognition: jobs whose items are all in the artifact of another job get commit records without being run.

The files are those of the other job, linked where the disk can, so that each job has an artifact of its own: what reads
or deletes results needs to know nothing of this.
"""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import ArtifactMissing
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.job import Job
from orchestrator.schedule.launcher import new_attempt_id
from orchestrator.store.lineage import made_in
from orchestrator.store.manifest import NAME as MANIFEST
from orchestrator.store.protocol import Commit, Store


def recognise(jobs: Iterable[Job], finished: FinishedItems, store: Store) -> frozenset[str]:
    """Commit the jobs that are within finished ones; returns their fingerprints.

    One whose artifact is gone meanwhile is left out: it is run.

    Args:
        jobs: of a plan, not done.
        finished: of the store.
        store: of the study.

    Raises:
        StoreError, OSError: the store cannot be read or written.
    """
    found: set[str] = set()
    for job in jobs:
        if (within := finished.growth(job).within) and _adopt(job, within, store):
            finished.add(job.fingerprint)
            found.add(job.fingerprint)
    return frozenset(found)


def _adopt(job: Job, within: str, store: Store) -> bool:
    attempt = new_attempt_id(0)  # the attempts that compute are counted from 1
    try:
        made, source = store.read(within), store.fetch(within)
    except ArtifactMissing:
        return False
    try:
        folder = store.prepare(job.stage, job.fingerprint, attempt)
        _link_all(source, folder)
    finally:
        store.release(source)
    now = time.time()
    commit = replace(
        made,
        fingerprint=job.fingerprint,
        attempt=attempt,
        job=job.id,
        label=job.label,
        manifest="",
        result={**made.result, "records": _of_its_items(made, job)},
        items=job.items or {},
        taken={within: made.manifest},
        origins=made_in(made, job.items or {}),
        started=now,
        ended=now,
    )
    if job.spec.kept_videos and (within, made.attempt) in store.removed():
        store.remove_files(commit, [job.spec.kept_videos])  # it has none either, and says so before it is there
    store.commit(commit, folder)
    return True


def _of_its_items(made: Commit, job: Job) -> Mapping[str, Any]:
    """The records, those of items restricted to the job's own."""
    records = dict(made.result.get("records", {}))
    for name in job.spec.of_items:
        if isinstance(records.get(name), Mapping):
            records[name] = {item: value for item, value in records[name].items() if item in (job.items or {})}
    return records


def _link_all(source: Path, target: Path) -> None:
    for place, _, names in os.walk(source):
        inside = target / Path(place).relative_to(source)
        inside.mkdir(parents=True, exist_ok=True)
        for name in names:
            if Path(place, name) == source / MANIFEST:
                continue
            try:
                os.link(Path(place, name), inside / name)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(Path(place, name), inside / name)
