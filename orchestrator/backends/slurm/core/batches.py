"""Batches on disk: what the jobs of one sbatch need to know, and by what name and index each attempt is found.

`slurm/{batch}/jobs.json` is written before sbatch, so that the next driver can look for jobs whose
number was never recorded; it is removed where SLURM certainly has no job of the name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.backends.protocol import Submission
from orchestrator.backends.slurm.core.submit import SbatchJob
from orchestrator.errors import BackendError
from orchestrator.host.job import JOBS, SUBMISSION
from workloads.contract.json_files import read_object, write_object


def write_batch(batch: SbatchJob, group: Sequence[Submission], description: Mapping[str, Any]) -> None:
    """Write what the jobs of a batch read."""
    for submission, work in zip(group, batch.works, strict=True):
        work.mkdir(parents=True, exist_ok=True)
        (work / SUBMISSION).write_text(json.dumps(asdict(submission)), encoding="utf-8")
    batch.folder.mkdir(parents=True, exist_ok=True)
    works = [str(work) for work in batch.works]
    content = {**description, "name": batch.name, "works": works, "short_limit": batch.short_limit}
    write_object(batch.folder / JOBS, content)


@dataclass(frozen=True, kw_only=True)
class BatchEntry:
    """What a batch on disk says of one of its attempts."""

    name: str = ""
    """Of the job; empty: no batch has the attempt."""
    index: int | None = None
    """In its array; None: it is a plain job."""
    short_limit: bool = False
    """See `SbatchJob`."""


def read_batches(home: Path) -> dict[Path, BatchEntry]:
    """Folder of an attempt -> its entry.

    Raises:
        BackendError: a list cannot be read, so nobody can tell what it has submitted.
    """
    found: dict[Path, BatchEntry] = {}
    for path in (home / "slurm").glob(f"*/{JOBS}"):
        try:
            content = read_object(path)
            works, name = [str(work) for work in content["works"]], str(content["name"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackendError(
                f"{path} cannot be read ({error}); put its folder aside once its job has ended"
            ) from error
        for index, work in enumerate(works):
            found[Path(work)] = BatchEntry(
                name=name,
                index=index if len(works) > 1 else None,
                short_limit=content.get("short_limit") is True,
            )
    return found
