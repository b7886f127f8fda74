"""What somebody does to a crate who wants other results in it: each step covers more of the traces."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.description import read_description
from orchestrator.crate.layout import METADATA, REPORT, artifact_path, commit_path
from orchestrator.plan.job import Job, Plan
from orchestrator.reporting.collect import report_input
from reports.build import build


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=path.parent.name == "commits"), encoding="utf-8")


def folder_of(crate: Path, job: Job) -> Path:
    return crate / artifact_path(CrateStore(crate).read(job.fingerprint))


def forge_value(crate: Path, job: Job, value: float) -> Path:
    """Change the first value of a job; returns the file."""
    path = folder_of(crate, job) / "cases.jsonl"
    first, *others = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), "value": value}), *others]) + "\n", encoding="utf-8")
    return path


def resign_files(crate: Path) -> None:
    """Write size and sha256 of every file into the metadata."""

    def change(content: Any) -> None:
        for entity in content["@graph"]:
            path = crate / str(entity["@id"])
            if "sha256" in entity:
                entity |= {"sha256": sha256(path), "contentSize": str(path.stat().st_size)}

    change_json(crate / METADATA, change)


def resign_manifest(crate: Path, job: Job) -> None:
    """Write size and sha256 of an artifact's files, as they are now, into its manifest."""
    folder = folder_of(crate, job)

    def change(content: Any) -> None:
        for entry in content["files"]:
            path = folder / entry["path"]
            if path.is_file():
                entry |= {"sha256": sha256(path), "size": path.stat().st_size}

    change_json(folder / "manifest.json", change)


def resign_commit(crate: Path, job: Job) -> None:
    """Write the digest of an artifact's manifest, as it is now, into its commit record."""
    digest = sha256(folder_of(crate, job) / "manifest.json")
    change_json(crate / commit_path(job.fingerprint), lambda record: record.update(manifest=digest))


def remake_report(crate: Path, plan: Plan) -> None:
    """Write the report of the values as they are now."""
    description = read_description(crate)
    given = report_input(
        plan, description.standings(plan), CrateStore(crate), description.durations, description.registered
    )
    build(crate / REPORT, given)
