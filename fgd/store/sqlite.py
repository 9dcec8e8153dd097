"""SQLite behind trio: one connection in one thread for each database file.

Theory of operation: a `Database` owns a thread that takes closures from a queue and runs them one after the other on
its connection, each in a transaction of its own. The trio side awaits the closure's result; several callers' closures
are so serialized without a lock. A closure must do as few steps as possible: the sqlite3 module gives the GIL away
around every step of a statement and may wait 5 ms to get it back from a busy main thread, so a loop of a hundred
single-row statements can take half a second. Many rows go into one statement (`values_sql`).

WAL keeps readers and the writer apart. `synchronous=FULL` makes a finished commit survive a power cut; NORMAL
makes it survive a crash of the process only, and costs no fsync. Source: https://sqlite.org/pragma.html#pragma_synchronous
"""

import contextlib
import errno
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

import trio

from fgd.errors import FgdError, StateError, StorageFull
from fgd.store.files import sync_folder

log = logging.getLogger(__name__)

#: One migration is a list of statements; migration n (from 1) brings a database from user_version n-1 to n.
type Migrations = Sequence[Sequence[str]]

#: Marks our files, so that another program's database is not migrated by mistake ("fgd1").
_APPLICATION_ID = 0x66676431
_BUSY_TIMEOUT_S = 5.0
_FULL_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def values_sql(columns: int, rows: int) -> str:
    """`(?,?),(?,?)` for a statement that takes many rows in one step."""
    row = "(" + ",".join("?" * columns) + ")"
    return ",".join([row] * rows)


def slices(count: int, most: int = 256) -> list[int]:
    """Cuts a count into powers of two, largest first, so that few different statements need to be prepared."""
    sizes: list[int] = []
    size = most
    while count:
        while size > count:
            size >>= 1
        sizes.append(size)
        count -= size
    return sizes


def storage_error(error: BaseException, path: Path) -> Exception | None:
    """The error of ours that a low-level one stands for; None when it is none of storage."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in _FULL_CODES:
            # The extended name tells a failing sync from a failing lock or map.
            name = getattr(error, "sqlite_errorname", "")
            return StorageFull(f"{path.name}: the disk is full or failing ({error}, {name}); nothing was stored")
        if primary in _DAMAGED_CODES:
            return StateError(f"{path}: damaged or not a database of fgd ({error}); restore it from a backup")
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StateError(f"{path}: in use by another process")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
        return StorageFull(f"{path.name}: {error.strerror}; nothing was stored")
    return None


def connect(path: Path, migrations: Migrations, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """A connection with our settings, its schema brought up to date.

    Raises:
        StateError: the schema is newer than this program, the file is damaged, or belongs to another program.
        StorageFull: the disk is full or failing.
    """
    try:
        # Only a new file is opened by us: closing a descriptor of one that this process has a connection to gives away
        # that connection's locks, and another program could take the log of a database in use away.
        # Source: https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise storage_error(error, path) or StateError(f"{path}: cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA journal_size_limit=16777216")
        _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise storage_error(error, path) or error from error
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    have = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    filled = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if filled and owner != _APPLICATION_ID:
        raise StateError(f"{path}: is a database of another program; choose another state directory")
    if have > len(migrations):
        raise StateError(
            f"{path}: has schema version {have}, this fgd knows versions up to {len(migrations)};"
            " install the newer fgd that wrote it, or use another state directory"
        )
    for number, statements in enumerate(migrations[have:], start=have + 1):
        with _Transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] >= number:
                continue  # another connection was faster
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or nothing at all."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself; then there is nothing left to do.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class Database:
    """A database file and its thread. Make it with `open`; close it with `aclose`."""

    def __init__(self, path: Path, token: trio.lowlevel.TrioToken) -> None:
        self.path = path
        self._token = token
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._serve, name=f"sqlite {path.name}", daemon=True)

    @classmethod
    async def open(cls, path: Path, migrations: Migrations, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Self:
        """Opens or makes the file and starts the thread. Raises as `connect` does."""
        self = cls(path, trio.lowlevel.current_trio_token())
        self._thread.start()

        def start() -> None:
            self._connection = connect(path, migrations, synchronous)

        try:
            await self._call(start)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a closure in a transaction; when this returns, it is committed.

        Cancellation is not obeyed meanwhile, so that the caller always knows whether the work was done.

        Raises:
            StorageFull: nothing was stored. What the closure raised is raised as it is, after a roll-back.
        """
        return await self._call(lambda: self._transact(work))

    async def read[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a closure that only reads, without a transaction."""
        return await self._call(lambda: self._plain(work))

    async def aclose(self) -> None:
        """Finishes what was asked for, folds the WAL into the file, ends the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    def _transact[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        assert self._connection is not None
        with _Transaction(self._connection):
            return work(self._connection)

    def _plain[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        assert self._connection is not None
        return work(self._connection)

    async def _call[T](self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StateError(f"{self.path.name}: closed")
        task = trio.lowlevel.current_task()
        answers: list[tuple[T | None, BaseException | None]] = []

        def job() -> None:
            try:
                answers.append((work(), None))
            except FgdError as error:
                answers.append((None, error))
            except Exception as error:  # handed to the caller, who must not wait for ever
                answers.append((None, _with_cause(storage_error(error, self.path), error)))
            self._soon(lambda: trio.lowlevel.reschedule(task))

        self._jobs.put(job)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        result, error = answers[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # no error: this is what work() gave, None included

    def _soon(self, work: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(work)
        except trio.RunFinishedError:
            log.debug("%s: the loop ended before an answer was given", self.path.name)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as error:
                log.warning("%s: %s", self.path, error)
        self._soon(self._ended.set)


def _with_cause(error: Exception | None, cause: Exception) -> Exception:
    if error is None:
        return cause
    error.__cause__ = cause
    return error
