"""Ledger connections: open the SQLite file, migrate it, rename it when broken; SQLite's errors as messages.

Only a file that SQLite itself calls broken is renamed. A ledger that is locked, full, read-only or on a failing disk
is not damaged: the run stops with a message, and the next one continues with it.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import LedgerError
from orchestrator.schedule.ledger.schema import MIGRATIONS, SCHEMA, VERSION
from workloads.runtime.fault_points import point

BUSY_S = 30.0
"""How long a lock of another connection is waited for."""

HIGHEST = 1000
"""A higher version is a damaged byte."""

BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
FILLED = 0x4543484F
"""`application_id` of a ledger that was filled from store and folders: ECHO."""

LIVES = "completed jobs stay completed, and `run` continues from there"

_REMEDIES = {
    "SQLITE_FULL": f"free some space, then `run` again: {LIVES}",
    "SQLITE_READONLY": f"make it writable for this user, then `run` again: {LIVES}",
    "SQLITE_READONLY_DBMOVED": "it was moved or removed meanwhile; the next `run` rebuilds it from commit records",
    "SQLITE_PERM": f"make it writable for this user, then `run` again: {LIVES}",
    "SQLITE_BUSY": "another program holds its lock, or this file system gives no locks; end that program, or put "
    "outputs/ on a local disk, NFS or Lustre ($ECHO_MATRIX_HOME)",
    "SQLITE_IOERR_LOCK": "this file system gives no locks; put outputs/ on a local disk, NFS or Lustre "
    "($ECHO_MATRIX_HOME)",
    "SQLITE_IOERR": f"check that the disk works and is not full, then `run` again: {LIVES}",
    "SQLITE_CANTOPEN": "check that its folder exists, that this user may write in it and that it has room, "
    f"then `run` again: {LIVES}",
    **{code: "the next `run` puts the file aside and rebuilds it from commit records" for code in BROKEN},
}


def in_words(path: Path, error: sqlite3.Error, what: str) -> LedgerError:
    """An error of SQLite as a message for the user; `what` is `read` or `written`."""
    name = BROKEN[0] if is_broken(path, error) else getattr(error, "sqlite_errorname", None) or ""
    remedy = next((_REMEDIES[code] for code in sorted(_REMEDIES, reverse=True) if name.startswith(code)), "")
    return LedgerError(f"{path} cannot be {what}: {error}; {remedy or _REMEDIES['SQLITE_IOERR']}")


def is_broken(path: Path, error: sqlite3.Error) -> bool:
    """Whether the file at `path` is damaged for good, or no ledger."""
    return path.is_dir() or str(getattr(error, "sqlite_errorname", "")).startswith(BROKEN)


def open_for_writing(
    path: Path, fence: Callable[[], None], prove: Callable[[sqlite3.Connection], None]
) -> tuple[sqlite3.Connection, bool]:
    """Connect to the ledger at `path` and migrate it; True: it is new and has no tables yet.

    Args:
        path: of the file.
        fence: called before a broken file is renamed.
        prove: reads what a run will need; raises sqlite3.DatabaseError or ValueError where it cannot be read.

    Raises:
        LedgerError: it cannot be opened, or a newer version wrote it.
    """
    try:
        connection = _connect(path, prove)
    except sqlite3.Error as error:
        if not is_broken(path, error):
            raise in_words(path, error, "written") from error
        fence()
        put_aside(path)
        try:
            connection = _connect(path, prove)
        except sqlite3.Error as again:
            raise in_words(path, again, "written") from again
    found = _version(connection)
    if found > VERSION:
        connection.close()
        raise LedgerError(
            f"{path}: version is {found}, this code reads {VERSION} and older; "
            "run the newer code, or put the file aside, and the next `run` rebuilds it from commit records"
        )
    try:
        for older in range(found, VERSION) if found else ():
            _migrate(connection, older)
    except sqlite3.Error as error:
        connection.close()
        raise in_words(path, error, "written") from error
    return connection, found == 0


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new ledger; within a transaction of the caller, so that they are made together."""
    for statement in _statements(SCHEMA):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def is_filled(connection: sqlite3.Connection) -> bool:
    """Whether it was filled from store and folders when it was made."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == FILLED)


def mark_filled(connection: sqlite3.Connection) -> None:
    """Record that it was filled; within the transaction that fills it."""
    connection.execute(f"PRAGMA application_id = {FILLED}")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Connect read-only; where there is no file, to an empty ledger in memory.

    A controller that died during a write leaves a journal that only a writer may play back: a copy is read then.

    Raises:
        LedgerError: the file is broken (the next `run` rebuilds it), or newer code wrote it.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return _in_memory()
    connection = None
    try:
        connection = _read(path)
        found = _version(connection)
        if found:  # else its first writer is making it, or has died
            connection.execute("SELECT COUNT(*) FROM attempts")
    except (sqlite3.Error, ValueError) as error:
        if connection is not None:
            connection.close()
        connection = _read_copy(path, error if isinstance(error, sqlite3.Error) else _broken(str(error)))
        found = _version(connection)
    if found == 0:
        connection.close()
        return _in_memory()
    if found > VERSION or found not in (VERSION, *MIGRATIONS):
        connection.close()
        raise LedgerError(f"{path}: version is {found}, this code reads {VERSION} and older; use the newer code")
    return connection if found == VERSION else _migrated_copy(connection, found)


def _migrated_copy(connection: sqlite3.Connection, older: int) -> sqlite3.Connection:
    """A migrated copy in memory of a ledger of an older version; the next `run` migrates the file."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with contextlib.closing(connection):
        connection.backup(copy)
    for version in range(older, VERSION):
        for statement in _statements(MIGRATIONS[version]):
            copy.execute(statement)
    copy.execute("PRAGMA query_only = 1")
    return copy


def put_aside(path: Path) -> None:
    """Rename a broken ledger and its journal; they are kept for inspection."""
    for name in (path, path.with_name(f"{path.name}-journal")):
        if name.exists():
            name.rename(name.with_name(f"{name.name}.broken-{time.time_ns()}"))


def _connect(path: Path, prove: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        if answer != "ok":
            raise _broken(answer)
        found = _version(connection)
        if not 0 <= found <= HIGHEST:
            raise _broken(f"version is {found}")
        if found == VERSION:
            prove(connection)
    except (ValueError, sqlite3.DatabaseError) as error:
        connection.close()
        damaged = isinstance(error, ValueError)  # bytes that are no text, text that is no JSON
        if isinstance(error, sqlite3.OperationalError):  # no text, or no such table
            damaged = getattr(error, "sqlite_errorname", None) in (None, "SQLITE_ERROR")
        if damaged:
            raise _broken(str(error)) from error
        raise
    return connection


def _broken(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorname = BROKEN[0]
    return error


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, older: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(MIGRATIONS[older]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {older + 1}")
        point("ledger.migrating")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";") if statement.strip()]


def _read(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)


def _read_copy(path: Path, why: sqlite3.Error) -> sqlite3.Connection:
    """The ledger as a writer would find it, in memory.

    Raises:
        LedgerError: something other than the journal is wrong.
    """
    journal = path.with_name(f"{path.name}-journal")
    if is_broken(path, why) or not journal.is_file():
        raise in_words(path, why, "read") from why
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in (path, journal):
                shutil.copyfile(name, Path(folder) / name.name)
            with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as copy:
                copy.backup(memory)
        except (OSError, sqlite3.Error):
            memory.close()
            raise in_words(path, why, "read") from why
    return memory


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    make_tables(connection)
    return connection
