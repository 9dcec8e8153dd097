"""The consumer of a trigger. All of it blocks, so it is called in threads; what it tells goes through `Owner`.

Offsets: librdkafka commits by itself what `done` was told, twice a second and when partitions are taken away, and
nothing else. The consumer is no static member of its group: one of those is fenced for good when a broker is killed.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fgd_kafka.connection import Brokers, Unreachable, told

log = logging.getLogger(__name__)

#: Messages taken out of librdkafka in one step.
STEP_MAX: Final = 1000
_ASK_S: Final = 4.0
_LAG_EVERY_S: Final = 1.0
#: A complaint about brokers is over when nothing more was heard for so long.
_QUIET_S: Final = 20.0

type Key = tuple[str, int]
"""Topic and number of a partition."""


class Owner(Protocol):
    """What the consumer tells, in its thread, while partitions change."""

    def begun(self) -> frozenset[str]:
        """Topics that this group has begun to read."""

    def adopt(self, keys: Sequence[Key], topics: frozenset[str]) -> None:
        """Those are ours now; these topics have a committed offset in each of their partitions that we know."""

    def release(self, keys: Sequence[Key], *, lost: bool) -> None:
        """Those are ours no longer. Returns when what runs of them is over; `lost`: somebody has them already."""


@dataclass(frozen=True, slots=True)
class Record:
    """A message: its offset, its text as JSON (None: too large for an event), and what it was, where that is kept."""

    offset: int
    text: bytes | None
    message: Message | None
    read_s: float
    #: How long the message itself is.
    size: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is read."""

    brokers: Brokers
    topics: tuple[str, ...]
    #: Consumer group.
    group: str
    #: Where a topic is begun that the group has not read yet: at its first message, or behind its last.
    earliest: bool
    #: A message as JSON; called in the consumer's thread.
    encode: Callable[[Message], bytes]
    #: Messages whose JSON is longer are dropped.
    text_max_bytes: int
    #: Whether records keep their messages: for dead letters. It takes as much memory again.
    keep_messages: bool = False


@dataclass(slots=True)
class Step:
    """What one look brought. `lag` is None where it was not looked at."""

    records: dict[Key, list[Record]] = field(default_factory=dict)
    dropped: int = 0
    lag: int | None = None
    trouble: str = ""


class Source:
    """A consumer and its subscription."""

    def __init__(self, subscription: Subscription, owner: Owner) -> None:
        self._what = subscription
        self._owner = owner
        self._trouble = ""
        self._trouble_s = 0.0
        self._next: dict[Key, int] = {}
        #: What the group is known to have of our partitions.
        self._committed: dict[Key, int] = {}
        #: Partitions that were lost: what the group was known to have of each, and how far it was done.
        self._left: dict[Key, tuple[int, int]] = {}
        self._lag_s = 0.0
        self._closing = False
        self._fatal = False
        self._lock = threading.Lock()
        self._done: dict[Key, int] = {}
        options: dict[str, Any] = {
            **subscription.brokers.options(),
            "allow.auto.create.topics": False,
            "group.id": subscription.group,
            "enable.auto.commit": True,
            "auto.commit.interval.ms": 500,
            "enable.auto.offset.store": False,
            # Where a group has been and its offset is gone, rather twice than not at all.
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 10_000,
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 8192,
            "fetch.max.bytes": 8 * 1024 * 1024,
            "fetch.wait.max.ms": 100,
            "error_cb": self._failed,
            "on_commit": self._told_of_commit,
        }
        self._consumer = Consumer(options)

    def reach(self, timeout_s: float) -> str:
        """Asks the brokers who they are: "", or what is wrong."""
        try:
            self._consumer.list_topics(self._what.topics[0], timeout=timeout_s)
        except KafkaException as error:
            # What a connection failed by is told by a callback that runs in here.
            self._consumer.poll(0)
            return self._trouble or told(error.args[0])
        self._trouble = ""
        return ""

    def subscribe(self) -> None:
        """Joins the group; partitions come while `step` runs."""
        self._consumer.subscribe(
            list(self._what.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def step(self, wait_s: float, pause: Sequence[Key], resume: Sequence[Key]) -> Step:
        """Waits for messages for so long, and serves changes of partitions.

        Raises:
            Unreachable: the consumer cannot go on.
        """
        self._store()
        self._hold(pause, resume)
        step = Step()
        try:
            first = self._consumer.poll(wait_s)
            if first is not None:
                for message in [first, *self._consumer.consume(STEP_MAX, 0)]:
                    self._take(message, step)
        except KafkaException as error:
            raise Unreachable(told(error.args[0])) from error
        if self._fatal:
            raise Unreachable(self._trouble)
        now_s = time.monotonic()
        if now_s - self._lag_s > _LAG_EVERY_S:
            self._lag_s = now_s
            step.lag = self._lag()
        if step.records or now_s - self._trouble_s > _QUIET_S:
            self._trouble = ""
        step.trouble = self._trouble
        return step

    def done(self, key: Key, offset: int) -> None:
        """All before `offset` is dealt with. Does not block: the next step tells the consumer."""
        with self._lock:
            self._done[key] = offset

    def close(self) -> None:
        """Commits what is done and ends."""
        self._closing = True
        self._store()
        self._consumer.close()

    def _store(self) -> None:
        """Tells the consumer what is done. Only threads of the consumer do this: it may wait for one that is in a
        callback, which may wait for the loop."""
        with self._lock:
            done, self._done = self._done, {}
        for key, offset in done.items():
            if key in self._next:
                self._next[key] = offset
            try:
                self._consumer.store_offsets(offsets=[TopicPartition(*key, offset)])
            except KafkaException as error:
                # It was taken away meanwhile; whoever has it gets the messages again.
                log.info("offset %d of %s-%d cannot be stored: %s", offset, *key, error)

    def _hold(self, pause: Sequence[Key], resume: Sequence[Key]) -> None:
        for act, keys in ((self._consumer.pause, pause), (self._consumer.resume, resume)):
            if keys:
                try:
                    act([TopicPartition(*key) for key in keys])
                except KafkaException as error:
                    log.info("partitions changed meanwhile: %s", error)

    def _take(self, message: Message, step: Step) -> None:
        error = message.error()
        if error is not None:
            self._failed(error)
            return
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if topic is None or number is None or offset is None:
            return
        size, most = len(message), self._what.text_max_bytes
        text = self._what.encode(message) if size <= most else None
        if text is None or len(text) > most:
            text = None
            step.dropped += 1
        kept = message if self._what.keep_messages else None
        step.records.setdefault((topic, number), []).append(Record(offset, text, kept, time.monotonic(), size))

    def _lag(self) -> int:
        """Messages of our partitions that are not dealt with, as far as is known here."""
        lag = 0
        for key, offset in list(self._next.items()):
            try:
                ends = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
            except KafkaException:
                continue
            if ends and ends[1] >= 0 and offset >= 0:
                lag += max(ends[1] - offset, 0)
        return lag

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        begun = self._owner.begun()
        known = consumer.committed(partitions, timeout=_ASK_S)
        fresh: list[TopicPartition] = []
        for one in known:
            if one.error is not None:
                raise KafkaException(one.error)
            if one.offset >= 0:
                at, done = self._left.get((one.topic, one.partition), (0, -1))
                # What was done while no broker took a commit is not done again, unless the group was moved elsewhere.
                if at <= one.offset < done:
                    one.offset = done
                    fresh.append(one)
                continue
            # A partition that came to a topic later was written to before we knew of it.
            earliest = self._what.earliest or one.topic in begun
            low, high = consumer.get_watermark_offsets(one, timeout=_ASK_S)
            one.offset = low if earliest else high
            fresh.append(one)
        if fresh:
            # From now on nothing that is written is skipped, whatever happens before the first batch is done.
            consumer.commit(offsets=fresh, asynchronous=False)
        consumer.assign(known)
        for one in known:
            key = (one.topic, one.partition)
            self._next[key] = self._committed[key] = one.offset
            self._left.pop(key, None)
        self._owner.adopt([(one.topic, one.partition) for one in known], begun | {one.topic for one in known})

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._gone(partitions, lost=False)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._gone(partitions, lost=True)

    def _gone(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        keys = [(one.topic, one.partition) for one in partitions]
        if not self._closing:
            self._owner.release(keys, lost=lost)
            self._store()
        for key in keys:
            done, at = self._next.pop(key, None), self._committed.pop(key, None)
            if lost and done is not None and at is not None:
                self._left[key] = (at, done)

    def _failed(self, error: KafkaError) -> None:
        self._trouble, self._trouble_s = told(error), time.monotonic()
        self._fatal = self._fatal or error.fatal()

    def _told_of_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None:
            log.debug("offsets are not committed: %s", error)
            return
        for one in partitions:
            key = (one.topic, one.partition)
            # The others of a commit have no offset of their own in it.
            if one.error is None and one.offset >= 0 and key in self._committed:
                self._committed[key] = one.offset
