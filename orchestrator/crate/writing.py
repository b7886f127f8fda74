"""Writing a crate: everything that is needed to check the results of a study, without weights.

The report in it is made from the files of the crate alone, so that whoever has the crate can make it again.
"""

import glob
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.crate.crate_store import CrateStore
from orchestrator.crate.description import CrateDescription
from orchestrator.crate.environment import environment_of
from orchestrator.crate.layout import (
    CODE,
    ENVIRONMENT,
    MATRIX,
    METADATA,
    PLAN,
    README,
    REPORT,
    STUDY,
    artifact_path,
    commit_path,
    values_of,
)
from orchestrator.crate.listing import files_in, listing_of
from orchestrator.crate.metadata import CrateCredits, metadata_of
from orchestrator.errors import CrateError, StoreError
from orchestrator.plan.job import Job, Plan
from orchestrator.plan.recorded import plan_document
from orchestrator.provenance import version
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.collect import axes_text, report_input
from orchestrator.spec.cell import Cell
from orchestrator.store.manifest import NAME as MANIFEST
from orchestrator.store.manifest import REFRESH_HINT, manifest_content, sha256_of
from orchestrator.store.protocol import Commit
from orchestrator.study import Study
from orchestrator.wording import counted
from reports.input import ReportInput

LARGEST_CODE = 8 << 20  # bytes of the code snapshots together

READ_ME = """\
# {study}, profile {profile}

Results of an experiment matrix, with what is needed to check them: the matrix, the plan, a commit record for each of
{jobs}, the sha256 of every file that they made, all measured values, and the report.

    echo-matrix audit CRATE             # every digest, every control, and the report byte for byte
    echo-matrix audit CRATE --rerun     # also runs the cheapest cell again, from its data on

CRATE is this folder, or the zip file that it came in.

It was written by echo-matrix {version}. An audit executes nothing of it. `{metadata}` describes it for other
programs (RO-Crate 1.1, Provenance Run Crate 0.5).
"""


@dataclass(frozen=True, kw_only=True)
class WrittenCrate:
    """A crate that was written."""

    digest: str
    files: int
    size: int
    """Bytes of its zip file, or of all its files."""
    done: int
    """Jobs with a result."""
    jobs: int
    left_out: Sequence[str]


def write_crate(
    study: Study, target: Path, *, weights: bool = False, code: bool = True, credits: CrateCredits | None = None
) -> WrittenCrate:
    """Write the crate of a study's results.

    Args:
        study: with at least one result.
        target: a path that does not exist; a name with `.zip` becomes a zip file, another a folder.
        weights: also the files that stages declare as `pointer`.
        code: also the code that ran, where it is small.
        credits: author and licence.

    Raises:
        CrateError: something is at `target`, or no job is done.
        StoreError: a result is damaged.
    """
    if target.exists() or target.is_symlink():
        raise CrateError(f"{target}: exists already; nothing was written: move it away, or name another with --out")
    reader = ArtifactReader(study.plan, study.store)
    commits = {job: commit for job in study.plan.jobs if (commit := reader.commit(job)) is not None}
    if not commits:
        raise CrateError(
            f"{study.plan.study}, profile {study.plan.profile}: no job is done; `echo-matrix run` makes results"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        folder = Path(temporary, "crate")
        folder.mkdir()
        left_out = _write(
            study,
            folder,
            reader,
            commits,
            weights=weights,
            code=code,
            credits=credits or CrateCredits(),
        )
        listing = listing_of(folder)
        if target.suffix == ".zip":
            packed = Path(temporary, "crate.zip")
            _pack(folder, packed)
            size = packed.stat().st_size
            packed.replace(target)
        else:
            size = sum(one.size for one in listing.files.values())
            folder.replace(target)
    return WrittenCrate(
        digest=listing.digest,
        files=len(listing.files) + 1,
        size=size,
        done=len(commits),
        jobs=len(study.plan.jobs),
        left_out=left_out,
    )


def _write(
    study: Study,
    folder: Path,
    reader: ArtifactReader,
    commits: Mapping[str, Commit],
    *,
    weights: bool,
    code: bool,
    credits: CrateCredits,
) -> Sequence[str]:
    plan, standings, durations = study.plan, study.standings(), study.durations()
    shown = _shown_images(plan, reader, report_input(plan, standings, study.store, durations))
    for job, commit in commits.items():
        _write_json(folder / commit_path(commit.fingerprint), asdict(commit))
        _copy_artifact(study, plan.jobs[job], commit, folder / artifact_path(commit), shown.get(job, ()), weights)
    planned = {job.fingerprint for job in plan.jobs.values()}
    for read in (read for commit in commits.values() for read in commit.inputs.values()):
        source = reader.source(read) if read.get("fingerprint") not in planned else None
        if source is not None:  # read before the study grew: its record says which items it had
            _write_json(folder / commit_path(source.fingerprint), asdict(source))
    shutil.copyfile(study.matrix, _made(folder / MATRIX))
    _write_json(folder / PLAN, plan_document(plan), sort=False)  # the order of jobs and keys is part of a plan
    left_out = _copy_code(study, folder, commits) if code else ["code: not asked for"]
    description = CrateDescription.of(plan, standings, durations, commits, study.registered, study.race)
    _write_json(folder / STUDY, {**description.document, "left_out": left_out}, sort=False)
    _write_json(folder / ENVIRONMENT, environment_of(study, commits.values()))
    words = {"study": plan.study, "profile": plan.profile, "jobs": counted(len(commits), "job")}
    (folder / README).write_text(READ_ME.format(**words, version=version(), metadata=METADATA), encoding="utf-8")

    from reports.build import build

    given = report_input(
        plan,
        description.standings(plan),
        CrateStore(folder),
        description.durations,
        description.registered,
        race=description.race,
    )
    build(folder / REPORT, given)
    files = list(files_in(folder).values())
    _write_json(folder / METADATA, metadata_of(plan, commits, files, version(), credits), sort=False)
    return left_out


def _shown_images(plan: Plan, reader: ArtifactReader, given: ReportInput) -> Mapping[str, Sequence[str]]:
    """Job -> paths of its images and videos that the report of `given` shows, relative to its artifact."""
    from reports.analysis import analyse
    from reports.page.strips import chosen
    from reports.page.videos import shown_videos
    from reports.ranking import ranking

    analysis = analyse(given)
    strips = [strip for _, _, by_row in chosen(given, analysis) for strip in by_row.values()]
    videos = [video for _, video in shown_videos(given, analysis, ranking(analysis))]
    shown = {(one.row, one.seed, one.axes, one.branch, one.case) for one in strips}
    filmed = {(one.row, one.seed, one.axes, one.branch, one.case) for one in videos}
    cells = {cell.id: cell for cell in plan.cells}
    found: dict[str, list[str]] = {}
    for job in plan.jobs.values():
        if reader.commit(job.id) is None:
            continue
        for folder, read, wanted in ((job.spec.images, reader.images, shown), (job.spec.videos, reader.videos, filmed)):
            for part, of in _by_part(job, [cells[cell] for cell in job.cells]).items() if folder else ():
                found.setdefault(job.id, []).extend(
                    file
                    for case, file in read(job.id, part)
                    if any((one.row, one.seed, axes_text(one.axes), job.branch or "", case) in wanted for one in of)
                )
    return found


def _by_part(job: Job, cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(job.part_of(cell), []).append(cell)
    return found


def _copy_artifact(study: Study, job: Job, commit: Commit, folder: Path, images: Sequence[str], weights: bool) -> None:
    """Copy the manifest and the chosen files of an artifact; of a store elsewhere, nothing else is fetched."""
    entries = study.store.manifest(commit.fingerprint)
    content = manifest_content(entries)
    if hashlib.sha256(content).hexdigest() != commit.manifest:
        raise CrateError(
            f"{job.label}: its manifest is not written as this version writes it; `path` tells where it is"
        )
    _made(folder / MANIFEST).write_bytes(content)
    listed = {entry.path: entry for entry in entries}
    wanted = [*values_of(job), *images, *([job.spec.pointer] if weights and job.spec.pointer else [])]
    names = [name for name in wanted if name in listed]
    source = study.store.fetch_files(commit.fingerprint, [glob.escape(name) for name in names])
    for name in names:
        shutil.copyfile(source / name, _made(folder / name))
        found = sha256_of(folder / name)
        if found != listed[name].sha256:
            raise StoreError(
                f"{source / name} has sha256 {found[:12]}, committed was {listed[name].sha256[:12]}; {REFRESH_HINT}"
            )
    study.store.release(source)


def _copy_code(study: Study, folder: Path, commits: Mapping[str, Commit]) -> list[str]:
    """Copy the snapshots of the code that ran; returns what is left out, and why."""
    left, left_out = LARGEST_CODE, []
    for digest, jobs in Counter(commit.code for commit in commits.values()).most_common():
        source = study.home / "code" / digest
        if not digest or not source.is_dir():
            left_out.append(
                f"code {digest[:12]} of {counted(jobs, 'job')}: its snapshot is not in {study.home.name}/code"
            )
            continue
        files = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        if size > left:
            left_out.append(
                f"code {digest[:12]} of {counted(jobs, 'job')}: it has {size} bytes; at most {LARGEST_CODE}"
            )
            continue
        left -= size
        for path in files:
            shutil.copyfile(path, _made(folder / CODE / digest / path.relative_to(source)))
    return left_out


def _pack(folder: Path, target: Path) -> None:
    """Write a zip file; the same bytes for the same files. RO-Crate asks for entries of folders too."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            is_folder = path.is_dir()
            name = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o040755 if is_folder else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, b"" if is_folder else path.read_bytes())


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_json(path: Path, content: Mapping[str, Any], *, sort: bool = True) -> None:
    text = json.dumps(content, indent=1, sort_keys=sort)
    _made(path).write_text(text, encoding="utf-8")
