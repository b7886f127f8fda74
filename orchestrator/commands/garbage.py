"""Garbage collection: results that no profile needs, leftovers of attempts, withdrawn and damaged files.

Needed are the jobs of every profile of matrix.yaml and of the last run with its overrides. Of a completed job, the
committed artifact is kept, and request, result, log and metrics of every attempt. A commit record is removed before
its artifact and after everything made from it, so that after a crash every commit record still has its artifact and
inputs.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.registry import backends
from orchestrator.commands.detach import OUT
from orchestrator.commands.refresh import to_withdraw
from orchestrator.errors import LeaseError, StoreError
from orchestrator.host.checkpoints import FOLDER_DIGITS, job_folder
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.spec.load import load_matrix
from orchestrator.spec.workload import package_of
from orchestrator.study import Study, open_study

HALF_MADE = (".mlflow.db.*.tmp*", "inbox/.*.tmp", f".{OUT}.*")
"""Temporary names of files that are being written."""
HALF_MADE_S = 86400.0
"""Age from which such a file is a leftover; writing one takes seconds."""


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """A file or folder that can be removed."""

    path: Path
    what: str
    """Kind of file, and of which job."""
    size: int
    """Bytes."""
    fingerprint: str = ""
    """Of the commit record that is withdrawn first, if any."""
    shared: bool = False
    """It may be needed by any open attempt, and is removed only if there are none."""


def find_garbage(study: Study, *, cluster: Path | None = None) -> list[Garbage]:
    """List everything that can be removed, in the order of removal.

    Args:
        study: as the last run planned it.
        cluster: the cluster file of the command line, for the plans of the other profiles.

    Raises:
        MatrixError: a profile of the matrix cannot be planned.
        StoreError: the store cannot be read.
    """
    needed = {job.fingerprint for job in study.plan.jobs.values()}
    for profile in load_matrix(study.matrix).profiles:
        plan = open_study(study.matrix, profile=profile, cluster=cluster).plan
        needed |= {job.fingerprint for job in plan.jobs.values()}
    with Ledger.read(study.home / NAME) as ledger:
        open_ = {(attempt.fingerprint[:FOLDER_DIGITS], attempt.id) for attempt in ledger.open_attempts()}
    found = [*_commits(study, needed), *_artifacts(study, open_), *_put_aside(study)]
    found += _attempts(study, needed, open_)
    if open_:
        return found  # an open attempt may still use any copy of the code, and is adopted by its submission files
    return [*found, *_of_backends(study), *_code(study, needed)]


def remove_garbage(study: Study, found: list[Garbage], say: Callable[[str], None]) -> None:
    """Remove what was found, in its order.

    Raises:
        LeaseError: a run is in progress, or there was one since `found` was listed.
        StoreError: a commit record cannot be withdrawn.
    """
    with acquire(study.home) as lease:
        _refuse_if_run_since(study, found)
        named = _named(study)[0]
        for one in found:
            lease.check()
            if not one.fingerprint and one.path.parts[-3:] in named:
                continue
            if one.fingerprint and one.fingerprint in study.store.commits():
                study.store.withdraw(one.fingerprint)
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
            say(f"removed {one.path}")
        for aside in (study.home / "store" / "withdrawn").glob("*.json"):
            if any(aside.name.startswith(f"{one.fingerprint}.") for one in found if one.fingerprint):
                aside.unlink()


def _refuse_if_run_since(study: Study, found: list[Garbage]) -> None:
    with Ledger.read(study.home / NAME) as ledger:
        last, open_ = ledger.last_plan(), ledger.open_attempts()
    another = last is not None and (last.profile, last.overrides) != (study.plan.profile, study.plan.overrides)
    if another or (open_ and any(one.shared for one in found)):
        raise LeaseError("the study was run while `gc` was searching; nothing was removed, run `gc` again")


def _commits(study: Study, needed: set[str]) -> Iterator[Garbage]:
    """Completed results that no plan needs, furthest downstream first."""
    extra = study.store.commits() - needed
    for one in to_withdraw(study.plan, study.store, sorted(extra)):
        if one.fingerprint in needed:  # needed, but made from a result that is not: no plan produces this
            raise StoreError(
                f"{one.label} is needed, but was made from results that no profile needs; see `echo-matrix show`"
            )
        try:
            commit = study.store.read(one.fingerprint)
        except StoreError:
            continue  # a damaged record: left to `run --refresh`
        folder = _artifact_folder(study, commit.stage, one.fingerprint, commit.attempt)
        what = f"result not needed by any profile: {commit.label}"
        yield Garbage(path=folder, what=what, size=size_of(folder), fingerprint=one.fingerprint)


def _artifacts(study: Study, open_: set[tuple[str, str]]) -> Iterator[Garbage]:
    """Artifact folders without a commit record and without an open attempt that may write them."""
    named, broken = _named(study)
    for folder in sorted((study.home / "store" / "artifacts").glob("*/*/*")):
        stage, digits, attempt = folder.parts[-3:]
        if (stage, digits, attempt) not in named and digits not in broken and (digits, attempt) not in open_:
            yield Garbage(path=folder, what="artifact without a commit record", size=size_of(folder))


def _named(study: Study) -> tuple[set[tuple[str, ...]], set[str]]:
    """Stage, digits and attempt of each artifact with a commit record; digits of records that cannot be read."""
    named: set[tuple[str, ...]] = set()
    broken: set[str] = set()
    for fingerprint in study.store.commits():
        try:
            commit = study.store.read(fingerprint)
            named.add((commit.stage, fingerprint[:FOLDER_DIGITS], commit.attempt))
        except StoreError:
            broken.add(fingerprint[:FOLDER_DIGITS])
    return named, broken


def _put_aside(study: Study) -> Iterator[Garbage]:
    for path in sorted((study.home / "store" / "withdrawn").glob("*.json")):
        yield Garbage(path=path, what="withdrawn commit record", size=size_of(path))
    for path in sorted(study.home.glob(f"{NAME}*.broken-*")):
        yield Garbage(path=path, what="broken ledger", size=size_of(path))
    for path in sorted(study.home.glob("mlflow.db.*-*")):
        yield Garbage(path=path, what="MLflow database that was replaced", size=size_of(path))
    for path in sorted((study.home / "inbox").glob("*.broken")):
        yield Garbage(path=path, what="unreadable control command", size=size_of(path))
    for pattern in HALF_MADE:
        for path in sorted(study.home.glob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # it has been renamed
                if time.time() - path.lstat().st_mtime > HALF_MADE_S:
                    yield Garbage(path=path, what="unfinished file of a process that died", size=size_of(path))


def _attempts(study: Study, needed: set[str], open_: set[tuple[str, str]]) -> Iterator[Garbage]:
    """Attempt folders of jobs that no plan needs, and checkpoints of completed jobs."""
    digits = {fingerprint[:FOLDER_DIGITS] for fingerprint in needed}
    busy = {job for job, _ in open_}
    for folder in sorted((study.home / "attempts").glob("*")):
        if folder.name not in digits and folder.name not in busy:
            yield Garbage(path=folder, what="attempts of a job that no profile needs", size=size_of(folder))
    for fingerprint in sorted(study.store.commits() & needed):
        for folder in sorted(job_folder(study.home, fingerprint).glob("*/checkpoints")):
            yield Garbage(path=folder, what="checkpoints of a completed job", size=size_of(folder))


def _of_backends(study: Study) -> Iterator[Garbage]:
    """Leftovers of backends in the study's folder."""
    for plugin in backends().values():
        for one in plugin.garbage(study.home):
            yield Garbage(path=one.path, what=one.what, size=size_of(one.path), shared=True)


def _code(study: Study, needed: set[str]) -> Iterator[Garbage]:
    """Code snapshots that no remaining result was made with."""
    made = {digest_of(code_files(CHECKOUT, package_of(study.plan.workload_name)))}
    for fingerprint in study.store.commits() & needed:
        try:
            made.add(study.store.read(fingerprint).code)
        except StoreError:
            return  # its code is not known
    for folder in sorted((study.home / "code").glob("*")):
        if folder.name not in made:
            yield Garbage(
                path=folder,
                what="code snapshot of no remaining result",
                size=size_of(folder),
                shared=True,
            )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            total += (Path(place) / name).lstat().st_size
    return total


def _artifact_folder(study: Study, stage: str, fingerprint: str, attempt: str) -> Path:
    return study.home / "store" / "artifacts" / stage / fingerprint[:FOLDER_DIGITS] / attempt
