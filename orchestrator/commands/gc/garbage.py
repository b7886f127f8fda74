"""Garbage collection: results that nothing needs, leftovers of attempts, withdrawn and damaged files.

`kept_results` says which results are kept. Of a completed job, the committed artifact is kept, and request, result, log
and metrics of every attempt. A commit record is removed before its artifact and after everything made from it, so that
after a crash every commit record still has its artifact and inputs.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.registry import backends
from orchestrator.commands.gc.kept_results import KEEP_DAYS, UNKNOWN, KeptResults, kept_results
from orchestrator.commands.refresh import OF_NO_PLAN, to_withdraw
from orchestrator.commands.run.detach import OUT
from orchestrator.errors import LeaseError, StoreError
from orchestrator.host.checkpoints import FOLDER_DIGITS, job_folder
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.schedule.lease import acquire
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.spec.workload import package_of
from orchestrator.store.files import size_of
from orchestrator.study import Study

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


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What is kept although neither a profile nor the last run of this file needs it."""

    name: str
    """Path of the matrix file that made it, `RECENT` or `UNKNOWN`."""
    at: float
    """When its last run began, seconds since 1970; 0: not known."""
    results: int
    size: int
    """Bytes of results and attempts."""


@dataclass(frozen=True, kw_only=True)
class FoundGarbage:
    """What `gc` found."""

    garbage: Sequence[Garbage]
    """In the order of removal."""
    apart: Sequence[Apart]
    last: int
    """Number of the newest run when it was searched for."""
    forgettable: Sequence[int]
    """Runs of which nothing is left afterwards."""


def find_garbage(study: Study, *, keep_days: float = KEEP_DAYS, made_by: Sequence[str] = ()) -> FoundGarbage:
    """List everything that can be removed, and what is kept apart; the arguments are those of `kept_results`.

    Raises:
        MatrixError: a profile of the matrix cannot be planned.
        PlanError: no run of a file in `made_by` is recorded.
        StoreError, LedgerError: the store or ledger cannot be read.
    """
    kept = kept_results(study, keep_days=keep_days, made_by=made_by)
    with Ledger.read(study.home / NAME) as ledger:
        open_ = {(attempt.fingerprint[:FOLDER_DIGITS], attempt.id) for attempt in ledger.open_attempts()}
    found = [*_commits(study, kept), *_artifacts(study, open_), *_put_aside(study)]
    found += _attempts(study, kept, open_)
    if not open_:  # else one may still use any copy of the code, and is adopted by its submission files
        found += [*_of_backends(study), *_code(study, kept)]
    return FoundGarbage(garbage=found, apart=_apart(study, kept), last=kept.last, forgettable=kept.forgettable)


def remove_garbage(study: Study, found: FoundGarbage, say: Callable[[str], None]) -> None:
    """Remove what was found, in its order.

    Raises:
        LeaseError: a run is in progress, or there was one since it was searched for.
        StoreError: a commit record cannot be withdrawn.
    """
    with acquire(study.home) as lease:
        _refuse_if_run_since(study, found)
        named = _named(study)[0]
        for one in found.garbage:
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
            if any(aside.name.startswith(f"{one.fingerprint}.") for one in found.garbage if one.fingerprint):
                aside.unlink()
        if found.forgettable:
            with Ledger.open(study.home / NAME, lease.check, rebuild=rebuilder(study.home, study.store)) as ledger:
                ledger.forget_runs(found.forgettable)


def _refuse_if_run_since(study: Study, found: FoundGarbage) -> None:
    with Ledger.read(study.home / NAME) as ledger:
        last, open_ = ledger.last_plan(), ledger.open_attempts()
    another = (0 if last is None else last.number) != found.last
    if another or (open_ and any(one.shared for one in found.garbage)):
        raise LeaseError("the study was run while `gc` was searching; nothing was removed, run `gc` again")


def _commits(study: Study, kept: KeptResults) -> Iterator[Garbage]:
    """Completed results that are not kept, furthest downstream first."""
    for one in to_withdraw(study.plan, study.store, sorted(kept.removable)):
        folder = _artifact_of(study, one.fingerprint)
        if folder is None or one.fingerprint in kept.kept:
            continue  # a damaged record: left to `run --refresh`
        label = one.label.removesuffix(OF_NO_PLAN)
        yield Garbage(
            path=folder, what=f"result not needed any more: {label}", size=size_of(folder), fingerprint=one.fingerprint
        )


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


def _attempts(study: Study, kept: KeptResults, open_: set[tuple[str, str]]) -> Iterator[Garbage]:
    """Attempt folders of jobs that nothing needs, and checkpoints of completed jobs of this file."""
    wanted, released = _digits(kept.wanted | kept.kept), _digits(kept.released | kept.removable)
    busy = {job for job, _ in open_}
    for folder in sorted((study.home / "attempts").glob("*")):
        removable = folder.name in released or kept.unknown
        if removable and folder.name not in wanted and folder.name not in busy:
            yield Garbage(path=folder, what="attempts of a job that is not needed any more", size=size_of(folder))
    for fingerprint in sorted(study.store.commits() & kept.here):
        for folder in sorted(job_folder(study.home, fingerprint).glob("*/checkpoints")):
            yield Garbage(path=folder, what="checkpoints of a completed job", size=size_of(folder))


def _apart(study: Study, kept: KeptResults) -> list[Apart]:
    """What is kept only because another file or a recent run asked for it, or nobody knows who did."""
    known = _digits(kept.wanted | kept.kept | kept.released | kept.removable)
    nobodys = [folder for folder in (study.home / "attempts").glob("*") if folder.name not in known]
    found: list[Apart] = []
    for origin in kept.apart:
        done = sorted(origin.fingerprints & kept.kept)
        folders = [job_folder(study.home, one) for one in sorted(origin.fingerprints)]
        folders += [folder for one in done if (folder := _artifact_of(study, one)) is not None]
        size = sum(map(size_of, folders + (nobodys if origin.name == UNKNOWN else [])))
        if size:
            found.append(Apart(name=origin.name, at=origin.at, results=len(done), size=size))
    return found


def _digits(fingerprints: Iterable[str]) -> set[str]:
    return {fingerprint[:FOLDER_DIGITS] for fingerprint in fingerprints}


def _of_backends(study: Study) -> Iterator[Garbage]:
    """Leftovers of backends in the study's folder."""
    for plugin in backends().values():
        for one in plugin.garbage(study.home):
            yield Garbage(path=one.path, what=one.what, size=size_of(one.path), shared=True)


def _code(study: Study, kept: KeptResults) -> Iterator[Garbage]:
    """Code snapshots that no remaining result was made with."""
    made = {digest_of(code_files(CHECKOUT, package_of(study.plan.workload_name)))}
    for fingerprint in kept.kept:
        try:
            made.add(study.store.read(fingerprint).code)
        except StoreError:
            return  # its code is not known
    for folder in sorted((study.home / "code").glob("*")):
        if folder.name not in made:
            what = "code snapshot of no remaining result"
            yield Garbage(path=folder, what=what, size=size_of(folder), shared=True)


def _artifact_of(study: Study, fingerprint: str) -> Path | None:
    """Folder of a completed job's result; None: its commit record is damaged."""
    try:
        commit = study.store.read(fingerprint)
    except StoreError:
        return None
    return study.home / "store" / "artifacts" / commit.stage / fingerprint[:FOLDER_DIGITS] / commit.attempt
