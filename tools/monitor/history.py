"""History of readings in an SQLite file with a limited size and age.

The history is optional for the monitor: if the disk is full or the file is damaged, the monitor reports this
and goes on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.errors import UserError

MAX_BYTES = 200 << 20
MAX_AGE = 30 * 86400.0  # seconds
_FLUSH_INTERVAL = 2.0  # seconds
_RETRY_INTERVAL = 30.0  # seconds, after an error
_MAX_WAITING = 100_000  # number of readings that wait in memory to be written
_DELETE_CHUNK = (
    20_000  # maximum number of readings deleted at once, so that the monitor does not stop for long
)
_BUSY_TIMEOUT = 1.0  # seconds; another monitor may be writing
_VERSION = 1  # of the tables
_APPLICATION = 0x756D3568  # "um5h", marks the file as a history of the monitor
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, device TEXT NOT NULL, reading TEXT NOT NULL,
  UNIQUE (source, device, reading));
CREATE TABLE IF NOT EXISTS samples (
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL, at REAL NOT NULL, value REAL NOT NULL);
CREATE INDEX IF NOT EXISTS samples_of_series ON samples (series, id);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""

Sample = tuple[float, str, str, float]  # seconds since the epoch, device, reading, value


class NewerHistoryError(Exception):
    """The file was written by a newer version of the monitor."""


class OtherProgramError(Exception):
    """The file is a database of another program."""


def default_path(folder: Path) -> Path:
    """Return the path of the history in a folder."""
    return folder / "monitor" / "readings.sqlite3"


class HistoryStore:
    """Readings of one source, which is a broker and a prefix. Several monitors can use the same file.

    `report` is called with a text when storing fails and when it works again. `clock` returns seconds since
    the epoch. Raises UserError if the path is not a regular file, or has data of another program.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
    ) -> None:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"--history {path}: not a regular file. Choose another name")
        self.path = path
        self._source = source
        self._report = report
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._waiting: deque[Sample] = deque(maxlen=_MAX_WAITING)
        self._next_flush = 0.0
        self._problem = ""  # the last error reported
        self._database: sqlite3.Connection | None = None
        self._is_of_another_program = False
        self._attempt(self._open)
        if self._is_of_another_program:
            raise UserError(f"--history {path}: a database of another program. Choose another name")

    # ---- store

    def add(self, at: float, device: str, reading: str, value: float) -> None:
        """Store a reading with the next `flush`."""
        self._waiting.append((at, device, reading, value))

    def flush(self, force: bool = False) -> None:
        """Write the waiting readings every 2 s, or at once with `force`; delete old ones."""
        now = self._clock()
        # a clock that was set back must not stop the history
        if not force and 0 <= self._next_flush - now <= _RETRY_INTERVAL:
            return
        self._next_flush = now + _FLUSH_INTERVAL
        if not self._attempt(self._write):
            self._next_flush = now + _RETRY_INTERVAL

    def close(self) -> None:
        """Write the waiting readings, and close the file."""
        self.flush(force=True)
        self._disconnect()

    # ---- read

    def load(self, device: str, reading: str, count: int) -> list[tuple[float, float]]:
        """Return times and values of the last `count` readings stored, the oldest first."""
        found: list[tuple[float, float]] = []

        def read(database: sqlite3.Connection) -> None:
            rows = database.execute(
                "SELECT at, value FROM samples WHERE series = (SELECT id FROM series WHERE source = ? "
                "AND device = ? AND reading = ?) ORDER BY id DESC LIMIT ?",
                (self._source, device, reading, count),
            )
            found.extend(rows)

        self._attempt(read)
        return found[::-1]

    def export(self, device: str | None = None) -> Iterator[Sample]:
        """Return all readings of the source, or of one device, in the order in which they were stored.

        The iterator may run in another thread. It ends early if the file cannot be read.
        """
        self.flush(force=True)  # in this thread, which owns the connection of the store
        return self._read_all(device)

    def _read_all(self, device: str | None) -> Iterator[Sample]:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as database:
            yield from database.execute(
                "SELECT at, device, reading, value FROM samples JOIN series ON samples.series = series.id "
                "WHERE source = ?1 AND (?2 IS NULL OR device = ?2) ORDER BY samples.id",
                (self._source, device),
            )

    # ---- the file

    def _connect(self) -> sqlite3.Connection:
        # no automatic transactions; the export is used by one thread after the other
        return sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )

    def _open(self, _: sqlite3.Connection | None = None) -> None:
        """Open the file, or create it so that only its owner can read it. Raises sqlite3.Error, OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        database = self._connect()
        try:
            application = database.execute("PRAGMA application_id").fetchone()[0]
            is_empty = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application != _APPLICATION and not is_empty:
                raise OtherProgramError
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise NewerHistoryError
            if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the check of the file fails")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA journal_size_limit = {4 << 20}")
            page_size = database.execute("PRAGMA page_size").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {max(self._max_bytes // page_size, 16)}")
            database.executescript(_SCHEMA)
        except BaseException:
            database.close()
            raise
        self._database = database

    def _disconnect(self) -> None:
        if self._database:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _attempt(self, action: Callable[[sqlite3.Connection], None]) -> bool:
        """Run an action with the file, which is opened if necessary. Return whether it succeeded."""
        try:
            if not self._database:
                self._open()
            assert self._database
            if action != self._open:
                action(self._database)
        except NewerHistoryError:
            self._fail("it was written by a newer version. Choose another file with --history")
        except OtherProgramError:
            self._is_of_another_program = True
            self._fail("it is a database of another program. Choose another file with --history")
        except sqlite3.OperationalError as error:  # the disk is full, the file is locked, ...
            self._fail(f"{error}: readings are not stored. Trying again")
        except sqlite3.DatabaseError as error:
            self._move_aside(str(error))
        except OSError as error:
            self._fail(f"{error.strerror}: readings are not stored. Trying again")
        else:
            if self._problem:
                self._report(f"history {self.path}: readings are stored again")
                self._problem = ""
            return True
        return False

    def _fail(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._report(f"history {self.path}: {problem}")

    def _move_aside(self, error: str) -> None:
        """Rename a damaged file, so that the next attempt creates a new one."""
        self._disconnect()
        damaged = self.path.with_name(f"{self.path.name}.damaged")
        try:
            os.replace(self.path, damaged)
            for suffix in ("-wal", "-shm"):  # they belong to the damaged file
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._open()
        except (OSError, sqlite3.Error) as second:
            self._fail(f"damaged ({error}), and cannot be replaced: {second}")
            return
        self._report(
            f"history {self.path}: damaged ({error}). It is now {damaged.name}, and a new file begins"
        )

    def _write(self, database: sqlite3.Connection) -> None:
        written = list(self._waiting)
        database.execute("BEGIN IMMEDIATE")
        try:
            self._delete_old(database)
            names = {(self._source, device, reading) for _, device, reading, _ in written}
            database.executemany(
                "INSERT OR IGNORE INTO series (source, device, reading) VALUES (?, ?, ?)", names
            )
            database.executemany(
                "INSERT INTO samples (series, at, value) VALUES ("
                "(SELECT id FROM series WHERE source = ? AND device = ? AND reading = ?), ?, ?)",
                [(self._source, device, reading, at, value) for at, device, reading, value in written],
            )
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
        for _ in written:
            self._waiting.popleft()

    def _delete_old(self, database: sqlite3.Connection) -> None:
        """Delete the oldest readings if they are too old, or if the file is nearly full."""
        first = database.execute("SELECT min(id) FROM samples").fetchone()[0]
        if first is None:
            return
        pages, free, limit = (
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "max_page_count")
        )
        last = first + _DELETE_CHUNK
        if pages - free > 0.9 * limit:
            deleted = database.execute("DELETE FROM samples WHERE id < ?", (last,)).rowcount
        else:
            oldest = self._clock() - self._max_age
            deleted = database.execute("DELETE FROM samples WHERE id < ? AND at < ?", (last, oldest)).rowcount
        if deleted:
            database.execute(
                "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM samples WHERE samples.series = series.id)"
            )
