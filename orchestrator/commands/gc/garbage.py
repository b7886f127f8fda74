"""Garbage collection: results that nothing needs, leftovers of attempts, withdrawn and damaged files.

`kept_results` says which results are kept, `kept_videos` whose videos go nevertheless. Of a completed job, the
committed artifact is kept, and request, result, log and metrics of every attempt. A commit record is removed before
its artifact and after everything made from it, so that after a crash every commit record still has its artifact and
inputs.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.backends.registry import backends
from orchestrator.commands.gc.kept_results import KEEP_DAYS, UNKNOWN, KeptResults, kept_results
from orchestrator.commands.gc.kept_videos import Videos, find_videos, to_be_made_again
from orchestrator.commands.refresh import OF_NO_PLAN, to_withdraw
from orchestrator.commands.run.detach import OUT
from orchestrator.errors import ArtifactMissing, LeaseError, StoreError
from orchestrator.host.checkpoints import job_folder
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.reporting.results_cache import ResultsCache
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.schedule.shared_runs import forget_shared_runs, shared_run_keys
from orchestrator.spec.workload import package_of
from orchestrator.store.commits import FOLDER_DIGITS
from orchestrator.store.files import size_of
from orchestrator.store.protocol import StoredArtifact
from orchestrator.study import Study
from orchestrator.wording import counted

HALF_MADE = (".mlflow.db.*.tmp*", "inbox/.*.tmp", ".race-*.tmp", f".{OUT}.*")
"""Temporary names of files that are being written."""
ABANDONED_S = 7 * 86400.0
"""Age from which what another home publishes counts as abandoned; publishing takes hours at most."""
HALF_MADE_S = 86400.0
"""Age from which such a file is a leftover; writing one takes seconds."""


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """A file, folder or object that can be removed."""

    where: str
    """Path or URL."""
    what: str
    """Kind of file, and of which job."""
    size: int
    """Bytes."""
    remove: Callable[[], None]
    """Again: nothing to do."""
    fingerprint: str = ""
    """Of the commit record that is withdrawn first, if any."""
    artifact: StoredArtifact | None = None
    """What is removed, if that is an artifact."""
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
    elsewhere: bool = False
    """It was made by runs of another home that shares the store."""


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
    shared: Sequence[str]
    """Keys of the runs of all homes that share the store when it was searched."""
    forgettable_shared: Sequence[str]
    """Those of them that keep nothing any more."""
    videos: int
    """Bytes of videos that stay where `keep_videos_gib` limits them."""


def find_garbage(
    study: Study, *, keep_days: float = KEEP_DAYS, made_by: Sequence[str] = (), old_versions: bool = False
) -> FoundGarbage:
    """List everything that can be removed, and what is kept apart; the arguments are those of `kept_results`.

    With `old_versions` also what a bucket with versioning keeps of deleted objects; what is deleted now adds to that.

    Raises:
        MatrixError: a profile of the matrix cannot be planned.
        PlanError: no run of a file in `made_by` is recorded.
        StoreError, LedgerError: the store or ledger cannot be read.
    """
    kept = kept_results(study, keep_days=keep_days, made_by=made_by)
    with Ledger.read(study.home / NAME) as ledger:
        open_ = {(attempt.fingerprint[:FOLDER_DIGITS], attempt.id) for attempt in ledger.open_attempts()}
        ended = {(attempt.fingerprint[:FOLDER_DIGITS], attempt.id) for attempt in ledger.attempts()} - open_
    stored = {_place(one): one for one in study.store.artifacts()}
    found = [
        *_commits(study, kept, stored),
        *_uncommitted(study, kept, open_, ended, stored.values()),
        *_put_aside(study),
    ]
    found += _attempts(study, kept, open_)
    videos = find_videos(study, kept, stored)
    found += [_removable(study, one, stored) for one in videos.removable]
    if not open_:  # else one may still use any copy of the code, and is adopted by its submission files
        found += [*_of_backends(study), *_code(study, kept)]
    number, size = study.store.old_versions() if old_versions else (0, 0)
    if number:
        what = f"{counted(number, 'old version')} of replaced and deleted objects"
        remove = study.store.delete_old_versions
        found.append(Garbage(where=study.store_location.url, what=what, size=size, remove=remove))
    return FoundGarbage(
        garbage=found,
        apart=_apart(study, kept, stored),
        last=kept.last,
        forgettable=kept.forgettable,
        shared=kept.shared,
        forgettable_shared=kept.forgettable_shared,
        videos=videos.left,
    )


def remove_garbage(study: Study, found: FoundGarbage, say: Callable[[str], None]) -> None:
    """Remove what was found, in its order.

    Raises:
        LeaseError: a run is in progress, or there was one since it was searched for.
        StoreError: a commit record cannot be withdrawn.
    """
    store = study.store
    with acquire_study(study.home, store.objects) as lease:
        _refuse_if_run_since(study, found)
        named = _named(study)[0]
        for one in found.garbage:
            lease.confirm()
            if one.artifact is not None and not one.fingerprint and _place(one.artifact) in named:
                continue
            if one.fingerprint:
                with contextlib.suppress(ArtifactMissing):  # withdrawn already
                    store.withdraw(one.fingerprint)
            one.remove()
            say(f"removed {one.where}")
        gone = {one.fingerprint for one in found.garbage if one.fingerprint}
        for record in store.withdrawn() if gone else ():
            if record.fingerprint in gone:
                store.delete_withdrawn(record)
        forget_shared_runs(store.objects, found.forgettable_shared)
        with Ledger.read(study.home / NAME) as ledger:
            store.sweep({attempt.id for attempt in ledger.open_attempts()})
        if found.forgettable:
            with Ledger.open(study.home / NAME, lease.check, rebuild=rebuilder(study.home, store)) as ledger:
                ledger.forget_runs(found.forgettable)


def _refuse_if_run_since(study: Study, found: FoundGarbage) -> None:
    with Ledger.read(study.home / NAME) as ledger:
        last, open_ = ledger.last_plan(), ledger.open_attempts()
    another = (0 if last is None else last.number) != found.last
    another = another or shared_run_keys(study.store.objects) != set(found.shared)
    if another or (open_ and any(one.shared for one in found.garbage)):
        raise LeaseError("the study was run while `gc` was searching; nothing was removed, run `gc` again")


def _place(artifact: StoredArtifact) -> tuple[str, str, str]:
    """Stage, digits and attempt."""
    return artifact.stage, artifact.digits, artifact.attempt


def _commits(
    study: Study, kept: KeptResults, stored: Mapping[tuple[str, str, str], StoredArtifact]
) -> Iterator[Garbage]:
    """Completed results that are not kept, furthest downstream first."""
    store = study.store
    for one in to_withdraw(study.plan, store, sorted(kept.removable)):
        if one.fingerprint in kept.kept:
            continue
        try:
            commit = store.read(one.fingerprint)
        except StoreError:
            continue  # a damaged record: left to `run --refresh`
        place = commit.stage, one.fingerprint[:FOLDER_DIGITS], commit.attempt
        artifact = stored.get(place) or StoredArtifact(
            stage=commit.stage, digits=place[1], attempt=commit.attempt, size=0, modified=0.0, where="/".join(place)
        )
        yield Garbage(
            where=artifact.where,
            what=f"result not needed any more: {one.label.removesuffix(OF_NO_PLAN)}",
            size=artifact.size,
            remove=partial(store.delete_artifact, artifact),
            fingerprint=one.fingerprint,
            artifact=artifact,
        )


def _removable(study: Study, one: Videos, stored: Mapping[tuple[str, str, str], StoredArtifact]) -> Garbage:
    """Videos beyond what the cluster file keeps; their commit record and all other files stay."""
    commit = one.commit
    there = stored.get((commit.stage, commit.fingerprint[:FOLDER_DIGITS], commit.attempt))
    return Garbage(
        where=f"{'' if there is None else f'{there.where}/'}{one.pattern}",
        what=f"videos (keep_videos_gib is {study.cluster.keep_videos_gib:g}): {commit.label}",
        size=one.size,
        remove=partial(study.store.remove_files, commit, [one.pattern]),
    )


def _uncommitted(
    study: Study,
    kept: KeptResults,
    open_: set[tuple[str, str]],
    ended: set[tuple[str, str]],
    stored: Iterable[StoredArtifact],
) -> Iterator[Garbage]:
    """Artifacts without a commit record and without an open attempt that may write them.

    Another home that shares the store may be publishing one: of attempts that are not of this home, only age tells.
    """
    named, broken = _named(study)
    again = to_be_made_again(study, kept)
    newest = math.inf if study.store.objects is None else time.time() - ABANDONED_S
    for one in stored:
        writer = one.digits, one.attempt
        busy = writer in open_ or writer in again or (writer not in ended and one.modified > newest)
        if _place(one) not in named and one.digits not in broken and not busy:
            yield Garbage(
                where=one.where,
                what="artifact without a commit record",
                size=one.size,
                remove=partial(study.store.delete_artifact, one),
                artifact=one,
            )


def _named(study: Study) -> tuple[set[tuple[str, str, str]], set[str]]:
    """Stage, digits and attempt of each artifact with a commit record; digits of records that cannot be read."""
    named: set[tuple[str, str, str]] = set()
    broken: set[str] = set()
    for fingerprint in study.store.commits():
        try:
            commit = study.store.read(fingerprint)
            named.add((commit.stage, fingerprint[:FOLDER_DIGITS], commit.attempt))
        except StoreError:
            broken.add(fingerprint[:FOLDER_DIGITS])
    return named, broken


def _put_aside(study: Study) -> Iterator[Garbage]:
    for record in study.store.withdrawn():
        yield Garbage(
            where=record.where,
            what="withdrawn commit record",
            size=record.size,
            remove=partial(study.store.delete_withdrawn, record),
        )
    for path in sorted(study.home.glob(f"{NAME}*.broken-*")):
        yield _local(path, "broken ledger")
    for path in sorted(study.home.glob("mlflow.db.*-*")):
        yield _local(path, "MLflow database that was replaced")
    cache = ResultsCache.of(study.home)
    if cache.fingerprints() - study.store.commits():
        yield _local(cache.path, "cache of what reports read, of results that are gone too")
    for path in sorted((study.home / "inbox").glob("*.broken")):
        yield _local(path, "unreadable control command")
    for pattern in HALF_MADE:
        for path in sorted(study.home.glob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # it has been renamed
                if time.time() - path.lstat().st_mtime > HALF_MADE_S:
                    yield _local(path, "unfinished file of a process that died")


def _attempts(study: Study, kept: KeptResults, open_: set[tuple[str, str]]) -> Iterator[Garbage]:
    """Attempt folders of jobs that nothing needs, and checkpoints of completed jobs of this file."""
    wanted, released = _digits(kept.wanted | kept.kept), _digits(kept.released | kept.removable)
    busy = {job for job, _ in open_}
    for folder in sorted((study.home / "attempts").glob("*")):
        removable = folder.name in released or kept.unknown
        if removable and folder.name not in wanted and folder.name not in busy:
            yield _local(folder, "attempts of a job that is not needed any more")
    stored, committed = study.store.checkpoints, study.store.commits()
    for fingerprint in sorted(committed & kept.here):
        for folder in sorted(job_folder(study.home, fingerprint).glob("*/checkpoints")):
            yield _local(folder, "checkpoints of a completed job")
    for fingerprint, size in sorted(stored.sizes().items()) if stored is not None else ():
        assert stored is not None
        known = fingerprint in committed or (fingerprint in kept.released and fingerprint not in kept.wanted)
        if known and fingerprint[:FOLDER_DIGITS] not in busy:
            yield Garbage(
                where=f"checkpoints/{fingerprint} in the store",
                what="checkpoints of a completed job" if fingerprint in committed else "checkpoints of no job",
                size=size,
                remove=partial(stored.drop, fingerprint),
            )


def _apart(study: Study, kept: KeptResults, stored: Mapping[tuple[str, str, str], StoredArtifact]) -> list[Apart]:
    """What is kept only because another file or a recent run asked for it, or nobody knows who did."""
    known = _digits(kept.wanted | kept.kept | kept.released | kept.removable)
    nobodys = [folder for folder in (study.home / "attempts").glob("*") if folder.name not in known]
    found: list[Apart] = []
    for origin in kept.apart:
        done = sorted(origin.fingerprints & kept.kept)
        folders = [job_folder(study.home, one) for one in sorted(origin.fingerprints)]
        size = sum(map(size_of, folders + (nobodys if origin.name == UNKNOWN else [])))
        digits = _digits(done)
        size += sum(one.size for one in stored.values() if one.digits in digits)
        if size:
            found.append(
                Apart(name=origin.name, at=origin.at, results=len(done), size=size, elsewhere=origin.elsewhere)
            )
    return found


def _local(path: Path, what: str, *, shared: bool = False) -> Garbage:
    """A file or folder on this machine."""
    return Garbage(where=str(path), what=what, size=size_of(path), remove=partial(_remove, path), shared=shared)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digits(fingerprints: Iterable[str]) -> set[str]:
    return {fingerprint[:FOLDER_DIGITS] for fingerprint in fingerprints}


def _of_backends(study: Study) -> Iterator[Garbage]:
    """Leftovers of backends in the study's folder."""
    for plugin in backends().values():
        for one in plugin.garbage(study.home):
            yield _local(one.path, one.what, shared=True)


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
            yield _local(folder, what, shared=True)
