"""What every trigger on topics of Kafka brokers does. The types say where, how much, and what an event looks like.

Theory of operation: one task steps the consumer, each step in a thread, and gives what it brings to the partitions.
Each partition that is ours has a task that cuts batches and runs them one after the other, so order in a partition is
kept; batches of different partitions run at once, up to `concurrency`. An offset counts as done when its batch
succeeded, or was skipped or written to the dead letters after its tries; only what is done is committed. So each
message comes at least once, and those after the last commit come again after a crash.

A partition that is taken away gets no further batch, and the group waits until its running one is over. When the
trigger is stopped the same happens, for as long as fgd leaves it.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import trio

from fgd.plugin import BadEvent, Door, FunctionOff, Outcome, TriggerType
from fgd_kafka.connection import CONNECTING, Unreachable
from fgd_kafka.letters import DeadLetters, LetterBox
from fgd_kafka.partition import Batch, BatchRules, Partition
from fgd_kafka.source import Key, Source, Subscription

#: What an event may have, and what of it is left to everything but the messages.
EVENT_MAX_BYTES: Final = 6 * 1024 * 1024
_FRAME_BYTES: Final = 4096
TEXTS_MAX_BYTES: Final = EVENT_MAX_BYTES - _FRAME_BYTES

_REACH_S: Final = 1.0
_REACH_TRIES: Final = 5
_STEP_S: Final = 0.2
_RETRY_MAX_S: Final = 60.0
_OFF_S: Final = 2.0
#: How long a partition that is taken away waits for its batch; the group gives a member five minutes.
_REVOKE_S: Final = 120.0
#: The same when the trigger is stopped: fgd waits for five seconds.
_STOP_S: Final = 2.5
_CLOSE_S: Final = 1.5


class _Memory(msgspec.Struct, frozen=True):
    """The topics that a group has begun to read."""

    group: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a trigger reads, and how it goes on with that."""

    subscription: Subscription
    rules: BatchRules
    #: Batches running at once, of different partitions.
    concurrency: int
    #: How often a batch that failed is tried again, and the wait before the first time; it doubles, up to a minute.
    retries: int
    retry_first_s: float
    #: Where batches go whose tries are used up; None: they are skipped.
    letters: LetterBox | None = None


class Reader[S: msgspec.Struct](TriggerType[S]):
    """The part that types share. Their settings are whatever they need; `reading` translates them."""

    def __init__(self, settings: S, door: Door) -> None:
        super().__init__(settings, door)
        self._begun = frozenset[str]()
        self._partitions: dict[Key, Partition] = {}
        self._room: trio.CapacityLimiter
        self._letters: DeadLetters | None = None
        self._letters_lock = trio.Lock()
        self._reading: Reading
        self._source: Source
        self._nursery: trio.Nursery
        self._stopping = False
        #: Limits of waits for partitions that are taken away; a stop shortens them.
        self._releasing: set[trio.CancelScope] = set()
        self._note = ""

    @abstractmethod
    def reading(self) -> Reading:
        """What is to be read. Runs in a thread when the trigger starts; what it raises is shown and tried again."""

    @abstractmethod
    def event(self, batch: Batch) -> bytes:
        """The event as JSON."""

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._reading = await _in_thread(self.reading, abandon_on_cancel=True)
        self._room = trio.CapacityLimiter(self._reading.concurrency)
        self._recall()
        self._source = await _in_thread(Source, self._reading.subscription, _Calls(self))
        try:
            await self._reach()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run)
                try:
                    await trio.sleep_forever()
                finally:
                    self._stopping = True
                    for limit in self._releasing:
                        limit.deadline = min(limit.deadline, trio.current_time() + _STOP_S)
        finally:
            with trio.move_on_after(_CLOSE_S, shield=True):
                await _in_thread(self._close, abandon_on_cancel=True)

    def _close(self) -> None:
        # Its connections go with it.
        self._letters = None
        self._source.close()

    def _recall(self) -> None:
        remembered = self.door.recall()
        if remembered:
            memory = msgspec.json.decode(remembered, type=_Memory)
            if memory.group == self._reading.subscription.group:
                self._begun = frozenset(memory.topics)

    async def _reach(self) -> None:
        """Raises Unreachable if no broker answers."""
        trouble = ""
        for _ in range(_REACH_TRIES):
            trouble = await _in_thread(self._source.reach, _REACH_S)
            if not trouble:
                return
            if not trouble.startswith(CONNECTING):
                break
        raise Unreachable(trouble)

    async def _run(self) -> None:
        """Reads until the trigger is stopped; cancelling is heard at the end of a step only."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await _in_thread(self._source.subscribe)
                while not self._stopping:
                    await self._step()
                await self.release(list(self._partitions), _STOP_S)
                nursery.cancel_scope.cancel()

    async def _step(self) -> None:
        pause = [key for key, one in self._partitions.items() if one.full and not one.paused]
        resume = [key for key, one in self._partitions.items() if one.paused and one.hungry]
        for keys, paused in ((pause, True), (resume, False)):
            for key in keys:
                self._partitions[key].paused = paused
        step = await _in_thread(self._source.step, _STEP_S, pause, resume)
        for key, records in step.records.items():
            partition = self._partitions.get(key)
            if partition is not None:
                partition.add(records)
        if step.dropped:
            self.door.count("dropped", step.dropped)
        if step.lag is not None:
            self.door.gauge("lag", step.lag)
        self._say(step.trouble or f"reads {len(self._partitions)} partitions")

    def adopt(self, keys: Sequence[Key]) -> None:
        """Partitions are ours from now on."""
        self.door.count("rebalances")
        for key in keys:
            partition = Partition(key, self._reading.rules)
            self._partitions[key] = partition
            self._nursery.start_soon(self._work, partition)
        self.door.gauge("partitions", len(self._partitions))

    async def release(self, keys: Sequence[Key], wait_s: float) -> None:
        """Ends partitions: their running batches may go on for so long."""
        leaving = [self._partitions.pop(key) for key in keys if key in self._partitions]
        for partition in leaving:
            partition.close()
        with trio.move_on_after(min(wait_s, _STOP_S) if self._stopping else wait_s) as limit:
            self._releasing.add(limit)
            for partition in leaving:
                await partition.over.wait()
        self._releasing.discard(limit)
        for partition in leaving:
            partition.scope.cancel()
        self.door.gauge("partitions", len(self._partitions))

    def begun(self) -> frozenset[str]:
        """Topics that the group has begun to read."""
        return self._begun

    async def remember_begun(self, topics: frozenset[str]) -> None:
        """On disk when this returns."""
        if topics != self._begun:
            memory = _Memory(self._reading.subscription.group, tuple(sorted(topics)))
            await self.door.remember(msgspec.json.encode(memory))
            self._begun = topics

    async def _work(self, partition: Partition) -> None:
        """Runs the batches of one partition, one after the other."""
        try:
            with partition.scope:
                while (batch := await partition.next_batch()) is not None:
                    async with self._room:
                        if partition.closing or not await self._settle(batch, partition):
                            return
                    self._source.done(batch.key, batch.end)
        finally:
            partition.over.set()

    async def _settle(self, batch: Batch, partition: Partition) -> bool:
        """Runs a batch until it counts as done; False: the partition closes before that."""
        if not batch.records:
            return True
        tries, wait_s = 0, self._reading.retry_first_s
        while True:
            try:
                outcome = await self.door.invoke(self.event(batch))
            except FunctionOff as error:
                self._say(f"waits: {error}")
                if not await partition.rest(_OFF_S):
                    return False
                continue
            except BadEvent:
                self.door.count("dropped", len(batch.records))
                return True
            if outcome.code == 0:
                self.door.count("batches")
                self.door.count("messages", len(batch.records))
                return True
            self.door.count("failed")
            if tries >= self._reading.retries:
                return await self._give_up(batch, partition, outcome)
            tries += 1
            if not await partition.rest(wait_s):
                return False
            self.door.count("retried")
            wait_s = min(wait_s * 2, _RETRY_MAX_S)

    async def _give_up(self, batch: Batch, partition: Partition, outcome: Outcome) -> bool:
        """Its tries are used up."""
        box = self._reading.letters
        if box is None:
            self.door.count("skipped", len(batch.records))
            return True
        wait_s = self._reading.retry_first_s
        messages = [record.message for record in batch.records if record.message is not None]
        while True:
            try:
                async with self._letters_lock:
                    if self._letters is None:
                        self._letters = await _in_thread(DeadLetters, box)
                    refused = await _in_thread(
                        self._letters.send, messages, f"code {outcome.code}", abandon_on_cancel=True
                    )
            except Unreachable as error:
                self._say(str(error))
                if not await partition.rest(wait_s):
                    return False
                wait_s = min(wait_s * 2, _RETRY_MAX_S)
                continue
            self.door.count("dead_letters", len(messages) - refused)
            if refused:
                self.door.count("dropped", refused)
            return True

    def _say(self, text: str) -> None:
        if text != self._note:
            self._note = text
            self.door.note(text)


async def _in_thread[T](job: Callable[..., T], *args: Any, abandon_on_cancel: bool = False) -> T:
    """Not one of the threads that the daemon shares: a consumer keeps its own most of the time."""
    return await trio.to_thread.run_sync(
        job, *args, abandon_on_cancel=abandon_on_cancel, limiter=trio.CapacityLimiter(1)
    )  # fmt: skip


class _Calls:
    """`Owner` for the threads of the consumer: brings calls into the loop."""

    def __init__(self, reader: Reader[Any]) -> None:
        self._reader = reader

    def begun(self) -> frozenset[str]:
        return trio.from_thread.run_sync(self._reader.begun)

    def adopt(self, keys: Sequence[Key], topics: frozenset[str]) -> None:
        trio.from_thread.run(self._reader.remember_begun, topics)
        trio.from_thread.run_sync(self._reader.adopt, keys)

    def release(self, keys: Sequence[Key], *, lost: bool) -> None:
        trio.from_thread.run(self._reader.release, keys, 0.0 if lost else _REVOKE_S)
