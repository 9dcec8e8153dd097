"""Takes messages of topics from the disk to who subscribes: `fgd.invoke.deliverer` gives them, one try at a time.

A message to an HTTP endpoint is a signed JSON object. What is signed is text, for each of these fields in this order
its name and its value, each with a line end: message, message_id, subject (where there is one) or subscribe_url (in
what asks for something), timestamp, topic_urn, type. Source: SMN user guide, message format and signature verification.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

import msgspec
import trio

from fgd.builtin.web import Web
from fgd.config import Config
from fgd.control.topic_rules import FUNCTION
from fgd.control.topics import CONFIRM, FAREWELL, TRIGGER, Aim, StoredMessage, Topics
from fgd.destination import BadDestination, Delivery, Node, Undeliverable
from fgd.errors import FunctionNotFound
from fgd.invoke.destinations import DeliveryTimeout
from fgd.store.signing import Signer
from fgd.store.topics import CANCELLED, CONFIRMED, UNCONFIRMED, Subscription, Topic
from fgd.topic import TopicMessage, topic_event
from fgd.units import ASYNC_PAYLOAD_MAX_BYTES

CONFIRM_PATH: Final = "/rest/v2/notifications/subscription/confirm"
UNSUBSCRIBE_PATH: Final = "/rest/v2/notifications/subscription/unsubscribe"
CERTIFICATE_PATH: Final = "/smn/"
_TYPES: Final = {CONFIRM: "SubscriptionConfirmation", FAREWELL: "UnsubscribeConfirmation"}


class Fanout:
    """One try of one message for one subscriber."""

    def __init__(
        self, config: Config, topics: Topics, node: Node, web: Web, signer: Signer, base_url: str,
        now_s: Callable[[], float],
    ) -> None:  # fmt: skip
        """
        Args:
            node: invokes functions.
            base_url: where endpoints reach the API, without a slash at the end.
        """
        self._timeout_s = config.delivery_timeout_s
        self._topics = topics
        self._node = node
        self._web = web
        self._signer = signer
        self._base_url = base_url
        self._now_s = now_s

    async def deliver(self, kind: str, param: str, delivery: Delivery) -> None:
        """Returns when the message has arrived, or its subscriber is none any more.

        Raises:
            Undeliverable: it is too old, or the endpoint is not allowed any more.
            DeliveryTimeout: it took too long.
            Exception: try again later.
        """
        aim = msgspec.json.decode(param, type=Aim)
        found = self._topics.subscriber(aim, delivery.function_urn)
        if found is None or found[1].status not in _wanted(aim):
            return
        topic, one = found
        stored = msgspec.json.decode(delivery.document, type=StoredMessage)
        if self._now_s() > stored.until_s:
            raise Undeliverable("its time to live is over")
        with trio.move_on_after(self._timeout_s) as scope:
            if aim.what == TRIGGER:
                await self._topics.feeds.give(aim.to, stored.message, delivery.chain)
            elif one.protocol == FUNCTION:
                await self._invoke(delivery, one, stored.message)
            else:
                await self._post(topic, one, aim.what, stored.message)
        if scope.cancelled_caught:
            raise DeliveryTimeout(f"took longer than {self._timeout_s:g} s")

    async def tidy(self) -> None:
        """There is nothing to clear away."""

    async def _invoke(self, delivery: Delivery, one: Subscription, message: TopicMessage) -> None:
        event = msgspec.json.encode(topic_event(message, one.endpoint))
        if len(event) > ASYNC_PAYLOAD_MAX_BYTES:
            raise Undeliverable(f"its event has {len(event)} bytes, more than {ASYNC_PAYLOAD_MAX_BYTES}")
        try:
            # Not the delivery's own number: that is one of another table.
            await self._node.enqueue(replace(delivery, id=0, document=event), one.endpoint)
        except FunctionNotFound as error:
            raise Undeliverable(str(error)) from error

    async def _post(self, topic: Topic, one: Subscription, what: str, message: TopicMessage) -> None:
        try:
            url = self._web.check(one.endpoint)
        except BadDestination as error:
            raise Undeliverable(str(error)) from error
        kind = _TYPES.get(what, "Notification")
        headers = {
            **one.headers,
            "X-SMN-MESSAGE-TYPE": kind,
            "X-SMN-MESSAGE-ID": message.message_id,
            "X-SMN-TOPIC-URN": message.topic_urn,
            "X-SMN-SUBSCRIPTION-URN": self._topics.subscription_urn(topic, one.subscription_id),
        }
        await self._web.post(url, msgspec.json.encode(self._envelope(topic, one, kind, message)), headers)

    def _envelope(self, topic: Topic, one: Subscription, kind: str, message: TopicMessage) -> dict[str, object]:
        fields = {
            "message": message.message, "message_id": message.message_id, "timestamp": message.timestamp,
            "topic_urn": message.topic_urn, "type": kind,
        }  # fmt: skip
        more: dict[str, object] = {}
        if kind == "Notification":
            if message.subject:
                fields["subject"] = message.subject
            query = {"subscription_urn": self._topics.subscription_urn(topic, one.subscription_id), "token": one.token}
            more["unsubscribe_url"] = f"{self._base_url}{UNSUBSCRIBE_PATH}?{urlencode(query)}"
            if message.attributes is not None:
                more["message_attributes"] = message.attributes
        else:
            query = {"topic_urn": message.topic_urn, "token": one.token}
            fields["subscribe_url"] = f"{self._base_url}{CONFIRM_PATH}?{urlencode(query)}"
        return {
            **fields,
            **more,
            "signature_version": "v1",
            "signature": self._signer.sign(string_to_sign(fields)),
            "signing_cert_url": f"{self._base_url}{CERTIFICATE_PATH}{self._signer.certificate_id}",
        }


def string_to_sign(fields: dict[str, str]) -> str:
    """Name and value of each field, sorted by name, each with a line end."""
    return "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields))


def _wanted(aim: Aim) -> tuple[int, ...]:
    """States of a subscription in which it gets this."""
    if aim.what == CONFIRM:
        return (UNCONFIRMED,)
    return (CONFIRMED,) if aim.what != FAREWELL else (CANCELLED,)
