"""Checks of what a crate records: its files, commit records, their chain, artifacts and code.

No code of a study is needed for them.

The chain: a commit record holds the sha256 of its artifact's manifest, the manifest that of each file, and each record
holds the manifests of the artifacts that its job has read.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.description import CrateDescription
from orchestrator.crate.environment import jobs_by_environment
from orchestrator.crate.findings import AuditCheck, Mismatch
from orchestrator.crate.layout import CODE, ENVIRONMENT, METADATA, STUDY, artifact_path, commit_path, values_of
from orchestrator.crate.listing import CrateListing, files_in
from orchestrator.errors import StoreError
from orchestrator.host.code import digest_of
from orchestrator.plan.job import SHORT, Plan
from orchestrator.store.manifest import NAME as MANIFEST
from orchestrator.store.manifest import read_manifest, sha256_of
from orchestrator.store.protocol import Commit
from orchestrator.wording import counted
from workloads.contract.json_files import read_object

SHOWN = 400  # characters of a value in a message


def check_files(folder: Path, listing: CrateListing, expected: str) -> AuditCheck:
    """Every file of the crate against its metadata, and the digest of the crate against a published one.

    Args:
        folder: of the crate.
        listing: of its metadata.
        expected: the digest that was published, or its first digits; empty: none is known.
    """
    there = files_in(folder)
    differences = [
        Mismatch(where=path, expected="a file with size and sha256", found="no digest in the metadata")
        for path in listing.without_digest
    ]
    for path in sorted(there.keys() | listing.files.keys()):
        listed, found = listing.files.get(path), there.get(path)
        if listed is None and path not in listing.without_digest:
            differences.append(Mismatch(where=path, expected="no such file", found="a file that is not listed"))
        elif listed is not None and found is None:
            differences.append(Mismatch(where=path, expected=f"sha256 {listed.sha256}", found="no such file"))
        elif listed is not None and found is not None and listed != found:
            differences.append(Mismatch(where=path, expected=f"sha256 {listed.sha256}", found=f"sha256 {found.sha256}"))
    notes = ["the digest of the crate was not compared with a published one (--expect)"]
    if expected:
        notes = [f"the digest of the crate begins with {expected}, as expected"]
        if not listing.digest.startswith(expected.lower()):
            notes = []
            means = "this is another crate than the one whose digest was published, or it was changed"
            differences.append(Mismatch(where=METADATA, expected=expected, found=listing.digest, means=means))
    return AuditCheck(
        name="files",
        says=f"{counted(len(there), 'file')} against size and sha256 in {METADATA}",
        differences=differences,
        notes=notes,
    )


def check_commits(
    store: CrateStore, plan: Plan, description: CrateDescription
) -> tuple[AuditCheck, Mapping[str, Commit]]:
    """Every commit record against the plan; returns those that can be used too, by job id."""
    jobs = {job.fingerprint: job for job in plan.jobs.values()}
    commits: dict[str, Commit] = {}
    differences: list[Mismatch] = []
    fingerprints = store.commits()
    for fingerprint in sorted(fingerprints):
        where = commit_path(fingerprint)
        try:
            commit = store.read(fingerprint)
        except StoreError as error:
            differences.append(Mismatch(where=where, expected="a commit record", found=str(error)))
            continue
        job = jobs.get(fingerprint)
        if job is None:
            differences.append(Mismatch(where=where, expected="a job of the plan", found=f"{commit.label}, in no plan"))
            continue
        planned, recorded = (job.id, job.stage, job.branch), (commit.job, commit.stage, commit.branch)
        if planned != recorded:
            differences.append(Mismatch(where=where, expected=str(planned), found=str(recorded)))
        commits[job.id] = commit
    for job in plan.jobs.values():
        listed = job.id in description.missing
        if (job.fingerprint in fingerprints) == listed:
            expected, found = ("no commit record", "one") if listed else ("a commit record", "none")
            said = "lists it as missing" if listed else "does not list it as missing"
            differences.append(Mismatch(where=job.label, expected=expected, found=found, means=f"{STUDY} {said}"))
    done = f"{len(fingerprints)} of {counted(len(plan.jobs), 'job')} done"
    notes = [f"not done: {counted(len(description.missing), 'job')}"] if description.missing else []
    says = f"{counted(len(fingerprints), 'commit record')} against the plan; {done}"
    in_order = {job: commits[job] for job in plan.jobs if job in commits}
    return AuditCheck(name="commit records", says=says, differences=differences, notes=notes), in_order


def check_chain(plan: Plan, commits: Mapping[str, Commit]) -> AuditCheck:
    """What each job has read against the commit records of the jobs that made it."""
    differences: list[Mismatch] = []
    unchecked: list[str] = []
    links = 0
    for job_id, commit in commits.items():
        job = plan.jobs[job_id]
        for stage, need in job.inputs.items():
            links += 1
            read, made, needed = commit.inputs.get(stage, {}), commits.get(need), plan.jobs[need]
            where = f"{job.label}: what it read of {stage}"
            if read.get("fingerprint") != needed.fingerprint:
                found = read.get("fingerprint", "nothing recorded")
                differences.append(Mismatch(where=where, expected=needed.fingerprint, found=found))
            elif made is None:
                unchecked.append(f"{where}: the crate has no commit record of {needed.label}")
            elif read.get("manifest") != made.manifest:
                means = (
                    f"{job.label} was made from another result of {needed.label} than the one in the crate: one of the "
                    "two was replaced, or a commit record was changed"
                )
                differences.append(
                    Mismatch(
                        where=where,
                        expected=f"manifest {read.get('manifest', 'not recorded')}",
                        found=f"manifest {made.manifest}",
                        means=means,
                    )
                )
    says = f"{counted(links, 'input')} of {counted(len(commits), 'result')} against the record of the job that made it"
    return AuditCheck(name="chain of inputs", says=says, differences=differences, unchecked=unchecked)


def check_artifacts(folder: Path, plan: Plan, commits: Mapping[str, Commit]) -> AuditCheck:
    """Every manifest against its commit record, and every file of an artifact against its manifest."""
    differences: list[Mismatch] = []
    compared = by_digest = 0
    for job_id, commit in commits.items():
        job, place = plan.jobs[job_id], artifact_path(commit)
        label = job.label
        own = folder / place
        if not (own / MANIFEST).is_file():
            differences.append(Mismatch(where=f"{place}/{MANIFEST}", expected=commit.manifest, found="no such file"))
            continue
        found = sha256_of(own / MANIFEST)
        if found != commit.manifest:
            means = f"the manifest of {label} is not the one that was committed"
            differences.append(
                Mismatch(where=f"{place}/{MANIFEST}", expected=commit.manifest, found=found, means=means)
            )
        try:
            entries = {entry.path: entry for entry in read_manifest(own, found)}
        except StoreError as error:
            differences.append(Mismatch(where=place, expected="a manifest", found=str(error)))
            continue
        there = {path: one for path, one in files_in(own).items() if path != MANIFEST}
        for path, one in there.items():
            listed = entries.get(path)
            if listed != one:
                expected = "no such file" if listed is None else f"sha256 {listed.sha256}"
                means = f"this is not what {label} has written"
                differences.append(
                    Mismatch(where=f"{place}/{path}", expected=expected, found=f"sha256 {one.sha256}", means=means)
                )
        for path in sorted((entries.keys() & set(values_of(job))) - there.keys()):
            expected = f"sha256 {entries[path].sha256}"
            differences.append(Mismatch(where=f"{place}/{path}", expected=expected, found="no such file"))
        compared += len(there)
        by_digest += len(entries.keys() - there.keys())
    says = f"{counted(len(commits), 'manifest')} against commit records, {counted(compared, 'file')} against manifests"
    notes = [f"{counted(by_digest, 'file')} (data, frames, weights) are in the crate by their sha256 alone"]
    return AuditCheck(name="artifacts", says=says, differences=differences, notes=notes if by_digest else [])


def check_code(folder: Path, commits: Mapping[str, Commit], here: str) -> AuditCheck:
    """Every code snapshot against the digest in the commit records, and against the code of this installation.

    Args:
        folder: of the crate.
        commits: by job id.
        here: digest of the code of this installation; empty: not known.
    """
    ran = Counter(commit.code for commit in commits.values())
    root = folder / CODE
    there = sorted(root.iterdir()) if root.is_dir() else []
    differences: list[Mismatch] = []
    for place in there:
        files = {Path(path): place / path for path in files_in(place)}
        found = digest_of(dict(sorted(files.items())))
        if found != place.name or place.name not in ran:
            expected = place.name if place.name in ran else "a digest that a commit record names"
            means = "this is not the code that ran"
            differences.append(Mismatch(where=f"{CODE}/{place.name}", expected=expected, found=found, means=means))
    names = {place.name for place in there}
    notes = [
        f"code {digest[:SHORT]} of {counted(jobs, 'job')} is not in the crate"
        for digest, jobs in ran.items()
        if digest not in names
    ]
    if here:
        same = ran.get(here, 0)
        others = len(commits) - same
        notes.append(
            f"the code of this installation made {same} of {counted(len(commits), 'result')}"
            if same
            else f"the code of this installation ({here[:SHORT]}) is another than that of all {others} results"
        )
    says = f"{counted(len(there), 'code snapshot')} against the commit records"
    return AuditCheck(name="code", says=says, differences=differences, notes=notes)


def check_environment(folder: Path, commits: Mapping[str, Commit]) -> AuditCheck:
    """What `environment.json` says of versions and hosts against the commit records."""
    differences = []
    try:
        listed = read_object(folder / ENVIRONMENT)["jobs"]
    except (OSError, ValueError, KeyError) as error:
        listed = f"none: {error!r}"
    computed = jobs_by_environment(commits.values())
    if listed != computed:
        means = "it is not what the commit records say"
        expected, found = (json.dumps(value, sort_keys=True)[:SHOWN] for value in (computed, listed))
        differences.append(Mismatch(where=ENVIRONMENT, expected=expected, found=found, means=means))
    says = f"{counted(len(computed), 'kind')} of stage, code, versions and host against the commit records"
    return AuditCheck(name="environment", says=says, differences=differences)
