"""The log book: takes lines and records by list append, writes them in batches, and finds them again.

Theory of operation: `line`, `invocation` and `start` only append. Five times a second, or when somebody flushes, a
thread writes what there is (`fgd.store.log_chunks`). One batch is written at a time; what comes in meanwhile is held
up to a bound, and beyond it the oldest goes, counted and told as a line of its function. Readers have a thread and
connections of their own, so that a long search holds up no writing.
"""

import heapq
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import trio

from fgd.errors import StateError, StorageFull
from fgd.store import log_chunks as chunks
from fgd.store.api import InvocationRecord, LogLine, StartRecord
from fgd.store.log_text import invocation_lines, line_text, start_lines
from fgd.store.sqlite import storage_error

log = logging.getLogger(__name__)

_FLUSH_S = 0.2
#: What may wait for the writer.
_LINES_MAX = 200_000
_TEXT_MAX_CHARS = 32 * 1024 * 1024
_RECORDS_MAX = 200_000
#: Records that are encoded at once, holding the GIL for some 0.3 ms.
_SLICE = 512
_DAY_S = 86_400.0
_DISK_FULL_PAUSE_S = 10.0


type Batch = Sequence[tuple[int, Sequence[chunks.Record]]]


class SqliteLogBook:
    """`fgd.store.api.LogBook` in the state directory. Make it with `open`, run `run`, close it with `aclose`."""

    def __init__(self, state_dir: Path, keep_days: int, now_s: Callable[[], float]) -> None:
        self._state_dir = state_dir
        self._keep_days = keep_days
        self._now_s = now_s
        self._lines: list[LogLine] = []
        self._text_chars = 0
        self._invocations: list[InvocationRecord] = []
        self._starts: list[StartRecord] = []
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._writing = trio.Lock()
        self._reading = trio.CapacityLimiter(1)
        self._thread = trio.CapacityLimiter(1)
        self._writer: sqlite3.Connection | None = None
        self._writer_path = Path()
        self._readers: dict[Path, sqlite3.Connection] = {}
        self._next_id = 1
        #: Everything up to this chunk can be read.
        self._written_id = 0
        self._quiet_until_s = 0.0
        self._written_ids: set[str] = set()
        #: Told which functions have more in their logs, each time that something was written.
        self.on_written: Callable[[set[str]], None] | None = None

    @classmethod
    async def open(cls, state_dir: Path, *, keep_days: int, now_s: Callable[[], float] = time.time) -> Self:
        """Opens the file of today, removes those that are too old.

        Raises:
            StateError: a file is damaged or from a newer fgd.
            StorageFull: the disk is full or failing.
        """
        self = cls(state_dir, keep_days, now_s)
        await trio.to_thread.run_sync(self._start)
        return self

    # --- taking ------------------------------------------------------------------------------------------

    def line(self, line: LogLine) -> None:
        self._lines.append(line)
        self._text_chars += len(line.text)
        if self._text_chars > _TEXT_MAX_CHARS or len(self._lines) > _LINES_MAX:
            self._drop_lines()

    def invocation(self, record: InvocationRecord) -> None:
        self._invocations.append(record)
        if len(self._invocations) > _RECORDS_MAX:
            self._drop_records(self._invocations)

    def start(self, record: StartRecord) -> None:
        self._starts.append(record)
        if len(self._starts) > _RECORDS_MAX:
            self._drop_records(self._starts)

    def _drop_lines(self) -> None:
        """The oldest quarter goes; quarter by quarter is cheaper than one by one."""
        dropped = self._lines[: max(1, len(self._lines) // 4)]
        del self._lines[: len(dropped)]
        self._count_dropped(dropped)
        self._text_chars -= sum(len(line.text) for line in dropped)

    def _drop_records[T: (InvocationRecord, StartRecord)](self, records: list[T]) -> None:
        dropped = records[: len(records) // 4]
        del records[: len(dropped)]
        self._count_dropped(dropped)

    def _count_dropped(self, records: Sequence[chunks.Record]) -> None:
        for record in records:
            self._dropped[record.func_id, record.version] += 1

    # --- writing -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Writes until cancelled; `aclose` writes the rest."""
        while True:
            await trio.sleep(_FLUSH_S)
            await self.flush()

    async def aclose(self) -> None:
        """Writes what is left and closes the files. May be called twice."""
        with trio.CancelScope(shield=True):
            await self.flush()
            await trio.to_thread.run_sync(self._close_writer, limiter=self._thread)
            await trio.to_thread.run_sync(self._close_readers, limiter=self._reading)

    async def flush(self) -> None:
        async with self._writing:
            now_s = self._now_s()
            if self._writer_path != chunks.day_path(self._state_dir, now_s):
                await trio.to_thread.run_sync(self._retain, now_s, limiter=self._reading)
            self._say_dropped(now_s)
            lines, self._lines, self._text_chars = self._lines, [], 0
            invocations, self._invocations = self._invocations, []
            starts, self._starts = self._starts, []
            batch = ((chunks.STARTS, starts), (chunks.LINES, lines), (chunks.INVOCATIONS, invocations))
            if not any(records for _, records in batch):
                return
            if not await self._written(now_s, batch):
                for _, records in batch:
                    self._count_dropped(records)
            elif self.on_written is not None:
                self.on_written(self._written_ids)

    async def _written(self, now_s: float, batch: Batch) -> bool:
        """Writes a batch; False when that is impossible. On a full disk the oldest days go first."""
        while True:
            try:
                await trio.to_thread.run_sync(self._write, now_s, batch, limiter=self._thread)
                return True
            except (StorageFull, StateError) as error:
                if isinstance(error, StorageFull) and await trio.to_thread.run_sync(
                    self._remove_oldest, limiter=self._reading
                ):
                    continue
                if now_s >= self._quiet_until_s:
                    log.error("logs cannot be written, lines are dropped: %s", error)
                    self._quiet_until_s = now_s + _DISK_FULL_PAUSE_S
                return False

    def _say_dropped(self, now_s: float) -> None:
        if self._dropped and now_s >= self._quiet_until_s:
            dropped, self._dropped = self._dropped, Counter()
            for (func_id, version), count in dropped.items():
                self._lines.append(LogLine(now_s, func_id, version, "", "", "WARN", f"fgd: {count} lines dropped"))

    # --- in the writer's thread --------------------------------------------------------------------------

    def _start(self) -> None:
        now_s = self._now_s()
        self._retain(now_s)
        highest = 0
        for path in chunks.day_paths(self._state_dir)[-1:]:
            connection = chunks.open_day(path)
            highest = chunks.last_id(connection)
            connection.close()
        self._written_id = max(highest, int(now_s * 1000))
        self._next_id = self._written_id + 1
        self._day_writer(now_s)

    def _day_writer(self, now_s: float) -> sqlite3.Connection:
        path = chunks.day_path(self._state_dir, now_s)
        if self._writer is None or path != self._writer_path:
            self._close_writer()
            self._writer = chunks.open_day(path)
            self._writer_path = path
        return self._writer

    def _write(self, now_s: float, batch: Batch) -> None:
        """Writes a batch in one transaction.

        Raises:
            StorageFull, StateError: nothing of it was written.
        """
        try:
            connection = self._day_writer(now_s)
            next_id = max(self._next_id, int(now_s * 1000))
            connection.execute("BEGIN IMMEDIATE")
            try:
                for kind, records in batch:
                    for at in range(0, len(records), _SLICE):
                        next_id = chunks.write(connection, kind, records[at : at + _SLICE], next_id)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise storage_error(error, self._writer_path) or StateError(f"{self._writer_path}: {error}") from error
        self._next_id = next_id
        self._written_id = next_id - 1
        self._written_ids = {record.func_id for _, records in batch for record in records}

    def _remove_oldest(self) -> bool:
        """Makes room by removing the oldest day; False when there is only the one that is written."""
        days = [path for path in chunks.day_paths(self._state_dir) if path != self._writer_path]
        if not days:
            return False
        log.warning("the disk is full: removing the oldest logs (%s)", days[0].name)
        self._remove(days[0])
        return True

    def _remove(self, path: Path) -> None:
        if (reader := self._readers.pop(path, None)) is not None:
            reader.close()
        chunks.remove_day(path)

    def _retain(self, now_s: float) -> None:
        """Removes the files of days that are too old; readers of them are closed first."""
        oldest = chunks.day_path(self._state_dir, now_s - (self._keep_days - 1) * _DAY_S)
        for path in chunks.day_paths(self._state_dir):
            if path < oldest:
                self._remove(path)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # --- reading -----------------------------------------------------------------------------------------

    async def query(
        self, func_id: str, *, request_id: str = "", after: int = 0, limit: int = 1000, newest: bool = True,
        match: str = "",
    ) -> tuple[list[str], int]:  # fmt: skip
        """Rendered log lines in order of time, and a cursor for `after` that continues behind them.

        Without `after`, the newest (or with `newest` False the oldest) `limit` lines. With it, the lines that came
        in behind that cursor, none left out and none twice, however late they are; those of one answer are in
        order of time. The Start line of an invocation comes in together with its Finish line, when it is over.

        Args:
            match: words that a line must all have, in any order and case; then only lines of user code are found.

        Raises:
            StorageFull, StateError: the files cannot be read.
        """
        last = self._written_id
        wanted = chunks.words(match)
        if match and not wanted:
            return [], last * chunks.CURSOR_STEP + chunks.CURSOR_STEP - 1
        search = _Search(func_id, request_id, wanted, limit, last)
        return await self._in_reader(
            lambda: self._newest(search) if newest and not after else self._onward(search, after)
        )  # fmt: skip

    async def follow(self, func_id: str, after: int, limit: int) -> list[tuple[int, LogLine]]:
        """Lines as people read them, FunctionGraph's own too, behind a cursor, in the order in which they were written;
        each with the cursor that continues behind it. Raises as `query`."""
        search = _Search(func_id, "", set(), limit, self._written_id)
        return await self._in_reader(lambda: self._followed(search, after))

    async def invocations(self, func_id: str, *, request_id: str = "", limit: int = 100) -> list[InvocationRecord]:
        """Records of invocations, newest first."""
        search = _Search(func_id, request_id, set(), limit, self._written_id)
        return await self._in_reader(lambda: self._records(search, chunks.INVOCATIONS))

    async def starts(self, func_id: str, *, limit: int = 100) -> list[StartRecord]:
        """Records of cold starts, newest first."""
        search = _Search(func_id, "", set(), limit, self._written_id)
        return await self._in_reader(lambda: self._records(search, chunks.STARTS))

    async def _in_reader[T](self, work: Callable[[], T]) -> T:
        def run() -> T:
            try:
                return work()
            except sqlite3.Error as error:
                raise storage_error(error, self._state_dir) or StateError(f"logs: {error}") from error

        return await trio.to_thread.run_sync(run, limiter=self._reading)

    # --- in the reader's thread --------------------------------------------------------------------------

    def _newest(self, search: "_Search") -> tuple[list[str], int]:
        found: list[tuple[float, str]] = []
        for kind in search.kinds:  # each by itself: the newest chunk of all may hold more lines than are wanted
            enough = len(found) + search.limit
            for row in self._chunks(search, kind, 0, newest_first=True):
                found += [(time_s, text) for _, time_s, text in search.lines(row)][::-1]
                if len(found) >= enough:
                    break
        found.reverse()
        found.sort(key=_moment)
        texts = [text for _, text in found[len(found) - min(search.limit, len(found)) :]]
        return texts, search.last * chunks.CURSOR_STEP + chunks.CURSOR_STEP - 1

    def _onward(self, search: "_Search", after: int) -> tuple[list[str], int]:
        first, behind = divmod(after, chunks.CURSOR_STEP)
        found: list[tuple[float, str]] = []
        cursor = max(after, search.last * chunks.CURSOR_STEP + chunks.CURSOR_STEP - 1)
        streams = [self._chunks(search, kind, first, newest_first=False) for kind in search.kinds]
        for row in heapq.merge(*streams, key=_row_id):
            for number, time_s, text in search.lines(row):
                if row[0] == first and after and number < behind:
                    continue
                if len(found) == search.limit:
                    break
                found.append((time_s, text))
                position = row[0] * chunks.CURSOR_STEP + number + 1
            else:
                continue
            cursor = position
            break
        found.sort(key=_moment)
        return [text for _, text in found], cursor

    def _followed(self, search: "_Search", after: int) -> list[tuple[int, LogLine]]:
        first, behind = divmod(after, chunks.CURSOR_STEP)
        found: list[tuple[int, LogLine]] = []
        streams = [self._chunks(search, kind, first, newest_first=False) for kind in search.kinds]
        for row in heapq.merge(*streams, key=_row_id):
            for number, line in _rendered(row):
                if row[0] > first or number >= behind:
                    found.append((row[0] * chunks.CURSOR_STEP + number + 1, line))
            if len(found) >= search.limit:
                break
        return found[: search.limit]

    def _records(self, search: "_Search", kind: int) -> list[Any]:
        found: list[Any] = []
        for row in self._chunks(search, kind, 0, newest_first=True):
            for record in reversed(chunks.decode(kind, row[3])):
                if not search.request_id or record.request_id == search.request_id:
                    found.append(record)
            if len(found) >= search.limit:
                break
        return found[: search.limit]

    def _chunks(self, search: "_Search", kind: int, first: int, *, newest_first: bool) -> Iterator[chunks.Row]:
        paths = chunks.day_paths(self._state_dir)
        for path in reversed(paths) if newest_first else paths:
            yield from chunks.read(
                self._reader(path), search.func_id, kind=kind, first=first, last=search.last,
                newest_first=newest_first, request_id=search.request_id, match=search.words,
            )  # fmt: skip

    def _reader(self, path: Path) -> sqlite3.Connection:
        reader = self._readers.get(path)
        if reader is None:
            reader = self._readers[path] = chunks.open_day(path)
            reader.execute("PRAGMA query_only=ON")
        return reader

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()


class _Search:
    """What somebody looks for; picks it out of chunks."""

    def __init__(self, func_id: str, request_id: str, words: set[str], limit: int, last: int) -> None:
        self.func_id = func_id
        self.request_id = request_id
        self.words = words
        self.limit = max(1, limit)
        self.last = last
        #: FunctionGraph's own lines have no words that anyone looks for.
        self.kinds = (chunks.LINES,) if words else (chunks.STARTS, chunks.LINES, chunks.INVOCATIONS)

    def lines(self, row: chunks.Row) -> Iterator[tuple[int, float, str]]:
        """(number in the chunk, moment, text) of the lines of a chunk that are looked for."""
        number = 0
        for record in chunks.decode(row[1], row[3]):
            if row[1] == chunks.LINES:
                if self._wants(record.request_id) and (not self.words or self.words <= chunks.words(record.text)):
                    yield number, record.time_s, line_text(record)
                number += 1
            elif row[1] == chunks.INVOCATIONS:
                if self._wants(record.request_id):
                    for at, (time_s, text) in enumerate(invocation_lines(record)):
                        yield number + at, time_s, text
                number += 2
            else:
                for at, (time_s, text) in enumerate(start_lines(record)):
                    if self._wants(record.load_request_id if at < 2 else record.init_request_id):
                        yield number + at, time_s, text
                number += 4

    def _wants(self, request_id: str) -> bool:
        return not self.request_id or request_id == self.request_id


def _rendered(row: chunks.Row) -> Iterator[tuple[int, LogLine]]:
    """(number in the chunk, line with its text as people read it) of all lines of a chunk."""
    number = 0
    for record in chunks.decode(row[1], row[3]):
        if row[1] == chunks.LINES:
            lines = [(record.time_s, line_text(record))]
        else:
            lines = list(invocation_lines(record) if row[1] == chunks.INVOCATIONS else start_lines(record))
        request_id = "" if row[1] == chunks.STARTS else record.request_id
        for at, (time_s, text) in enumerate(lines):
            yield (
                number + at,
                LogLine(time_s, record.func_id, record.version, record.instance_id, request_id, "", text),
            )
        number += 4 if row[1] == chunks.STARTS else len(lines)


def _moment(line: tuple[float, str]) -> float:
    return line[0]


def _row_id(row: chunks.Row) -> int:
    return row[0]
