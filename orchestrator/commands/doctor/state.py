"""Checks of the study's state: store, disk, ledger, lease, and leftovers of runs that were killed."""

import shlex
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.commands.doctor.subject import Subject
from orchestrator.errors import LedgerError, OrchestratorError, StoreError, StoreUnreachable
from orchestrator.host.machine import GIB, existing_folder
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.schedule.lease_holder import NAME as DRIVER
from orchestrator.schedule.lease_holder import is_held, process_runs, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.store.link import prove_links
from orchestrator.store.location import cache_folder
from orchestrator.study import Study
from orchestrator.wording import counted

LOCKS = Path(".cache", "torch_extensions")
"""Below the home folder."""


def store(subject: Subject) -> Iterator[CheckResult]:
    """Whether commit records can be written: a hard link beside the store, or conditional writes of objects in it."""
    study = subject.study
    if study.cluster.store.kind == "s3":
        yield from _bucket(study)
        return
    place = existing_folder(study.home / "store")
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
            prove_links(Path(folder))
        yield ok(f"{study.home / 'store'}: hard links work; {counted(len(study.store.commits()), 'completed job')}")
    except (StoreError, OSError) as error:
        yield bad(
            f"{place}: {error}", "make it writable, or set ECHO_MATRIX_HOME to a folder on a local disk, NFS or Lustre"
        )


def access(subject: Subject) -> Iterator[CheckResult]:
    """Who else may write where code and results are read from, and who may read them."""
    home = existing_folder(subject.study.home)
    inside = (subject.study.home / name for name in ("code", "store", "attempts", "inbox"))
    opened = [place for place in (*inside, home) if place.is_dir() and place.stat().st_mode & stat.S_IWOTH]
    for above in home.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:  # with that bit, as in /tmp, nobody moves what is another's
            opened.append(above)
    if opened == [home] and home != subject.study.home and home.stat().st_mode & stat.S_ISVTX:
        yield warning(
            f"{home}: every user of this machine may make {subject.study.home} before you do",
            f"mkdir -p {shlex.quote(str(subject.study.home))}",
        )
        return
    if opened:
        yield warning(
            f"{opened[0]}: every user of this machine may write here, and what is read below it runs as you",
            f"chmod o-w {shlex.quote(str(opened[0]))}; `umask 022` before `run` keeps it so",
        )
        return
    mode = home.stat().st_mode
    writers = "its owner and its group" if mode & stat.S_IWGRP else "its owner"
    readers = "every user" if mode & stat.S_IROTH else "its owner and its group" if mode & stat.S_IRGRP else "its owner"
    yield ok(f"{home}: {writers} may write, {readers} may read")


def _bucket(study: Study) -> Iterator[CheckResult]:
    """Whether the service has what commit records need, and this machine room for what it fetches."""
    location = study.store_location
    try:
        study.store.check()
        done = len(study.store.commits())
    except (OrchestratorError, StoreUnreachable) as error:
        yield bad(str(error), "see store in the cluster file, and docs/how-to/s3.md")
        return
    yield ok(f"{location.url}: conditional writes work at {location.service}; {counted(done, 'completed job')}")
    place = existing_folder(cache_folder(location))
    free = shutil.disk_usage(place).free / GIB
    if free < location.cache_gib:
        yield warning(
            f"{place} has {free:.1f} GiB free, and the cache of the store may take {location.cache_gib:g}",
            f"store: {{cache_gib: {max(1, int(free / 2))}}}, or another folder: store: {{cache: ...}}",
        )
    else:
        yield ok(f"{place} has {free:.1f} GiB free for at most {location.cache_gib:g} GiB of what is fetched")


def disk(subject: Subject) -> Iterator[CheckResult]:
    """Free space compared with the estimate for what is missing of the plan."""
    study = subject.study
    place = existing_folder(study.home)
    free = shutil.disk_usage(place).free / GIB
    standings = study.standings()
    if all(now.state == "done" for now in standings.values()):
        yield ok(f"{place} has {free:.1f} GiB free, and nothing of the plan is missing")
        return
    added = sum(study.added_disk(standings).values())
    if not added and (estimate := study.plan.workload.estimate(study.plan, None, study.cluster)) is not None:
        added = estimate.disk_bytes
    need = added / GIB
    if not added:
        yield ok(f"{place} has {free:.1f} GiB free; what the plan needs is not known")
    elif free < need:
        yield bad(
            f"{place} has {free:.1f} GiB free, what is missing of the plan needs {need:.1f}",
            "`echo-matrix gc` shows what can be removed; or set ECHO_MATRIX_HOME",
        )
    else:
        yield ok(f"{place} has {free:.1f} GiB free, what is missing of the plan needs {need:.1f}")


def ledger(subject: Subject) -> Iterator[CheckResult]:
    """Whether the ledger is intact, and of a version that this code reads."""
    path = subject.study.home / NAME
    aside = sorted(path.parent.glob(f"{NAME}*.broken-*"))
    if aside:
        yield warning(f"{counted(len(aside), 'broken ledger')} kept, the newest {aside[-1].name}", "`echo-matrix gc`")
    if not path.exists():
        yield ok(f"{path} does not exist: the first `run` creates it")
        return
    rebuilt = "the next `run` moves it aside and rebuilds it from commit records"
    try:
        with Ledger.read(path) as opened:
            open_, attempts = len(opened.open_attempts()), sum(opened.attempt_counts().values())
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            connection.close()
    except (LedgerError, sqlite3.Error, OSError) as error:
        yield bad(str(error), "see the message; completed results are not affected")
        return
    if answer != "ok":
        yield bad(f"{path}: {answer}", rebuilt)
    else:
        yield ok(f"{path}: {counted(attempts, 'attempt')}, {open_} not ended")


def lease(subject: Subject) -> Iterator[CheckResult]:
    """Which process runs the study, and whether it is alive."""
    path = subject.study.home / DRIVER
    holder = read_holder(subject.study.home)
    if holder is None and path.exists():
        yield bad(f"{path} cannot be read", "if no `run` is in progress on any machine, remove the file")
    elif holder is None:
        yield ok("no run in progress")
    elif (alive := process_runs(holder)) is None:
        yield warning(
            f"run by pid {holder.pid} on {holder.host}, which cannot be checked from this machine",
            "the next `run` waits a minute, and takes over if the lease is not renewed",
        )
    elif alive:
        yield ok(f"run by pid {holder.pid} on {holder.host}")
    else:
        yield ok(f"pid {holder.pid}, which ran the study, has died: the next `run` takes over at once")


def leftovers(subject: Subject) -> Iterator[CheckResult]:
    """Processes and files of runs that were killed."""
    study = subject.study
    found = False
    lasting = backend_plugin(study.cluster.backend).outlives_driver(study.cluster)
    if not is_held(study.home):
        try:
            with Ledger.read(study.home / NAME) as opened:
                open_ = opened.open_attempts()
        except OrchestratorError:
            open_ = []  # reported by the check of the ledger
        for attempt in open_:
            ranks = [pid for pid, started in read_processes(study.folder_of(attempt)) if is_alive(pid, started)]
            if ranks:
                found = True
                yield warning(
                    f"{attempt.label}: processes {', '.join(map(str, ranks))} still run, without a controller",
                    f"the next `run` {'adopts' if lasting else 'ends'} them",
                )
    for plugin in backends().values():
        for result in plugin.leftovers():
            found = True
            yield result
    home = subject.environment.get("HOME", "")
    locks = sorted((Path(home) / LOCKS).rglob("lock")) if home else []
    if locks:
        found = True
        yield warning(
            f"{locks[0]}: if this lock is of a compilation that was killed, later ones wait forever",
            f"if no compilation is in progress: rm {locks[0]}",
        )
    if not found:
        yield ok("none")
