"""The kind `Webhook`, fgd's own: the notification is posted to a URL. `{"url": "https://..."}`

Which URLs are possible: see `fgd.builtin.web`.
"""

from collections.abc import Mapping
from typing import Any

from fgd.builtin import fields
from fgd.builtin.web import URL_MAX_CHARS, Url, Web
from fgd.plugin import Delivery, Node


class WebhookDestination:
    """Posts to URLs that the operator allows."""

    kind = "Webhook"

    def __init__(self, node: Node) -> None:
        self._web = Web(node.config.webhook_urls)

    def parse(self, param: Mapping[str, Any]) -> Url:
        fields.only(param, "url")
        return self._web.check(fields.text(param, "url", URL_MAX_CHARS))

    async def deliver(self, delivery: Delivery, settings: Url) -> None:
        headers = {
            "X-Cff-Request-Id": delivery.request_id,
            "X-Fgd-Outcome": "success" if delivery.success else "failure",
        }
        await self._web.post(settings, delivery.document, headers)
