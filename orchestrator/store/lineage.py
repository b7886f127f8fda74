"""Lineage: in which artifact an item was made, and whether two jobs that read it have read the same.

A grown study reads an input by its items, so that jobs have read them from different artifacts: one that was there
before it grew, and the one of now. They have read the same where the items were made once and taken over since.
"""

from collections.abc import Iterable, Mapping

from orchestrator.plan.fingerprint import base_of
from orchestrator.plan.job import Job
from orchestrator.store.protocol import Commit


def made_in(commit: Commit, items: Iterable[str]) -> dict[str, str]:
    """Item of a finished job -> manifest of the artifact in which it was made."""
    return {item: commit.origins.get(item, commit.manifest) for item in items}


def of_own(origins: Mapping[str, str], items: Iterable[str]) -> dict[str, str]:
    """Those of a job's own items: one that continues another has taken over an item that it has not."""
    return {item: origins[item] for item in items if item in origins}


def is_recognised(commit: Commit) -> bool:
    """Whether all items were in another artifact, so that no attempt has run (`schedule.recognition`)."""
    return bool(commit.taken) and commit.started == commit.ended


def reads_by_item(job: Job, stage: str, need: Job) -> bool:
    """Whether any artifact with the items that a job reads will do as its input of a stage."""
    return need.items is not None and stage in job.named


def is_input(job: Job, stage: str, need: Job, fingerprint: str) -> bool:
    """Whether the artifact of a fingerprint may be what a job has read of a stage, which its plan gives as `need`."""
    return fingerprint == need.fingerprint or (reads_by_item(job, stage, need) and base_of(fingerprint) == need.base)


def items_as_read(job: Job, stage: str, read: Mapping[str, str], source: Commit | None) -> dict[str, str]:
    """Item that a job has read of a stage -> manifest of the artifact in which it was made.

    Args:
        job: that reads items of the stage.
        stage: one of its inputs.
        read: fingerprint and manifest, of its commit record.
        source: the record of what it has read; None: there is none any more, and it counts as made there.
    """
    names = job.items_read(stage)
    if source is None or source.manifest != read.get("manifest"):
        return dict.fromkeys(names, str(read.get("manifest")))
    return made_in(source, names)
