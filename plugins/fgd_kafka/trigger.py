"""The trigger types KAFKA and OPENSOURCEKAFKA.

Theory of operation: one task steps the consumer, each step in a thread, and gives what it brings to the partitions.
Each partition that is ours has a task that cuts batches and runs them one after the other, so order in a partition is
kept; batches of different partitions run at once, up to `concurrency`. An offset counts as done when its batch
succeeded, or was skipped or written to the dead letters after its tries; only what is done is committed. So each
message comes at least once, and those after the last commit come again after a crash.

A partition that is taken away gets no further batch, and the group waits until its running one is over. When the
trigger is stopped the same happens, for as long as fgd leaves it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
import trio

from fgd.plugin import BadEvent, BadTriggerConfig, Door, FunctionOff, Outcome, Place, TriggerType
from fgd_kafka.letters import DeadLetters
from fgd_kafka.partition import Batch, Partition
from fgd_kafka.settings import KafkaSettings, OpenSourceKafkaSettings, Settings, check_settings
from fgd_kafka.source import CONNECTING, Key, Source, Unreachable

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


class _Reader[S: Settings](TriggerType[S]):
    """What both types do."""

    secrets: ClassVar[frozenset[str]] = frozenset({"kafka_password"})
    starts = "DISABLED"
    bad_code = "FSS.1112"
    exists_code = "FSS.1150"

    def __init__(self, settings: S, door: Door) -> None:
        super().__init__(settings, door)
        self._group = settings.group_id or f"fgd-{door.place.trigger_id}"
        self._begun = frozenset[str]()
        remembered = door.recall()
        if remembered:
            memory = msgspec.json.decode(remembered, type=_Memory)
            self._begun = frozenset(memory.topics) if memory.group == self._group else frozenset()
        self._partitions: dict[Key, Partition] = {}
        self._room = trio.CapacityLimiter(settings.concurrency)
        self._letters: DeadLetters | None = None
        self._letters_lock = trio.Lock()
        self._source: Source
        self._nursery: trio.Nursery
        self._stopping = False
        #: Limits of waits for partitions that are taken away; a stop shortens them.
        self._releasing: set[trio.CancelScope] = set()
        self._note = ""

    @classmethod
    def check(cls, settings: S, place: Place) -> None:
        check_settings(settings)

    @classmethod
    def identity(cls, settings: S) -> str:
        return " ".join([settings.kafka_connect_address, *sorted(settings.topic_ids)])

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._source = await trio.to_thread.run_sync(Source, self.config, self._group, TEXTS_MAX_BYTES, _Calls(self))
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
                await trio.to_thread.run_sync(self._source.close, abandon_on_cancel=True)

    async def _reach(self) -> None:
        """Raises Unreachable if no broker answers."""
        trouble = ""
        for _ in range(_REACH_TRIES):
            trouble = await trio.to_thread.run_sync(self._source.reach, _REACH_S)
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
                await trio.to_thread.run_sync(self._source.subscribe)
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
        step = await trio.to_thread.run_sync(self._source.step, _STEP_S, pause, resume)
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
            partition = Partition(
                key, self.config.batch_size, TEXTS_MAX_BYTES, self.config.batch_window_ms / 1000
            )  # fmt: skip
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
            await self.door.remember(msgspec.json.encode(_Memory(self._group, tuple(sorted(topics)))))
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
        tries, wait_s = 0, self.config.retry_first_ms / 1000
        while True:
            try:
                outcome = await self.door.invoke(self._event(batch))
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
            if tries >= self.config.retries:
                return await self._give_up(batch, partition, outcome)
            tries += 1
            if not await partition.rest(wait_s):
                return False
            self.door.count("retried")
            wait_s = min(wait_s * 2, _RETRY_MAX_S)

    async def _give_up(self, batch: Batch, partition: Partition, outcome: Outcome) -> bool:
        """Its tries are used up."""
        if self.config.on_failure == "skip":
            self.door.count("skipped", len(batch.records))
            return True
        wait_s = self.config.retry_first_ms / 1000
        messages = [record.message for record in batch.records]
        while True:
            try:
                async with self._letters_lock:
                    if self._letters is None:
                        self._letters = await trio.to_thread.run_sync(DeadLetters, self.config)
                    refused = await trio.to_thread.run_sync(
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

    def _event(self, batch: Batch) -> bytes:
        """The event as JSON; the messages are JSON already."""
        head = {
            "event_version": "v1.0",
            "event_time": int(self.door.now_s()),
            "trigger_type": "KAFKA",
            "region": self.door.place.region,
            "instance_id": self.config.instance_id,
        }
        texts = b",".join(record.text for record in batch.records if record.text is not None)
        topic = msgspec.json.encode(batch.key[0])
        records = b',"records":[{"messages":[' + texts + b'],"topic_id":' + topic + b"}]}"
        return msgspec.json.encode(head)[:-1] + records

    def _say(self, text: str) -> None:
        if text != self._note:
            self._note = text
            self.door.note(text)


class _Calls:
    """`Owner` for the threads of the consumer: brings calls into the loop."""

    def __init__(self, reader: _Reader[Any]) -> None:
        self._reader = reader

    def begun(self) -> frozenset[str]:
        return trio.from_thread.run_sync(self._reader.begun)

    def adopt(self, keys: Sequence[Key], topics: frozenset[str]) -> None:
        trio.from_thread.run(self._reader.remember_begun, topics)
        trio.from_thread.run_sync(self._reader.adopt, keys)

    def release(self, keys: Sequence[Key], *, lost: bool) -> None:
        trio.from_thread.run(self._reader.release, keys, 0.0 if lost else _REVOKE_S)


class Kafka(_Reader[KafkaSettings]):
    """Messages of topics of a DMS instance."""

    code = "KAFKA"
    settings = KafkaSettings

    @classmethod
    def parse(cls, event_data: Mapping[str, object], place: Place) -> KafkaSettings:
        settings = super().parse(event_data, place)
        if settings.kafka_ssl_enable and not settings.kafka_user:
            raise BadTriggerConfig("kafka_user", "is needed, as kafka_ssl_enable is set", "FSS.1113")
        return settings


class OpenSourceKafka(_Reader[OpenSourceKafkaSettings]):
    """Messages of topics of Kafka brokers."""

    code = "OPENSOURCEKAFKA"
    settings = OpenSourceKafkaSettings
