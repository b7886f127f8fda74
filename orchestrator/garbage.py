"""`gc`: what no row of any profile needs any more, what attempts left behind, what was put aside.

Needed is what a profile of matrix.yaml, or the last run with its overrides, asks for. Of a job that
is done, the winning artifact stays, and the words of all attempts (request, result, log, metrics).
A COMMIT goes before its artifact and after all that was made from it, so that a death in the middle
leaves a store in which all that is committed is whole.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.registry import backends
from orchestrator.detach import OUT
from orchestrator.errors import LeaseError, StoreError
from orchestrator.host.checkpoints import FOLDER_DIGITS, job_folder
from orchestrator.host.code import CHECKOUT, digest_of
from orchestrator.refresh import to_withdraw
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.spec.load import load_matrix
from orchestrator.study import Study, open_study

HALF_MADE = (".mlflow.db.*.tmp*", "inbox/.*.tmp", f".{OUT}.*")
"""What is made under another name first."""
HALF_MADE_S = 86400.0
"""Whoever makes such a file needs seconds."""


@dataclass(frozen=True, kw_only=True)
class Rubbish:
    """Something that can go."""

    path: Path
    what: str
    """For people: kind, and of which job."""
    size: int
    """Bytes."""
    fingerprint: str = ""
    """Of a COMMIT that is withdrawn first; else empty."""
    shared: bool = False
    """Open attempts may need it, whichever they are: it goes only where there are none."""


def rubbish(study: Study, *, cluster: Path | None = None) -> list[Rubbish]:
    """All that can go, in the order in which it has to; nothing is changed.

    Args:
        study: as the last run planned it.
        cluster: the cluster file that was named, for the plans of the other profiles.

    Raises:
        MatrixError: a profile of the matrix cannot be planned, so what it needs is not known.
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
        return found  # what is open may run on, with any of the copies, and is found by what it was submitted with
    return [*found, *_of_backends(study), *_code(study, needed)]


def remove(study: Study, found: list[Rubbish], say: Callable[[str], None]) -> None:
    """Remove what was found, in its order.

    Raises:
        LeaseError: a driver runs the study, or one has come and gone since, and what it needs may be among `found`.
        StoreError: a COMMIT cannot be withdrawn.
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


def _refuse_if_run_since(study: Study, found: list[Rubbish]) -> None:
    with Ledger.read(study.home / NAME) as ledger:
        last, open_ = ledger.last_plan(), ledger.open_attempts()
    another = last is not None and (last.profile, last.overrides) != (study.plan.profile, study.plan.overrides)
    if another or (open_ and any(one.shared for one in found)):
        raise LeaseError("a driver has come and gone since this was found; nothing was removed, run `gc` again")


def _commits(study: Study, needed: set[str]) -> Iterator[Rubbish]:
    """Artifacts of COMMITs that nothing asks for, furthest first."""
    extra = study.store.commits() - needed
    for one in to_withdraw(study.plan, study.store, sorted(extra)):
        if one.fingerprint in needed:  # made from what nothing asks for, and asked for itself: by no plan of ours
            raise StoreError(f"{one.label} is asked for, and was made from what no profile asks for; see `show`")
        try:
            commit = study.store.read(one.fingerprint)
        except StoreError:
            continue  # what it names is not known: `run --refresh` or a person decides
        folder = _artifact_folder(study, commit.stage, one.fingerprint, commit.attempt)
        what = f"no profile asks for it: {commit.label}"
        yield Rubbish(path=folder, what=what, size=size_of(folder), fingerprint=one.fingerprint)


def _artifacts(study: Study, open_: set[tuple[str, str]]) -> Iterator[Rubbish]:
    """Artifact folders that no COMMIT names and no open attempt may still write."""
    named, broken = _named(study)
    for folder in sorted((study.home / "store" / "artifacts").glob("*/*/*")):
        stage, digits, attempt = folder.parts[-3:]
        if (stage, digits, attempt) not in named and digits not in broken and (digits, attempt) not in open_:
            yield Rubbish(path=folder, what="artifact without a COMMIT", size=size_of(folder))


def _named(study: Study) -> tuple[set[tuple[str, ...]], set[str]]:
    """Stage, digits and attempt of each artifact that a COMMIT names, and the digits of COMMITs that cannot be read."""
    named: set[tuple[str, ...]] = set()
    broken: set[str] = set()
    for fingerprint in study.store.commits():
        try:
            commit = study.store.read(fingerprint)
            named.add((commit.stage, fingerprint[:FOLDER_DIGITS], commit.attempt))
        except StoreError:
            broken.add(fingerprint[:FOLDER_DIGITS])
    return named, broken


def _put_aside(study: Study) -> Iterator[Rubbish]:
    for path in sorted((study.home / "store" / "withdrawn").glob("*.json")):
        yield Rubbish(path=path, what="withdrawn COMMIT", size=size_of(path))
    for path in sorted(study.home.glob(f"{NAME}*.broken-*")):
        yield Rubbish(path=path, what="broken ledger", size=size_of(path))
    for path in sorted((study.home / "inbox").glob("*.broken")):
        yield Rubbish(path=path, what="broken note", size=size_of(path))
    for pattern in HALF_MADE:
        for path in sorted(study.home.glob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # it has got its name
                if time.time() - path.lstat().st_mtime > HALF_MADE_S:
                    yield Rubbish(path=path, what="left half made by a process that died", size=size_of(path))


def _attempts(study: Study, needed: set[str], open_: set[tuple[str, str]]) -> Iterator[Rubbish]:
    """Attempt folders of jobs that nothing asks for, and checkpoints of jobs that are done."""
    digits = {fingerprint[:FOLDER_DIGITS] for fingerprint in needed}
    busy = {job for job, _ in open_}
    for folder in sorted((study.home / "attempts").glob("*")):
        if folder.name not in digits and folder.name not in busy:
            yield Rubbish(path=folder, what="attempts of a job that no profile asks for", size=size_of(folder))
    for fingerprint in sorted(study.store.commits() & needed):
        for folder in sorted(job_folder(study.home, fingerprint).glob("*/checkpoints")):
            yield Rubbish(path=folder, what="checkpoints of a job that is done", size=size_of(folder))


def _of_backends(study: Study) -> Iterator[Rubbish]:
    """What backends have left in the study's folder."""
    for plugin in backends().values():
        for one in plugin.garbage(study.home):
            yield Rubbish(path=one.path, what=one.what, size=size_of(one.path), shared=True)


def _code(study: Study, needed: set[str]) -> Iterator[Rubbish]:
    """Copies of code that made nothing that stays."""
    made = {digest_of(CHECKOUT)}
    for fingerprint in study.store.commits() & needed:
        try:
            made.add(study.store.read(fingerprint).code)
        except StoreError:
            return  # which code made it is not known
    for folder in sorted((study.home / "code").glob("*")):
        if folder.name not in made:
            yield Rubbish(path=folder, what="code that made nothing that stays", size=size_of(folder), shared=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            total += (Path(place) / name).lstat().st_size
    return total


def _artifact_folder(study: Study, stage: str, fingerprint: str, attempt: str) -> Path:
    return study.home / "store" / "artifacts" / stage / fingerprint[:FOLDER_DIGITS] / attempt
