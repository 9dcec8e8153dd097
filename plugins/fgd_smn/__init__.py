"""Triggers on topics (user guide 5.5): every message that is published becomes an event of the function."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
import trio

from fgd.plugin import BadEvent, BadTriggerConfig, Place, TopicMessage, TriggerType, hookimpl, topic_event


class SmnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of the function's project."""

    topic_urn: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=255,
            description="URN of the topic, as `fgd smn topics list` shows it; it must be there.",
        ),
    ]


class SmnTrigger(TriggerType[SmnSettings]):
    """Invokes with each message, asynchronously: one message, one event."""

    code: ClassVar[str] = "SMN"
    settings = SmnSettings
    may_be_disabled: ClassVar[bool] = False
    pulls: ClassVar[bool] = False
    bad_code: ClassVar[str] = "FSS.1102"
    exists_code: ClassVar[str] = "FSS.1141"

    @classmethod
    def check(cls, settings: SmnSettings, place: Place) -> None:
        parts = settings.topic_urn.split(":")
        if len(parts) != 5 or parts[:2] != ["urn", "smn"] or not all(parts):
            raise BadTriggerConfig("topic_urn", "must be urn:smn:<region>:<project id>:<topic>")
        if parts[3] != place.project_id:
            raise BadTriggerConfig("topic_urn", f"must be a topic of the function's project, {place.project_id}")

    @classmethod
    def identity(cls, settings: SmnSettings) -> str:
        return settings.topic_urn

    @classmethod
    def topics(cls, settings: SmnSettings) -> Sequence[str]:
        return (settings.topic_urn,)

    @classmethod
    def shown(cls, settings: SmnSettings, place: Place) -> Mapping[str, object]:
        return {"subscription_status": "Unconfirmed" if place.missing_topics else "Confirmed"}

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.door.listen(self.config.topic_urn, self._take, task_status=task_status)

    async def _take(self, message: TopicMessage) -> None:
        """A function that is off raises here, and the message comes again."""
        try:
            await self.door.enqueue(topic_event(message, self.door.place.function_urn))
        except BadEvent as error:
            self.door.count("skipped")
            self.door.note(f"message {message.message_id} was skipped: {error}")


@hookimpl
def fgd_trigger_types() -> Sequence[type[TriggerType[Any]]]:
    return [SmnTrigger]
