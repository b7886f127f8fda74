"""`ro-crate-metadata.json`: the crate described for other programs, as RO-Crate 1.1 and Provenance Run Crate 0.5.

The matrix is the workflow, a stage is a step and a tool, each done job is an action of its tool that reads the
artifacts of its inputs and makes its own. Sources: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/provenance/0.5.
"""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from orchestrator.crate.layout import (
    ENVIRONMENT,
    MATRIX,
    METADATA,
    PLAN,
    README,
    REPORT,
    STUDY,
    artifact_path,
    commit_path,
)
from orchestrator.crate.listing import id_of
from orchestrator.plan.job import SHORT, Job, Plan
from orchestrator.store.protocol import Commit, ManifestEntry
from orchestrator.wording import counted
from reports.input import NUMBERS, PAGE, RESULTS

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
ENGINE, LANGUAGE, RUN, ORGANISED = "#echo-matrix", "#matrix-language", "#run", "#organise"
COMPLETED = "http://schema.org/CompletedActionStatus"

MEANINGS = {
    README: "What this crate is, and how to audit it",
    MATRIX: "The matrix: rows, controls, axes, seeds and profiles of the study",
    STUDY: "Profile, overrides, jobs that are not done, and durations",
    PLAN: "Every job of the plan, with all that it reads and its fingerprint",
    ENVIRONMENT: "Versions and kinds of hosts that made the results, and of what made the report",
    f"{REPORT}/{RESULTS}": "Every measured value",
    f"{REPORT}/{NUMBERS}": "Scores, intervals and the controls certificate",
    f"{REPORT}/{PAGE}": "The report",
}
ENCODINGS = {".jsonl": "application/jsonl", ".yaml": "application/yaml", ".safetensors": "application/octet-stream"}

NO_LICENSE = "No licence is stated: ask who has made the results"
"""RO-Crate asks for one."""

Entity = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CrateCredits:
    """What only people know."""

    author: str = ""
    """Name of who made the results; empty: not stated."""
    license: str = ""
    """URL or name of the licence of the crate; empty: not stated."""


def metadata_of(
    plan: Plan, commits: Mapping[str, Commit], files: Sequence[ManifestEntry], version: str, credits: CrateCredits
) -> Entity:
    """The metadata as a JSON-LD document.

    Args:
        plan: of the study.
        commits: job id -> its commit record, of the jobs that are done.
        files: every file of the crate but this one.
        version: of the orchestrator that writes the crate.
        credits: author and licence.
    """
    ended = max(commit.ended for commit in commits.values())
    folders = {artifact_path(commit): plan.jobs[job].label for job, commit in commits.items()}
    top = [file.path for file in files if _folder_of(file.path, folders) is None]
    graph: list[Entity] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": [_ref("https://w3id.org/ro/crate/1.1"), _ref(WORKFLOW_CRATE)],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"{plan.study}, profile {plan.profile}",
            "description": f"{counted(len(commits), 'result')} of {counted(len(plan.jobs), 'job')} of an experiment "
            "matrix, with what is needed to check them: `echo-matrix audit`",
            "datePublished": _time(ended)[:10],
            "license": _license(credits.license or NO_LICENSE),
            **({"author": _ref("#author")} if credits.author else {}),
            "conformsTo": [_ref(profile) for profile in PROFILES],
            "hasPart": _refs([*map(id_of, top), *(f"{id_of(path)}/" for path in folders)]),
            "mainEntity": _ref(MATRIX),
            "mentions": _refs([ORGANISED, RUN, *map(_action, commits)]),
        },
        *({"@id": url, "@type": "CreativeWork", "name": name, "version": of} for url, (name, of) in PROFILES.items()),
    ]
    if credits.license.startswith(("http://", "https://")):
        graph.append({"@id": credits.license, "@type": "CreativeWork", "name": credits.license})
    if credits.author:
        graph.append({"@id": "#author", "@type": "Person", "name": credits.author})
    graph += _workflow(plan, version)
    graph += _runs(plan, commits, credits)
    graph += _taken_over(commits)
    graph += [_file(file, plan) for file in files]
    graph += _datasets(commits, folders, files)
    return {"@context": CONTEXT, "@graph": graph}


def _workflow(plan: Plan, version: str) -> list[Entity]:
    stages = plan.workload.stages
    engine = {"@id": ENGINE, "@type": "SoftwareApplication", "name": "echo-matrix", "softwareVersion": version}
    language = {"@id": LANGUAGE, "@type": "ComputerLanguage", "name": "matrix.yaml of echo-matrix"}
    steps = [
        {
            "@id": f"#step-{stage.name}",
            "@type": "HowToStep",
            "name": stage.name,
            "position": str(position),
            "workExample": _ref(f"#tool-{stage.name}"),
        }
        for position, stage in enumerate(stages)
    ]
    tools = [
        {
            "@id": f"#tool-{stage.name}",
            "@type": "SoftwareApplication",
            "name": stage.module,
            "softwareVersion": f"revision {stage.revision}",
            "description": f"Stage {stage.name} of workload {plan.workload_name}",
        }
        for stage in stages
    ]
    return [engine, language, *steps, *tools]


def _runs(plan: Plan, commits: Mapping[str, Commit], credits: CrateCredits) -> list[Entity]:
    """The run of the whole matrix, and of each job."""
    started, ended = min(one.started for one in commits.values()), max(one.ended for one in commits.values())
    agent = {"agent": _ref("#author")} if credits.author else {}
    times = {"startTime": _time(started), "endTime": _time(ended)}
    found: list[Entity] = [
        {
            "@id": RUN,
            "@type": "CreateAction",
            "name": f"Run of {plan.study}, profile {plan.profile}",
            "instrument": _ref(MATRIX),
            "description": f"{counted(len(commits), 'job')} of profile {plan.profile}, and the report of their results",
            "object": _ref(STUDY),
            "result": _refs([*(f"{id_of(artifact_path(one))}/" for one in commits.values()), *_reports()]),
            "actionStatus": COMPLETED,
            **agent,
            **times,
        },
        {
            "@id": ORGANISED,
            "@type": "OrganizeAction",
            "name": "Run of echo-matrix",
            "instrument": _ref(ENGINE),
            "object": _refs(f"#control-{job}" for job in commits),
            "result": _ref(RUN),
            **agent,
            **times,
        },
    ]
    for job, commit in commits.items():
        planned = plan.jobs[job]
        found.append(
            {
                "@id": f"#control-{job}",
                "@type": "ControlAction",
                "name": f"Job {planned.label}",
                "instrument": _ref(f"#step-{planned.stage}"),
                "object": _ref(_action(job)),
            }
        )
        found.append(
            {
                "@id": _action(job),
                "@type": "CreateAction",
                "name": planned.label,
                "description": f"Fingerprint {commit.fingerprint}, attempt {commit.attempt}, on {commit.host_kind}",
                "instrument": _ref(f"#tool-{planned.stage}"),
                "object": _read(planned, commit, commits),
                "result": [_ref(f"{id_of(artifact_path(commit))}/"), _ref(commit_path(commit.fingerprint))],
                "startTime": _time(commit.started),
                "endTime": _time(commit.ended),
                "actionStatus": COMPLETED,
                **agent,
            }
        )
    return found


def _read(job: Job, commit: Commit, commits: Mapping[str, Commit]) -> Entity | list[Entity]:
    """What a job read: the plan, artifacts, and results from which it took items over."""
    inputs = [commits[need] for need in job.inputs.values() if need in commits]
    artifacts = (f"{id_of(artifact_path(one))}/" for one in inputs)
    return _refs([PLAN, *artifacts, *(_earlier(manifest) for manifest in sorted(set(commit.taken.values())))])


def _taken_over(commits: Mapping[str, Commit]) -> Iterable[Entity]:
    """The results from which jobs took items over, by their manifests: their files are not in the crate."""
    taken = {manifest: name for commit in commits.values() for name, manifest in commit.taken.items()}
    for manifest, name in sorted(taken.items()):
        jobs = sum(commit.taken.get(name) == manifest for commit in commits.values())
        yield {
            "@id": _earlier(manifest),
            "@type": "CreativeWork",
            "name": f"Result {name[:SHORT]}, from before the study was changed",
            "description": f"Fingerprint {name}; its manifest has the sha256 {manifest}. "
            f"{counted(jobs, 'job')} took items over from it; each has them in its own artifact",
        }


def _earlier(manifest: str) -> str:
    return f"#earlier-{manifest}"


def _file(file: ManifestEntry, plan: Plan) -> Entity:
    suffix = PurePosixPath(file.path).suffix
    kind = ENCODINGS.get(suffix) or mimetypes.guess_type(file.path, strict=False)[0] or "application/octet-stream"
    found: Entity = {
        "@id": id_of(file.path),
        "@type": "File",
        "name": file.path.rpartition("/")[2],
        "contentSize": str(file.size),
        "encodingFormat": kind,
        "sha256": file.sha256,
    }
    if file.path in MEANINGS:
        found["description"] = MEANINGS[file.path]
    if file.path == README:
        found["about"] = _ref("./")
    if file.path == MATRIX:
        stages = [stage.name for stage in plan.workload.stages]
        found |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "programmingLanguage": _ref(LANGUAGE),
            "version": plan.controls_fingerprint[:SHORT],
            "step": _refs(f"#step-{name}" for name in stages),
            "hasPart": _refs(f"#tool-{name}" for name in stages),
        }
    return found


def _datasets(
    commits: Mapping[str, Commit], folders: Mapping[str, str], files: Sequence[ManifestEntry]
) -> Iterable[Entity]:
    """The artifacts, each with those of its files that are in the crate."""
    parts: dict[str, list[str]] = {folder: [] for folder in folders}
    for file in files:
        folder = _folder_of(file.path, folders)
        if folder is not None:
            parts[folder].append(id_of(file.path))
    for commit in commits.values():
        folder = artifact_path(commit)
        yield {
            "@id": f"{id_of(folder)}/",
            "@type": "Dataset",
            "name": f"Result of {folders[folder]}",
            "description": f"Its manifest has the sha256 {commit.manifest}",
            "hasPart": _refs(parts[folder]),
        }


def _folder_of(path: str, folders: Mapping[str, str]) -> str | None:
    """The artifact's folder that a file is in; None: it is in none."""
    return next((str(above) for above in PurePosixPath(path).parents if str(above) in folders), None)


def _reports() -> list[str]:
    return [path for path in MEANINGS if path.startswith(f"{REPORT}/")]


def _action(job: str) -> str:
    return f"#job-{job}"


def _ref(id: str) -> Entity:
    return {"@id": id}


def _refs(ids: Iterable[str]) -> Entity | list[Entity]:
    """References; a single one is no list, as RO-Crate 1.1 recommends."""
    found = [_ref(id) for id in ids]
    return found[0] if len(found) == 1 else found


def _license(text: str) -> Any:
    return _ref(text) if text.startswith(("http://", "https://")) else text


def _time(at: float) -> str:
    """Seconds since 1970 as ISO 8601, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
