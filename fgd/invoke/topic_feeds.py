"""Hands messages of topics to the running triggers that listen to them.

Theory of operation: the fan-out has a message on disk until somebody took it. For a trigger that is `give`: it waits
for the trigger to listen, lets it take the message in a task of the trigger's own, and returns or raises as that did.
So a trigger that is away or fails keeps its messages, and its code runs under the eyes of the trigger host.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

import trio

from fgd.topic import TopicMessage

#: How long a message waits for its trigger to listen before it is put back.
_ABSENT_S: Final = 2.0
#: Ids of the functions whose notifications led to the message that the current task takes.
CHAIN: Final[ContextVar[tuple[str, ...]]] = ContextVar("fgd_topic_chain", default=())

type Take = Callable[[TopicMessage], Awaitable[None]]


class NobodyListens(RuntimeError):
    """The trigger is not running, or stopped before it had taken the message."""


class _Handed:
    """A message on its way to a trigger."""

    __slots__ = ("chain", "error", "message", "over", "scope")

    def __init__(self, message: TopicMessage, chain: tuple[str, ...]) -> None:
        self.message = message
        self.chain = chain
        self.over = trio.Event()
        self.error: Exception | None = None
        self.scope = trio.CancelScope()


class TopicFeeds:
    """The triggers that listen, by trigger id."""

    def __init__(self) -> None:
        self._feeds: dict[str, trio.MemorySendChannel[_Handed]] = {}
        self._changed = trio.Event()

    async def give(self, trigger_id: str, message: TopicMessage, chain: tuple[str, ...]) -> None:
        """Returns once the trigger has taken the message; cancelled, the trigger's work on it ends too.

        Raises:
            NobodyListens: try again later.
            Exception: what the trigger raised.
        """
        handed = _Handed(message, chain)
        try:
            feed = await self._feed(trigger_id)
            try:
                await feed.send(handed)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise NobodyListens("the trigger has stopped") from None
            await handed.over.wait()
        finally:
            handed.scope.cancel()
        if handed.error is not None:
            raise handed.error

    async def listen(
        self, trigger_id: str, take: Take, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Takes what is given to a trigger, several messages at once, until cancelled."""
        sender, receiver = trio.open_memory_channel[_Handed](0)
        self._feeds[trigger_id] = sender
        self._tell()
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                async with receiver:
                    async for handed in receiver:
                        nursery.start_soon(_take, take, handed)
        finally:
            if self._feeds.get(trigger_id) is sender:
                del self._feeds[trigger_id]
            sender.close()

    async def _feed(self, trigger_id: str) -> trio.MemorySendChannel[_Handed]:
        with trio.move_on_after(_ABSENT_S):
            while trigger_id not in self._feeds:
                await self._changed.wait()
        if trigger_id not in self._feeds:
            raise NobodyListens("the trigger is not running; its state says why")
        return self._feeds[trigger_id]

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def _take(take: Take, handed: _Handed) -> None:
    CHAIN.set(handed.chain)
    handed.error = NobodyListens("the trigger stopped before it had taken the message")
    try:
        with handed.scope:
            await take(handed.message)
            handed.error = None
    except Exception as error:  # a stranger's code; whoever gave the message is told
        handed.error = error
    finally:
        handed.over.set()
