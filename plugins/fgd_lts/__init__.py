"""Triggers of the type LTS: lines of a log stream become events (user guide, section 5.6).

    {"lts": {"data": Base64 of {"logs": "[{...}, ...]", "owner": ..., "log_group_id": ..., "log_topic_id": ...}}}

Lines are gathered until `batch_size` of them are there, the document is as large as it may be, or `batch_interval_ms`
are over since the first. The position behind a batch is remembered when the event is on disk: after a crash a batch may
come twice, then with the same `log_uid` in each line, and none is left out.
"""

import base64
from typing import Annotated, Final

import msgspec
import trio

from fgd.plugin import BadEvent, Door, FunctionOff, Place, Sources, TriggerType, hookimpl

#: Of the document before Base64; a single line that is longer goes alone (user guide, section 5.6).
DOCUMENT_MAX_BYTES: Final = 75 * 1024
_READ: Final = 500
_OFF_S: Final = 5.0


class LtsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which log stream, and how its lines are gathered."""

    log_group_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="Id of the log group.")]
    log_topic_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="Id of the log stream.")]
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="Lines of one event at most.")] = 1000
    batch_interval_ms: Annotated[
        int, msgspec.Meta(ge=0, le=60_000, description="Milliseconds that a line waits for others at most.")
    ] = 1000


class LtsTrigger(TriggerType[LtsSettings]):
    """Lines of a log stream."""

    code = "LTS"
    settings = LtsSettings
    bad_code = "FSS.1110"
    exists_code = "FSS.1149"

    @classmethod
    def identity(cls, settings: LtsSettings) -> str:
        return settings.log_topic_id

    @classmethod
    def admit(cls, settings: LtsSettings, place: Place, sources: Sources) -> None:
        sources.logs(settings.log_group_id, settings.log_topic_id)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        feed = self.door.sources.logs(self.config.log_group_id, self.config.log_topic_id)
        if not self.door.recall():
            await self.door.remember(str(feed.begin).encode())
        read_to = int(self.door.recall())
        batch = Batch(self.config, self.door)
        task_status.started()
        while True:
            records = await feed.read(read_to, _READ)
            for position, record in records:
                if not batch.has_room_for(record):
                    await batch.send()
                batch.add(position, record)
                read_to = position
            if not records:
                with trio.move_on_at(batch.due):
                    await feed.wait()
            if trio.current_time() >= batch.due:
                await batch.send()


class Batch:
    """Lines that go into the next event."""

    def __init__(self, config: LtsSettings, door: Door) -> None:
        self._config = config
        self._door = door
        self._empty_bytes = len(self._document([]))
        self._records: list[bytes] = []
        self._bytes = self._empty_bytes
        self._position = 0
        #: Moment of trio's clock at which it must go.
        self.due = float("inf")

    def has_room_for(self, record: bytes) -> bool:
        """Whether a line fits; into an empty batch every line does."""
        if not self._records:
            return True
        fits = self._bytes + _quoted_bytes(record) + 1 <= DOCUMENT_MAX_BYTES
        return fits and len(self._records) < self._config.batch_size

    def add(self, position: int, record: bytes) -> None:
        """Takes a line."""
        if not self._records:
            self.due = trio.current_time() + self._config.batch_interval_ms / 1000
        else:
            self._bytes += 1  # the comma
        self._records.append(record)
        self._bytes += _quoted_bytes(record)
        self._position = position

    async def send(self) -> None:
        """Hands the lines over as one event, and remembers that; waits while the function is off."""
        data = base64.b64encode(self._document(self._records)).decode()
        while True:
            try:
                await self._door.enqueue({"lts": {"data": data}})
            except FunctionOff as error:
                self._door.note(f"waiting: {error}")
                await trio.sleep(_OFF_S)
                continue
            except BadEvent as error:
                self._door.count("lines_too_long", len(self._records))
                self._door.note(f"left out: {error}")
            else:
                self._door.count("lines", len(self._records))
                self._door.note("")
            break
        await self._door.remember(str(self._position).encode())
        self._records = []
        self._bytes = self._empty_bytes
        self.due = float("inf")

    def _document(self, records: list[bytes]) -> bytes:
        return msgspec.json.encode(
            {
                "logs": (b"[" + b",".join(records) + b"]").decode(),
                "owner": self._door.place.project_id,
                "log_group_id": self._config.log_group_id,
                "log_topic_id": self._config.log_topic_id,
            }
        )


def _quoted_bytes(record: bytes) -> int:
    """How long a line is inside of a JSON string."""
    return len(msgspec.json.encode(record.decode())) - 2


@hookimpl
def fgd_trigger_types() -> list[type[LtsTrigger]]:
    return [LtsTrigger]
