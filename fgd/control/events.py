"""Test events: up to ten per function, kept to try it with (user guide, section 4)."""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from fgd.clock import new_request_id
from fgd.control.functions import Functions
from fgd.control.rules import shown
from fgd.errors import BadTestEvent, TestEventNotFound, TestEventTooLarge, TooManyTestEvents
from fgd.model import SavedEvent
from fgd.store.events import SavedEventStore
from fgd.units import KIB
from fgd.urn import FunctionUrn

EVENTS_MAX: Final = 10
CONTENT_MAX_BYTES: Final = 4 * KIB
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,23}[A-Za-z0-9])?\Z")
#: Base64 of the largest content, and room for line ends.
_TEXT_MAX_CHARS: Final = 2 * CONTENT_MAX_BYTES


def event_name(value: object) -> str:
    """User guide, table 4-1."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise BadTestEvent(
            "name: must be 1 to 25 letters, digits, hyphens and underscores, begin with a letter and end with a letter "
            f"or digit, not {shown(value)}"
        )
    return value


def event_content(value: object) -> str:
    """The Base64 text of an event, as it came.

    Raises:
        BadTestEvent: not Base64, or not of JSON.
        TestEventTooLarge: over 4 KB of JSON.
    """
    if not isinstance(value, str) or not value:
        raise BadTestEvent(f"content: must be a string, the event's JSON in Base64, not {shown(value)}")
    if len(value) > _TEXT_MAX_CHARS:
        raise TestEventTooLarge(f"content: must be at most {CONTENT_MAX_BYTES} bytes of JSON")
    data = decoded(value)
    if len(data) > CONTENT_MAX_BYTES:
        raise TestEventTooLarge(f"content: must be at most {CONTENT_MAX_BYTES} bytes of JSON, not {len(data)}")
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadTestEvent(f"content: must be JSON in Base64: {error}") from error
    return value


def decoded(content: str) -> bytes:
    """The JSON that the content of an event holds.

    Raises:
        BadTestEvent: it is not Base64.
    """
    try:
        return binascii.a2b_base64(content.encode("ascii").translate(None, b"\r\n"), strict_mode=True)
    except (ValueError, binascii.Error) as error:
        raise BadTestEvent(f"content: is not valid Base64: {error}") from error


class SavedEvents:
    """The operations on test events."""

    def __init__(self, functions: Functions, store: SavedEventStore, now_s: Callable[[], float]) -> None:
        self._functions = functions
        self._store = store
        self._now_s = now_s

    async def list(self, urn: FunctionUrn) -> list[SavedEvent]:
        """The test events of a function, by name."""
        return await self._store.of(self._functions.resolve(urn).func_id)

    async def find(self, urn: FunctionUrn, word: str) -> SavedEvent:
        """The test event with this id, or else with this name.

        Raises:
            TestEventNotFound: the function has none.
        """
        events = await self.list(urn)
        for event in events:
            if event.event_id == word:
                return event
        for event in events:
            if event.name == word:
                return event
        raise TestEventNotFound(f"event_id: the function {urn.name!r} has no test event {shown(word)}")

    async def create(self, urn: FunctionUrn, body: Mapping[str, object]) -> SavedEvent:
        """Stores a new one.

        Raises:
            BadTestEvent, TestEventTooLarge: a bad field.
            TooManyTestEvents, TestEventExists: the function has ten, or one of that name.
        """
        name, content = event_name(body.get("name")), event_content(body.get("content"))
        async with self._functions.locked(urn.key):
            func_id = self._functions.resolve(urn).func_id
            if len(await self._store.of(func_id)) >= EVENTS_MAX:
                raise TooManyTestEvents(f"name: a function may have {EVENTS_MAX} test events; delete one first")
            event = SavedEvent(
                func_id=func_id, event_id=new_request_id(), name=name, content=content, last_modified_s=self._now_s()
            )
            await self._store.put(event)
        return event

    async def update(self, urn: FunctionUrn, word: str, body: Mapping[str, object]) -> SavedEvent:
        """Gives an event other content, and another name where the body has one.

        Raises:
            TestEventNotFound, and as `create`.
        """
        content = event_content(body.get("content"))
        name = body.get("name")
        async with self._functions.locked(urn.key):
            old = await self.find(urn, word)
            event = msgspec.structs.replace(
                old,
                name=old.name if name is None else event_name(name),
                content=content,
                last_modified_s=self._now_s(),
            )
            await self._store.put(event)
        return event

    async def delete(self, urn: FunctionUrn, word: str) -> None:
        """Deletes one.

        Raises:
            TestEventNotFound: the function has none of that id or name.
        """
        async with self._functions.locked(urn.key):
            await self._store.delete(await self.find(urn, word))
