"""Is what the study keeps usable: store, disk, ledger, lease, and what dead drivers left."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.backends.ray.session import NAME as RAY_SESSION
from orchestrator.backends.ray.session import PARENT
from orchestrator.commands.doctor.finding import Finding, Subject, bad, ok, warning
from orchestrator.errors import LedgerError, OrchestratorError, StoreError
from orchestrator.host.machine import GIB
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.schedule.lease import NAME as DRIVER
from orchestrator.schedule.lease import is_held, process_runs, read_holder
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.store.link import prove_links
from orchestrator.store.registry import make_store

LOCKS = Path.home() / ".cache" / "torch_extensions"


def store(subject: Subject) -> Iterator[Finding]:
    """Whether COMMITs can be made: a hard link is made in a folder beside the store, and removed."""
    study = subject.study
    if study.cluster.store.kind != "files":
        try:
            make_store(study.cluster.store.kind, study.home / "store", check=True)
            yield ok(f"store {study.cluster.store.kind} answers")
        except OrchestratorError as error:
            yield bad(str(error), "see store in cluster/*.yaml")
        return
    place = _existing(study.home / "store")
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
            prove_links(Path(folder))
        yield ok(f"{study.home / 'store'}: hard links are made and seen; {len(study.store.commits())} COMMITs")
    except (StoreError, OSError) as error:
        yield bad(
            f"{place}: {error}", "make it writable, or put outputs/ on a local disk, NFS or Lustre ($ECHO_MATRIX_HOME)"
        )


def disk(subject: Subject) -> Iterator[Finding]:
    """Free space against what the plan is predicted to need, all of it counted as still to come."""
    study = subject.study
    place = _existing(study.home)
    free = shutil.disk_usage(place).free / GIB
    estimate = study.plan.workload.estimate(study.plan, None, study.cluster)
    if estimate is None:
        yield ok(f"{place} has {free:.1f} GiB left; what the plan needs is not known")
        return
    need = estimate.disk_bytes / GIB
    if free < need and len(study.store.commits()) == 0:
        yield bad(f"{place} has {free:.1f} GiB left, the plan needs {need:.1f}", "free space, or set ECHO_MATRIX_HOME")
    elif free < need:
        yield warning(
            f"{place} has {free:.1f} GiB left; the whole plan needs {need:.1f}, of which some is there already",
            "`echo-matrix gc` shows what can go; or set ECHO_MATRIX_HOME",
        )
    else:
        yield ok(f"{place} has {free:.1f} GiB left, the whole plan needs {need:.1f}")


def ledger(subject: Subject) -> Iterator[Finding]:
    """Whether the ledger is whole, and of a version that this code reads."""
    path = subject.study.home / NAME
    aside = sorted(path.parent.glob(f"{NAME}*.broken-*"))
    if aside:
        yield warning(f"{len(aside)} broken ledgers lie aside, the newest {aside[-1].name}", "`echo-matrix gc`")
    if not path.exists():
        yield ok(f"{path} is not there: the first `run` makes it")
        return
    rebuilt = "the next `run` puts it aside and rebuilds it from COMMITs"
    try:
        with Ledger.read(path) as opened:
            open_, attempts = len(opened.open_attempts()), sum(opened.attempt_counts().values())
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            connection.close()
    except (LedgerError, sqlite3.Error, OSError) as error:
        yield bad(str(error), "the message says what to do; what is committed is not touched by it")
        return
    if answer != "ok":
        yield bad(f"{path}: {answer}", rebuilt)
    else:
        yield ok(f"{path}: {attempts} attempts, {open_} open")


def lease(subject: Subject) -> Iterator[Finding]:
    """Who drives the study, and whether that process lives."""
    path = subject.study.home / DRIVER
    holder = read_holder(subject.study.home)
    if holder is None and path.exists():
        yield bad(f"{path} cannot be read", "if no `run` is under way on any machine, remove the file")
    elif holder is None:
        yield ok("nobody drives the study")
    elif (alive := process_runs(holder)) is None:
        yield warning(
            f"pid {holder.pid} on {holder.host} drives it, or did: it cannot be looked at from here",
            "the next `run` waits a minute and takes over if it stands still",
        )
    elif alive:
        yield ok(f"pid {holder.pid} on {holder.host} drives it")
    else:
        yield ok(f"pid {holder.pid} drove it and has died: the next `run` takes over at once")


def leftovers(subject: Subject) -> Iterator[Finding]:
    """Processes and folders of drivers that have died."""
    study = subject.study
    found = False
    if not is_held(study.home):
        try:
            with Ledger.read(study.home / NAME) as opened:
                open_ = opened.open_attempts()
        except OrchestratorError:
            open_ = []  # the ledger's own check says it
        for attempt in open_:
            ranks = [pid for pid, started in read_processes(study.folder_of(attempt)) if is_alive(pid, started)]
            if ranks:
                found = True
                yield warning(
                    f"{attempt.label}: ranks {', '.join(map(str, ranks))} run on without a driver",
                    "the next `run` ends or adopts them",
                )
    dead = [
        folder
        for folder in PARENT.glob("em-ray-*-*")
        if (named := RAY_SESSION.fullmatch(folder.name)) and not is_alive(int(named[1]), int(named[2]))
    ]
    if dead:
        found = True
        yield warning(f"{len(dead)} folders of dead Ray sessions, such as {dead[0]}", "the next `run` removes them")
    locks = sorted(LOCKS.rglob("lock")) if LOCKS.is_dir() else []
    if locks:
        found = True
        yield warning(
            f"{locks[0]}: while a lock of a compilation that died lies there, each that comes later waits for ever",
            f"if nothing compiles now: rm {locks[0]}",
        )
    if not found:
        yield ok("nothing of dead drivers is left")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    while not path.is_dir():
        path = path.parent
    return path
