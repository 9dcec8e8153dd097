"""The kind `FunctionGraph`: the notification is the event of another function of the project.

{"func_urn": "urn:fss:...:function:default:NAME:VERSION or !ALIAS"}
"""

from collections.abc import Mapping
from typing import Any

from fgd.builtin import fields
from fgd.plugin import Delivery, Node


class FunctionDestination:
    """Hands on to a function; the settings are its URN."""

    kind = "FunctionGraph"

    def __init__(self, node: Node) -> None:
        self._node = node

    def parse(self, param: Mapping[str, Any]) -> str:
        fields.only(param, "func_urn")
        return fields.text(param, "func_urn", 269)

    def function_urn(self, settings: str) -> str:
        return settings

    async def deliver(self, delivery: Delivery, settings: str) -> None:
        await self._node.enqueue(delivery, settings)
