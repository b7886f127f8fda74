"""The file of the ledger: opening, transactions fenced by the lease, and SQLite's errors as messages."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from orchestrator.errors import LedgerError
from orchestrator.schedule.ledger.connection import (
    in_words,
    is_filled,
    make_tables,
    mark_filled,
    open_for_reading,
    open_for_writing,
)
from workloads.runtime.fault_points import point


def no_fence() -> None:
    """For ledgers that no other process writes: read-only ones, and tests."""


class LedgerFile:
    """An open ledger, without its tables; a context manager that closes it."""

    def __init__(self, connection: sqlite3.Connection, fence: Callable[[], None], path: Path) -> None:
        self._connection = connection
        self._path = path
        self._fence = fence
        self._within = False

    @classmethod
    def open(
        cls, path: Path, fence: Callable[[], None] | None = None, *, rebuild: Callable[[Self], None] | None = None
    ) -> Self:
        """Open the ledger at `path` for writing; made if absent, put aside and made anew if broken.

        Args:
            path: `outputs/{study}/ledger.sqlite`.
            fence: called in each transaction (`Lease.check`): raises LeaseError when another controller took over.
            rebuild: fills a ledger that was never filled (`rebuild.rebuilder`): a new one, or one that a command made
                only to record something.

        Raises:
            LedgerError: it is of another version, or cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"{path.parent} cannot be made: {error.strerror}; check that its disk is there"
            ) from error
        fence = fence or no_fence
        connection, new = open_for_writing(path, fence, cls.prove)
        ledger = cls(connection, fence, path)
        with ledger._translated("written"):
            if new or (rebuild is not None and not is_filled(connection)):
                with ledger.transaction():
                    make_tables(connection)
                    if rebuild is not None:
                        rebuild(ledger)
                        mark_filled(connection)
                    point("ledger.rebuilt")
        return ledger

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the ledger at `path` read-only; where there is none, an empty one that is nowhere on disk.

        Raises:
            LedgerError: the file is broken (the next `run` rebuilds it) or of another version.
        """
        return cls(open_for_reading(path), no_fence, path)

    @staticmethod
    def prove(_connection: sqlite3.Connection) -> None:
        """Read every row that a run will read: quick_check looks at pages, not at the values in them.

        Raises:
            sqlite3.Error, ValueError: it cannot be read.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside reaches the disk together or not at all; may be nested.

        Raises:
            LeaseError: another controller has taken over (from the fence).
            LedgerError: the file cannot be written.
        """
        if self._within:
            yield
            return
        with self._translated("written"):
            self._connection.execute("BEGIN IMMEDIATE")
        self._within = True
        try:
            self._fence()  # with the lock held: a process that is suspended here lets no successor write
            yield
            with self._translated("written"):
                point("ledger.commit")
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have taken it back already
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._within = False

    def check(self) -> None:
        """Make sure that this controller may still act: what its fence says.

        Raises:
            LeaseError: another controller has taken over.
        """
        self._fence()

    # Rows

    def _rows(self, query: str, *values: str | int | bytes) -> list[Any]:
        try:
            with self._translated("read"):
                return self._connection.execute(query, values).fetchall()
        except UnicodeDecodeError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: ValueError) -> LedgerError:
        """What to say of a row that is not what was written; `prove` finds it at the next run."""
        return LedgerError(
            f"{self._path} cannot be read: {error}; the next `run` puts it aside and rebuilds it from commit records"
        )

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row, or replace the one with its primary key."""
        marks = ", ".join("?" * len(row))
        self._write(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def _write(self, query: str, *values: Any) -> None:
        with self.transaction(), self._translated("written"):
            self._connection.execute(query, values)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Raise SQLite's errors as LedgerError: the file cannot be `read` or `written`."""
        try:
            yield
        except sqlite3.Error as error:
            raise in_words(self._path, error, what) from error
