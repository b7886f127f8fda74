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
from orchestrator.plan.job import SHORT, Job, Plan
from orchestrator.store.lineage import is_input, items_as_read, made_in, reads_by_item
from orchestrator.store.manifest import NAME as MANIFEST
from orchestrator.store.manifest import read_manifest, sha256_of
from orchestrator.store.protocol import Commit
from orchestrator.wording import counted, shortened
from workloads.contract.json_files import read_object

SHOWN = 400  # characters of a value in a message
SHOWN_ITEMS = 3


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
    """Every commit record against the plan; returns those of its jobs that can be used too, by job id.

    A record of no job of the plan is one of which a job has read items, made before the study grew.
    """
    jobs = {job.fingerprint: job for job in plan.jobs.values()}
    commits: dict[str, Commit] = {}
    differences: list[Mismatch] = []
    fingerprints = store.commits()
    others: dict[str, Commit] = {}
    for fingerprint in sorted(fingerprints):
        where = commit_path(fingerprint)
        try:
            commit = store.read(fingerprint)
        except StoreError as error:
            differences.append(Mismatch(where=where, expected="a commit record", found=str(error)))
            continue
        job = jobs.get(fingerprint)
        if job is None:
            others[fingerprint] = commit
            continue
        planned, recorded = (job.id, job.stage, job.branch), (commit.job, commit.stage, commit.branch)
        if planned != recorded:
            differences.append(Mismatch(where=where, expected=str(planned), found=str(recorded)))
        differences += _other_items(job, commit, where)
        commits[job.id] = commit
    read = {one.get("fingerprint") for commit in commits.values() for one in commit.inputs.values()}
    for fingerprint, commit in others.items():
        if fingerprint not in read:
            found = f"{commit.label}, in no plan"
            differences.append(Mismatch(where=commit_path(fingerprint), expected="a job of the plan", found=found))
    for job in plan.jobs.values():
        listed = job.id in description.missing
        if (job.fingerprint in fingerprints) == listed:
            expected, found = ("no commit record", "one") if listed else ("a commit record", "none")
            said = "lists it as missing" if listed else "does not list it as missing"
            differences.append(Mismatch(where=job.label, expected=expected, found=found, means=f"{STUDY} {said}"))
    done = f"{len(jobs.keys() & fingerprints)} of {counted(len(plan.jobs), 'job')} done"
    notes = [f"not done: {counted(len(description.missing), 'job')}"] if description.missing else []
    says = f"{counted(len(fingerprints), 'commit record')} against the plan; {done}"
    in_order = {job: commits[job] for job in plan.jobs if job in commits}
    return AuditCheck(name="commit records", says=says, differences=differences, notes=notes), in_order


def _other_items(job: Job, commit: Commit, where: str) -> list[Mismatch]:
    """What a job has made other than its plan gives it."""
    planned, recorded = dict(job.items or {}), dict(commit.items)
    found = [name for name in sorted({**planned, **recorded}) if planned.get(name) != recorded.get(name)]
    if commit.measured != job.measured:
        found.append("what they were measured with")
    if not found:
        return []
    means = f"{job.label} has made other items than the plan gives it, or its commit record was changed"
    counts = counted(len(planned), "item"), counted(len(recorded), "item")
    return [
        Mismatch(where=f"{where}: {shortened(found, SHOWN_ITEMS)}", expected=counts[0], found=counts[1], means=means)
    ]


def check_chain(plan: Plan, commits: Mapping[str, Commit], store: CrateStore) -> AuditCheck:
    """What each job has read against the commit records of the jobs that made it.

    A job that reads items of an input may have read an artifact from before the study grew. There, the items that it
    read are compared: they must be of the contents that the plan gives them, and have been taken over since.

    Args:
        plan: of the crate.
        commits: of its jobs, by job id.
        store: with the records of earlier artifacts.
    """
    chain = _Chain(plan, commits, store)
    links = 0
    for job_id, commit in commits.items():
        for stage in plan.jobs[job_id].inputs:
            links += 1
            chain.check(plan.jobs[job_id], stage, commit.inputs.get(stage, {}))
    says = f"{counted(links, 'input')} of {counted(len(commits), 'result')} against the record of the job that made it"
    return AuditCheck(name="chain of inputs", says=says, differences=chain.differences, unchecked=chain.unchecked)


class _Chain:
    """What was read, against what was made."""

    def __init__(self, plan: Plan, commits: Mapping[str, Commit], store: CrateStore) -> None:
        self._plan, self._commits, self._store = plan, commits, store
        self._there = store.commits()
        self.differences: list[Mismatch] = []
        self.unchecked: list[str] = []

    def check(self, job: Job, stage: str, read: Mapping[str, str]) -> None:
        need = self._plan.jobs[job.inputs[stage]]
        made, fingerprint = self._commits.get(need.id), read.get("fingerprint", "")
        where = f"{job.label}: what it read of {stage}"
        if not is_input(job, stage, need, fingerprint):
            found = fingerprint or "nothing recorded"
            self.differences.append(Mismatch(where=where, expected=need.fingerprint, found=found))
        elif made is None:
            self.unchecked.append(f"{where}: the crate has no commit record of {need.label}")
        elif read.get("manifest") == made.manifest:
            return
        elif fingerprint == need.fingerprint or not reads_by_item(job, stage, need):
            self._differs(
                where, f"manifest {read.get('manifest', 'not recorded')}", f"manifest {made.manifest}", job, need
            )
        elif (source := self._source(fingerprint, read)) is None:
            known = f"the crate has no commit record of {need.label} with manifest {read.get('manifest', '')[:SHORT]}"
            self.unchecked.append(f"{where}: {known}, which it had read before the study grew")
        else:
            self._check_items(where, job, stage, read, source, made)

    def _check_items(
        self, where: str, job: Job, stage: str, read: Mapping[str, str], source: Commit, made: Commit
    ) -> None:
        need = self._plan.jobs[job.inputs[stage]]
        as_read = items_as_read(job, stage, read, source)
        now = made_in(made, as_read)
        for item, manifest in as_read.items():
            planned, content = (need.items or {}).get(item), source.items.get(item)
            if content != planned:
                self._differs(f"{where}, {item}", f"content {planned}", f"content {content}", job, need)
            elif manifest != now[item]:
                self._differs(f"{where}, {item}", f"made in {manifest}", f"made in {now[item]}", job, need)

    def _source(self, fingerprint: str, read: Mapping[str, str]) -> Commit | None:
        if fingerprint not in self._there:
            return None
        try:
            source = self._store.read(fingerprint)
        except StoreError:
            return None  # told by the check of commit records
        return source if source.manifest == read.get("manifest") else None

    def _differs(self, where: str, expected: str, found: str, job: Job, need: Job) -> None:
        means = (
            f"{job.label} was made from another result of {need.label} than the one in the crate: one of the "
            "two was replaced, or a commit record was changed"
        )
        self.differences.append(Mismatch(where=where, expected=expected, found=found, means=means))


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
