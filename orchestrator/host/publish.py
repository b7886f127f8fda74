"""Publication: what a finished attempt wrote becomes a committed artifact in the store."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.store.lineage import of_own
from orchestrator.store.protocol import PROGRAM, Commit, Store
from workloads.contract.metrics import METRICS
from workloads.contract.result import Result


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made an artifact, in addition to its request."""

    code: str
    """Digest of the code that ran."""
    git: str
    host_kind: str
    version: str = ""
    """Of the code that ran; empty: not known."""


def publish(
    store: Store,
    *,
    request: Mapping[str, Any],
    submission: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, str]],
    taken: Mapping[str, str],
    origins: Mapping[str, str],
    result: Result,
    provenance: Provenance,
    started: float,
    ended: float,
) -> bool:
    """Publish what an attempt wrote and commit it; True: the commit record is this attempt's.

    Its metrics are published too; checkpoints stay in the attempts' folders until the controller deletes them.

    Args:
        store: of the study.
        request: as written to request.json.
        submission: with the job's name for people, and its items.
        inputs: as `fetch_inputs` returned them.
        taken, origins: as `fetch_finished` did.
        result: with ending ok.
        provenance: of the node.
        started, ended: wall clock of the first rank's start and of the last rank's end, seconds.

    Raises:
        StoreError, OSError: it could not be written; nothing has been published.
    """
    work, out = Path(request["work"]), Path(request["out"])
    metrics = work / METRICS
    if metrics.is_file() and metrics.stat().st_size > 0:
        shutil.copyfile(metrics, out / METRICS)
    ours = {PROGRAM: provenance.version} if provenance.version else {}
    versions = {str(name): str(version) for name, version in dict(result.records.get("versions", {})).items()}
    return store.commit(
        Commit(
            fingerprint=request["fingerprint"],
            attempt=request["attempt"],
            stage=request["stage"],
            branch=request["branch"],
            job=request["job"],
            label=submission["label"],
            manifest="",
            inputs=inputs,
            code=provenance.code,
            git=provenance.git,
            versions={**ours, **versions},
            host_kind=str(result.records.get("device_kind", provenance.host_kind)),
            started=started,
            ended=ended,
            result={"steps": result.steps, "records": result.records, "cost": result.cost},
            items=submission.get("items", {}),
            measured=submission.get("measured", ""),
            taken=taken,
            origins=of_own(origins, submission.get("items", {})),
        ),
        out,
    )
