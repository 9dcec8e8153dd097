"""The trigger types DDS and GAUSSMONGO.

Theory of operation: a thread reads a batch of changes, the loop hands it over, the token of its last change is
remembered, and only then the next batch is read. So a slow function slows the reading, and after a crash the changes
of the last batch come again at most. What the server says of its position while nothing changes is remembered too,
now and then: a collection that is quiet for longer than the server's history would lose its place otherwise.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import trio
from bson import json_util

from fgd.plugin import BadEvent, Door, FunctionOff, Place, TriggerType
from fgd_dds.events import DDS, GAUSS_MONGO, Change, Flavour, event_of, split
from fgd_dds.settings import DdsSettings, check_settings
from fgd_dds.source import HistoryLost, Source

#: How often the place of a quiet stream is remembered.
IDLE_NOTE_S: Final = 60.0
_OFF_WAIT_S: Final = 5.0
_CLOSE_S: Final = 3.0


class Dds(TriggerType[DdsSettings]):
    """An event when documents of a collection of a document database are inserted, changed or deleted."""

    code = "DDS"
    settings = DdsSettings
    secrets = frozenset({"db_password"})
    starts = "DISABLED"
    bad_code = "FSS.1164"
    exists_code = "FSS.1166"
    flavour: ClassVar[Flavour] = DDS

    def __init__(self, settings: DdsSettings, door: Door) -> None:
        super().__init__(settings, door)
        self._source = Source(settings, self.flavour, door.place)
        # A stream keeps a thread most of the time; those that the daemon shares are not for that.
        self._threads = trio.CapacityLimiter(1)
        self._remembered: Mapping[str, Any] | None = None
        self._noted_s = 0.0

    @classmethod
    def check(cls, settings: DdsSettings, place: Place) -> None:
        check_settings(settings)

    @classmethod
    def identity(cls, settings: DdsSettings) -> str:
        return f"{settings.instance_id}/{settings.db_name}/{settings.collection_name}"

    @classmethod
    def shown(cls, settings: DdsSettings, place: Place) -> Mapping[str, object]:
        return {"db_user": settings.db_user, "instance_addrs": settings.addresses(), "mode": settings.mode}

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await self._open()
            task_status.started()
            while True:
                await self._step()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_S):
                # Not the limiter of reading: an abandoned read may still hold that.
                await trio.to_thread.run_sync(
                    self._source.close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )

    async def _open(self) -> None:
        note = self.door.recall()
        token = json_util.loads(note) if note else None
        try:
            await self._in_thread(lambda: self._source.open(token))
        except HistoryLost as error:
            await self._start_anew(error)
        else:
            self.door.note(self._where())
            await self._remember(self._source.token)

    async def _start_anew(self, error: HistoryLost) -> None:
        """The place is gone: goes on from now, and says so."""
        self.door.count("history_lost")
        await self.door.remember(b"")
        await self._in_thread(lambda: self._source.open(None))
        self.door.note(f"{self._where()}; changes were lost, it went on from then: {error}")
        await self._remember(self._source.token)

    async def _step(self) -> None:
        """Reads a batch and hands it over."""
        try:
            changes = await self._in_thread(self._source.read)
        except HistoryLost as error:
            await self._start_anew(error)
            return
        if self._source.undecodable:
            self.door.count("undecodable", self._source.undecodable)
            self._source.undecodable = 0
        for group in split(changes):
            await self._hand_over(group)
        if not changes and self.door.now_s() - self._noted_s >= IDLE_NOTE_S:
            await self._remember(self._source.token)
        if self._source.ended:
            await self._reopen()

    async def _reopen(self) -> None:
        self.door.count("ended")
        token = self._source.token
        try:
            await self._in_thread(lambda: self._source.open(token, after_end=True))
        except HistoryLost as error:
            await self._start_anew(error)
        else:
            self.door.note(f"{self._where()}; the collection was dropped or renamed")

    async def _hand_over(self, group: list[Change]) -> None:
        records = [one.record for one in group if one.record]
        token = group[-1].token
        if records:
            event = event_of(records, token, self.flavour)
            try:
                await self._enqueue(event)
            except BadEvent as error:
                self.door.count("too_large", len(records))
                self.door.note(f"{self._where()}; a change was skipped: {error}")
            else:
                self.door.count("changes", len(records))
        if len(records) < len(group):
            self.door.count("other_changes", len(group) - len(records))
        await self._remember(token)

    async def _enqueue(self, event: bytes) -> None:
        while True:
            try:
                await self.door.enqueue(event)
            except FunctionOff:
                self.door.count("off")
                await trio.sleep(_OFF_WAIT_S)
            else:
                return

    async def _remember(self, token: Mapping[str, Any] | None) -> None:
        self._noted_s = self.door.now_s()
        if token is not None and token != self._remembered:
            await self.door.remember(json_util.dumps(token).encode())
            self._remembered = token

    async def _in_thread[T](self, job: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=self._threads)

    def _where(self) -> str:
        return f"reads {self.config.db_name}.{self.config.collection_name} of {', '.join(self.config.addresses())}"


class GaussMongo(Dds):
    """An event when documents of a collection of GeminiDB Mongo are inserted, changed or deleted."""

    code = "GAUSSMONGO"
    flavour = GAUSS_MONGO
