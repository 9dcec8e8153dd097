"""The kind `SMN`: the notification is published to a topic of the project. `{"topic_urn": "urn:smn:...:NAME"}`"""

from collections.abc import Mapping
from typing import Any, Final

from fgd.builtin import fields
from fgd.plugin import BadDestination, Delivery, Node

_URN_MAX_CHARS: Final = 512


class TopicDestination:
    """Publishes; the settings are the topic's URN."""

    kind = "SMN"

    def __init__(self, node: Node) -> None:
        self._node = node

    def parse(self, param: Mapping[str, Any]) -> str:
        fields.only(param, "topic_urn")
        urn = fields.text(param, "topic_urn", _URN_MAX_CHARS)
        parts = urn.split(":")
        if len(parts) != 5 or parts[:2] != ["urn", "smn"] or not all(parts):
            raise BadDestination("topic_urn: must be urn:smn:<region>:<project id>:<topic>")
        return urn

    async def deliver(self, delivery: Delivery, settings: str) -> None:
        await self._node.publish(delivery, settings)
