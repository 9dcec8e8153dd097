"""What is read of one partition and not done yet, and how it is cut into batches."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from fgd_kafka.source import Key, Record

#: How much of one partition is held before its source is told to wait.
HELD_MAX_BYTES: Final = 8 * 1024 * 1024
#: Many, as librdkafka throws away what it has read ahead of a partition that is told to wait.
HELD_MAX_RECORDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class BatchRules:
    """When a batch is full, or has waited for long enough."""

    messages: int
    #: What the texts of a batch may have together, with a comma after each.
    text_bytes: int
    #: How long a batch that is not full waits after its first message.
    window_s: float
    #: What the messages themselves may have together; a larger one goes alone.
    message_bytes: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition that follow each other."""

    key: Key
    #: Those that go to the function, maybe none: messages that are too large are left out.
    records: Sequence[Record]
    #: The offset after the last.
    end: int

    def texts(self) -> bytes:
        """The messages as JSON, with commas between them."""
        return b",".join(record.text for record in self.records if record.text is not None)


class Partition:
    """A partition that is ours."""

    def __init__(self, key: Key, rules: BatchRules) -> None:
        self.key = key
        self.over = trio.Event()
        self.scope = trio.CancelScope()
        #: Whether no further batch is to begin.
        self.closing = False
        self.paused = False
        self._rules = rules
        self._records: deque[Record] = deque()
        self._held_bytes = 0
        self._held_message_bytes = 0
        self._changed = trio.Event()

    def add(self, records: Sequence[Record]) -> None:
        """More of it was read."""
        self._records.extend(records)
        self._held_bytes += sum(_cost(record) for record in records)
        self._held_message_bytes += sum(record.size for record in records)
        self._poke()

    def close(self) -> None:
        """No further batch begins, and whoever rests goes."""
        self.closing = True
        self._poke()

    @property
    def full(self) -> bool:
        """Whether no more should be read of it now."""
        return len(self._records) > HELD_MAX_RECORDS or self._held_bytes > HELD_MAX_BYTES

    @property
    def hungry(self) -> bool:
        """Whether it has less than a batch."""
        rules = self._rules
        return (
            len(self._records) < rules.messages
            and self._held_bytes < rules.text_bytes
            and self._held_message_bytes < rules.message_bytes
        )

    async def next_batch(self) -> Batch | None:
        """Waits until a batch is full or its first message has waited for long enough; None: it is to close."""
        while not self.closing:
            if not self._records:
                await self._changed.wait()
                continue
            left_s = self._records[0].read_s + self._rules.window_s - time.monotonic()
            if not self.hungry or left_s <= 0:
                return self._cut()
            with trio.move_on_after(left_s):
                await self._changed.wait()
        return None

    async def rest(self, seconds: float) -> bool:
        """Waits for so long; False: it is to close."""
        end_s = trio.current_time() + seconds
        while not self.closing and trio.current_time() < end_s:
            with trio.move_on_at(end_s):
                await self._changed.wait()
        return not self.closing

    def _cut(self) -> Batch:
        taken: list[Record] = []
        size = message_bytes = 0
        end = 0
        while self._records and len(taken) < self._rules.messages:
            record = self._records[0]
            size += _cost(record)
            message_bytes += 0 if record.text is None else record.size
            if taken and (size > self._rules.text_bytes or message_bytes > self._rules.message_bytes):
                break
            self._records.popleft()
            self._held_bytes -= _cost(record)
            self._held_message_bytes -= record.size
            end = record.offset + 1
            if record.text is not None:
                taken.append(record)
        return Batch(self.key, taken, end)

    def _poke(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _cost(record: Record) -> int:
    return 1 if record.text is None else len(record.text) + 1
