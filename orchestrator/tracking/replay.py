"""Replay: what trackers are told of jobs, from commit records and the ledger instead of the events of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.plan.job import Job, Standing
from orchestrator.store.protocol import PROGRAM, Commit, Store
from orchestrator.tracking.protocol import JobChange


class RecordedAttempt(Protocol):
    """An attempt as the ledger has it."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def started(self) -> float | None:
        """Seconds since 1970."""

    @property
    def ended(self) -> float | None:
        """Seconds since 1970."""


def shown_files(job: Job) -> list[str]:
    """Patterns of the files of an artifact that trackers may show: tables, and what the stage names; no weights."""
    named = ["*.json", "*.jsonl", *(f"{folder}/{pattern}".lstrip("/") for folder, pattern, _ in job.spec.files)]
    return [*named, *(f"{part}/{pattern}" for part in job.parts if part for pattern in named)]


def completed_change(job: Job, store: Store, work: Path | None = None) -> JobChange:
    """What there is to show of a completed job; its times are those of its commit record.

    Args:
        job: of the plan.
        store: with its commit record.
        work: folder of the attempt; None: not on this machine.

    Raises:
        ArtifactMissing: there is no commit record, or its files are gone.
        StoreError: they cannot be read.
    """
    commit: Commit = store.read(job.fingerprint)
    return JobChange(
        job=job.id,
        standing=Standing(state="done", reason=""),
        attempt=commit.attempt,
        work=work,
        artifact=store.fetch_files(job.fingerprint, shown_files(job)),
        record=store.locate_record(job.fingerprint),
        place=store.locate(job.fingerprint),
        git=commit.git,
        version=commit.versions.get(PROGRAM, ""),
        manifest=commit.manifest,
        started=commit.started,
        ended=commit.ended,
    )


def ended_change(job: Job, standing: Standing, attempts: Sequence[RecordedAttempt]) -> JobChange:
    """What there is to show of a job that failed or was cancelled; its times are those of its last attempt."""
    last = attempts[-1] if attempts else None
    if last is None:
        return JobChange(job.id, standing)
    return JobChange(job.id, standing, last.id, started=last.started, ended=last.ended)
