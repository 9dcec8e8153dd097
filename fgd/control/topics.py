"""Topics and their subscriptions: make, show, change, delete.

Theory of operation: all of them are in memory and on disk. Triggers are subscribers too; those are not stored here but
told by `listens`, and are there as long as their triggers are. A trigger names its topic by URN: when the topic goes,
the trigger stays and hears nothing, until there is a topic of that URN again.
"""

import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from fgd.clock import iso_utc
from fgd.control import rules, topic_rules
from fgd.control.topic_rules import FUNCTION
from fgd.destination import BadDestination
from fgd.errors import BadParameter, Conflict, Forbidden, NotFound, Overloaded, RequestError, TopicNotFound
from fgd.invoke.resolve import Directory
from fgd.invoke.topic_feeds import TopicFeeds
from fgd.store.deliveries import NewDelivery
from fgd.store.topics import CANCELLED, CONFIRMED, UNCONFIRMED, Subscription, Topic, TopicStore
from fgd.topic import TopicMessage
from fgd.trigger import Place
from fgd.urn import FunctionUrn, parse_urn

TOPICS_MAX: Final = 3000
SUBSCRIPTIONS_MAX: Final = 200
#: How long a subscription can be confirmed.
CONFIRM_S: Final = 48 * 3600

#: What a delivery is for: a message to a subscription, one to a trigger, or the request to confirm.
MESSAGE: Final = "message"
TRIGGER: Final = "trigger"
CONFIRM: Final = "confirm"
FAREWELL: Final = "farewell"


class Aim(msgspec.Struct, frozen=True):
    """Where a delivery goes: what for, and the id of the subscription or trigger."""

    what: str
    to: str


class StoredMessage(msgspec.Struct, frozen=True):
    """The document of a delivery."""

    message: TopicMessage
    #: Epoch seconds after which it is not delivered any more.
    until_s: float


class Urls(Protocol):
    """Which URLs may be posted to; the real thing is `fgd.builtin.web.Web`."""

    def check(self, text: str) -> object:
        """Raises BadDestination."""


class Topics:
    """The operations on topics and subscriptions, and what the fan-out looks up."""

    def __init__(
        self, store: TopicStore, directory: Directory, urls: Urls, region: str, now_s: Callable[[], float],
        backlog_max: int,
    ) -> None:  # fmt: skip
        self._store = store
        self._directory = directory
        self._urls = urls
        self._region = region
        self._now_s = now_s
        self._backlog_max = backlog_max
        self._topics: dict[str, Topic] = {}
        #: Topic ids by project and name.
        self._ids: dict[tuple[str, str], str] = {}
        #: By topic id, then subscription id.
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        #: By topic URN, then trigger id.
        self._listening: dict[str, dict[str, Place]] = {}
        self._listens_to: dict[str, tuple[str, ...]] = {}
        self._gone: dict[str, trio.Event] = {}
        self._lock = trio.Lock()
        self.feeds = TopicFeeds()
        self._stored: Callable[[Sequence[NewDelivery]], None] = lambda new: None
        self._open: Callable[[], int] = lambda: 0

    async def load(self) -> None:
        """Reads what is stored."""
        for topic in await self._store.topics():
            self._keep(topic)
        for one in await self._store.subscriptions():
            self._subscriptions[one.topic_id][one.subscription_id] = one

    def attach(self, stored: Callable[[Sequence[NewDelivery]], None], waiting: Callable[[], int]) -> None:
        """Who is told of new deliveries, and who knows how many there are."""
        self._stored = stored
        self._open = waiting

    # --- topics ------------------------------------------------------------------------------------------

    def urn(self, topic: Topic) -> str:
        """`urn:smn:<region>:<project>:<name>`."""
        return f"urn:smn:{self._region}:{topic.project_id}:{topic.name}"

    def find(self, project_id: str, urn: str) -> Topic:
        """The topic of that URN.

        Raises:
            TopicNotFound, Forbidden: it is another project's.
        """
        parts = urn.split(":")
        if len(parts) != 5 or parts[:2] != ["urn", "smn"]:
            raise BadParameter(f"topic_urn: must be urn:smn:<region>:<project id>:<topic>, not {rules.shown(urn)}")
        if parts[3] != project_id:
            raise Forbidden(f"topic_urn: names another project than the request's, {project_id}")
        topic_id = self._ids.get((project_id, parts[4]))
        if topic_id is None or parts[2] != self._region:
            raise TopicNotFound(f"topic_urn: there is no topic {rules.shown(urn)}")
        return self._topics[topic_id]

    def of_project(self, project_id: str) -> list[Topic]:
        """Topics of a project, by name."""
        return sorted((one for one in self._topics.values() if one.project_id == project_id), key=lambda one: one.name)

    async def create(self, project_id: str, body: Mapping[str, object]) -> Topic:
        """Makes a topic; one that is there already is given back as it is, as the cloud does."""
        name = topic_rules.topic_name(body.get("name"))
        shown = topic_rules.display_name(body.get("display_name"))
        async with self._lock:
            known = self._ids.get((project_id, name))
            if known is not None:
                return self._topics[known]
            if len(self.of_project(project_id)) >= TOPICS_MAX:
                raise Conflict(f"name: the project has {TOPICS_MAX} topics; delete one first")
            now_s = self._now_s()
            topic = Topic(
                topic_id=uuid.uuid4().hex, project_id=project_id, name=name, display_name=shown, created_s=now_s,
                updated_s=now_s,
            )  # fmt: skip
            await self._put(topic)
        return topic

    async def update(self, topic: Topic, body: Mapping[str, object]) -> None:
        """Changes the display name."""
        shown = topic_rules.display_name(body.get("display_name"))
        await self._change(topic, lambda now: msgspec.structs.replace(now, display_name=shown))

    async def set_attribute(self, topic: Topic, name: str, value: object) -> None:
        """Sets one attribute; "" takes it away."""
        text = topic_rules.attribute(name, value)

        def change(now: Topic) -> Topic:
            others = {key: one for key, one in now.attributes.items() if key != name}
            return msgspec.structs.replace(now, attributes=others | ({name: text} if text else {}))

        await self._change(topic, change)

    async def clear_attributes(self, topic: Topic) -> None:
        """Takes all attributes away."""
        await self._change(topic, lambda now: msgspec.structs.replace(now, attributes={}))

    async def delete(self, topic: Topic) -> None:
        """Deletes a topic with its subscriptions; what is on its way goes nowhere."""
        async with self._lock:
            with trio.CancelScope(shield=True):
                await self._store.delete_topic(topic.topic_id)
                self._topics.pop(topic.topic_id, None)
                self._ids.pop((topic.project_id, topic.name), None)
                self._subscriptions.pop(topic.topic_id, None)
                self._gone.pop(topic.topic_id, trio.Event()).set()

    # --- subscriptions -----------------------------------------------------------------------------------

    def subscriptions(self, topic: Topic) -> list[Subscription]:
        """Of a topic, oldest first; those of triggers last."""
        stored = sorted(self._subscriptions[topic.topic_id].values(), key=lambda one: one.created_s)
        return [*stored, *self._of_triggers(topic)]

    def subscription_urn(self, topic: Topic, subscription_id: str) -> str:
        """`<topic's URN>:<id>`."""
        return f"{self.urn(topic)}:{subscription_id}"

    def find_subscription(self, project_id: str, urn: str) -> tuple[Topic, Subscription]:
        """The subscription of that URN.

        Raises:
            NotFound, TopicNotFound, Forbidden
        """
        topic_urn, _, subscription_id = urn.rpartition(":")
        topic = self.find(project_id, topic_urn)
        for one in self.subscriptions(topic):
            if one.subscription_id == subscription_id:
                return topic, one
        raise NotFound(f"subscription_urn: the topic {topic.name} has no subscription {rules.shown(subscription_id)}")

    async def subscribe(self, topic: Topic, body: Mapping[str, object]) -> Subscription:
        """Adds a subscriber. A function gets messages at once; an HTTP endpoint is asked to confirm first. One that is
        there already is given back, and is asked again if it has not confirmed."""
        protocol = topic_rules.protocol(body.get("protocol"))
        endpoint = self._endpoint(topic, protocol, body.get("endpoint"))
        remark = topic_rules.remark(body.get("remark"))
        extension = body.get("extension")
        if extension is not None and not isinstance(extension, dict):
            raise BadParameter(f"extension: must be an object, not {rules.shown(extension)}")
        headers = topic_rules.headers((extension or {}).get("header"))
        if headers and protocol == FUNCTION:
            raise BadParameter("extension.header: only http and https have headers")
        async with self._lock:
            mine = self._subscriptions.get(topic.topic_id)
            if mine is None:
                raise TopicNotFound(f"topic_urn: the topic {topic.name} was deleted")
            now_s = self._now_s()
            known = next((one for one in mine.values() if (one.protocol, one.endpoint) == (protocol, endpoint)), None)
            if known is not None and known.status == CONFIRMED:
                return known
            if known is None and len(mine) >= SUBSCRIPTIONS_MAX:
                raise Conflict(f"endpoint: the topic has {SUBSCRIPTIONS_MAX} subscriptions; cancel one first")
            new = Subscription(
                subscription_id=known.subscription_id if known else uuid.uuid4().hex, topic_id=topic.topic_id,
                protocol=protocol, endpoint=endpoint, remark=remark,
                status=CONFIRMED if protocol == FUNCTION else UNCONFIRMED, token=secrets.token_hex(32),
                token_until_s=now_s + CONFIRM_S, headers=headers, created_s=known.created_s if known else now_s,
            )  # fmt: skip
            text = (
                f"You are invited to subscribe to topic: {self.urn(topic)}. To confirm this subscription, please visit"
                " the subscribe_url included in this message."
            )
            asks = [] if protocol == FUNCTION else [self._service_message(topic, new, CONFIRM, text)]
            await self._put_subscription(new, asks)
        return new

    async def update_subscription(self, one: Subscription, body: Mapping[str, object]) -> None:
        """Changes the remark."""
        self._check_stored(one)
        remark = topic_rules.remark(body.get("remark"))
        async with self._lock:
            now = self._subscriptions.get(one.topic_id, {}).get(one.subscription_id)
            if now is None:
                raise NotFound("subscription_urn: the subscription was cancelled")
            await self._put_subscription(msgspec.structs.replace(now, remark=remark))

    async def cancel(self, one: Subscription) -> None:
        """Deletes a subscription.

        Raises:
            Conflict: it is a trigger's.
        """
        self._check_stored(one)
        async with self._lock:
            with trio.CancelScope(shield=True):
                await self._store.delete_subscription(one)
                self._subscriptions.get(one.topic_id, {}).pop(one.subscription_id, None)

    async def confirm(self, topic_urn: str, token: str) -> tuple[Topic, Subscription]:
        """An endpoint accepts, or comes back after `unsubscribe`; it gets messages from now on. Twice is no error.

        Raises:
            BadParameter: no such topic, or a token that is not the subscription's or too old. Whoever asks may be
                anybody and learns no more.
        """
        async with self._lock:
            for topic, one in self._with_token(topic_urn, token):
                if one.status == CONFIRMED:
                    return topic, one
                if one.token_until_s >= self._now_s():
                    new = msgspec.structs.replace(one, status=CONFIRMED)
                    await self._put_subscription(new)
                    return topic, new
        raise BadParameter("token: is not one that confirms a subscription of this topic, or it is too old")

    async def unsubscribe(self, subscription_urn: str, token: str) -> None:
        """An endpoint wants no more; it is told once that it was heard. Raises BadParameter as `confirm`."""
        topic_urn, _, subscription_id = subscription_urn.rpartition(":")
        async with self._lock:
            for topic, one in self._with_token(topic_urn, token):
                if one.subscription_id == subscription_id:
                    if one.status == CONFIRMED:
                        text = f"You have unsubscribed from topic: {self.urn(topic)}. To subscribe again, visit the"
                        bye = self._service_message(topic, one, FAREWELL, f"{text} subscribe_url in this message.")
                        new = msgspec.structs.replace(one, status=CANCELLED, token_until_s=self._now_s() + CONFIRM_S)
                        await self._put_subscription(new, [bye])
                    return
        raise BadParameter("token: is not the one of this subscription")

    # --- triggers (fgd.control.triggers.Listeners) -------------------------------------------------------

    def check_topics(self, project_id: str, urns: Sequence[str]) -> None:
        """Raises TopicNotFound or Forbidden."""
        for urn in urns:
            self.find(project_id, urn)

    def missing(self, urns: Sequence[str]) -> frozenset[str]:
        """Those that are not there."""
        return frozenset(urn for urn in urns if self.by_urn(urn) is None)

    def listens(self, trigger_id: str, place: Place | None, urns: Sequence[str]) -> None:
        """A trigger begins to listen, to others than before, or ends."""
        for urn in self._listens_to.pop(trigger_id, ()):
            self._listening[urn].pop(trigger_id, None)
        if place is not None and urns:
            self._listens_to[trigger_id] = tuple(urns)
            for urn in urns:
                self._listening.setdefault(urn, {})[trigger_id] = place

    async def listen(
        self, trigger_id: str, topic_urn: str, take: Callable[[TopicMessage], Awaitable[None]], *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:  # fmt: skip
        """See `fgd.trigger.Door.listen`."""
        topic = self.by_urn(topic_urn)
        if topic is None or trigger_id not in self._listening.get(topic_urn, {}):
            raise TopicNotFound(f"there is no topic {topic_urn}, or the trigger's type does not name it")
        gone = self._gone[topic.topic_id]
        async with trio.open_nursery() as nursery:
            await nursery.start(self.feeds.listen, trigger_id, take)
            task_status.started()
            await gone.wait()
            raise TopicNotFound(f"the topic {topic_urn} was deleted")

    # --- the fan-out -------------------------------------------------------------------------------------

    async def publish(
        self, topic: Topic, message: TopicMessage, ttl_s: int, text_of: Callable[[str], str | None],
        chain: tuple[str, ...] = (),
    ) -> int:  # fmt: skip
        """Stores a message for all who subscribe to the topic now; gives how many those are.

        Args:
            text_of: the message for a protocol; None where that gets none.

        Raises:
            Overloaded: too many messages are on their way.
            StorageFull: nothing was stored.
        """
        if self._open() >= self._backlog_max:
            raise Overloaded
        now_s = self._now_s()
        documents: dict[str, bytes] = {}
        new: list[NewDelivery] = []
        for one in self._subscriptions.get(topic.topic_id, {}).values():
            if one.status == CONFIRMED:
                self._add(new, documents, topic, message, ttl_s, text_of, one, MESSAGE, chain, now_s)
        for one in self._of_triggers(topic):
            self._add(new, documents, topic, message, ttl_s, text_of, one, TRIGGER, chain, now_s)
        if new:
            with trio.CancelScope(shield=True):
                await self._store.publish(new)
                self._stored(new)
        return len(new)

    def subscriber(self, aim: Aim, topic_urn: str) -> tuple[Topic, Subscription] | None:
        """Who a delivery is for; None when that is no subscriber any more."""
        topic = self.by_urn(topic_urn)
        if topic is None:
            return None
        if aim.what == TRIGGER:
            place = self._listening.get(topic_urn, {}).get(aim.to)
            return None if place is None else (topic, _of_trigger(topic, aim.to, place))
        one = self._subscriptions[topic.topic_id].get(aim.to)
        return None if one is None else (topic, one)

    # --- inside ------------------------------------------------------------------------------------------

    def _add(
        self, new: list[NewDelivery], documents: dict[str, bytes], topic: Topic, message: TopicMessage, ttl_s: int,
        text_of: Callable[[str], str | None], one: Subscription, what: str, chain: tuple[str, ...], now_s: float,
    ) -> None:  # fmt: skip
        text = text_of(one.protocol)
        if text is None:
            return
        if one.protocol not in documents:
            stored = StoredMessage(msgspec.structs.replace(message, message=text), now_s + ttl_s)
            documents[one.protocol] = msgspec.json.encode(stored)
        aim = Aim(what, _trigger_id(one.subscription_id) if what == TRIGGER else one.subscription_id)
        new.append(
            _delivery(topic, self.urn(topic), one, aim, message.message_id, chain, now_s, documents[one.protocol])
        )

    def _service_message(self, topic: Topic, one: Subscription, what: str, text: str) -> NewDelivery:
        now_s = self._now_s()
        message = TopicMessage(self.urn(topic), uuid.uuid4().hex, text, iso_utc(now_s))
        document = msgspec.json.encode(StoredMessage(message, now_s + CONFIRM_S))
        aim = Aim(what, one.subscription_id)
        return _delivery(topic, self.urn(topic), one, aim, message.message_id, (), now_s, document)

    def _endpoint(self, topic: Topic, protocol: str, value: object) -> str:
        text = topic_rules.limited("endpoint", value, 2048, needed=True)
        if protocol == FUNCTION:
            urn = parse_urn(text, topic.project_id)
            if urn.project_id != topic.project_id:
                raise Forbidden("endpoint: names a function of another project")
            try:
                self._directory.resolve(urn)
            except RequestError as error:
                raise type(error)(f"endpoint: {error}") from error
            return FunctionUrn(urn.project_id, urn.package, urn.name, urn.qualifier).text(self._region)
        if not text.startswith(f"{protocol}://"):
            raise BadParameter(f"endpoint: must begin with {protocol}://")
        try:
            self._urls.check(text)
        except BadDestination as error:
            raise BadParameter(f"endpoint: {str(error).removeprefix('url: ')}") from error
        return text

    def _check_stored(self, one: Subscription) -> None:
        if one.subscription_id not in self._subscriptions.get(one.topic_id, {}):
            raise Conflict("subscription_urn: belongs to a trigger; delete the trigger (fgd triggers list shows it)")

    def _of_triggers(self, topic: Topic) -> list[Subscription]:
        found = self._listening.get(self.urn(topic), {})
        return [_of_trigger(topic, trigger_id, place) for trigger_id, place in sorted(found.items())]

    def _with_token(self, topic_urn: str, token: str) -> list[tuple[Topic, Subscription]]:
        topic = self.by_urn(topic_urn)
        if topic is None or not token.isascii():
            return []
        mine = self._subscriptions[topic.topic_id].values()
        return [(topic, one) for one in mine if one.token and secrets.compare_digest(one.token, token)]

    def by_urn(self, urn: str) -> Topic | None:
        """The topic of that URN, if there is one."""
        parts = urn.split(":")
        topic_id = self._ids.get((parts[3], parts[4])) if len(parts) == 5 else None
        topic = None if topic_id is None else self._topics[topic_id]
        return topic if topic is not None and self.urn(topic) == urn else None

    def _keep(self, topic: Topic) -> None:
        self._topics[topic.topic_id] = topic
        self._ids[topic.project_id, topic.name] = topic.topic_id
        self._subscriptions.setdefault(topic.topic_id, {})
        self._gone.setdefault(topic.topic_id, trio.Event())

    async def _change(self, topic: Topic, change: Callable[[Topic], Topic]) -> None:
        async with self._lock:
            now = self._topics.get(topic.topic_id)
            if now is None:
                raise TopicNotFound(f"topic_urn: the topic {topic.name} was deleted")
            await self._put(msgspec.structs.replace(change(now), updated_s=self._now_s()))

    async def _put(self, topic: Topic) -> None:
        with trio.CancelScope(shield=True):
            await self._store.put_topic(topic)
            self._keep(topic)

    async def _put_subscription(self, one: Subscription, messages: Sequence[NewDelivery] = ()) -> None:
        with trio.CancelScope(shield=True):
            await self._store.put_subscription(one, messages)
            self._subscriptions[one.topic_id][one.subscription_id] = one
            self._stored(messages)


def _delivery(
    topic: Topic, urn: str, one: Subscription, aim: Aim, message_id: str, chain: tuple[str, ...], now_s: float,
    document: bytes,
) -> NewDelivery:  # fmt: skip
    return NewDelivery(
        (topic.topic_id, one.subscription_id), message_id, True, urn, one.protocol, msgspec.json.encode(aim).decode(),
        ",".join(chain), now_s, document,
    )  # fmt: skip


def _of_trigger(topic: Topic, trigger_id: str, place: Place) -> Subscription:
    return Subscription(
        subscription_id=trigger_id.replace("-", ""), topic_id=topic.topic_id, protocol=FUNCTION,
        endpoint=place.function_urn, remark=f"trigger {trigger_id}", status=CONFIRMED,
    )  # fmt: skip


def _trigger_id(subscription_id: str) -> str:
    return str(uuid.UUID(subscription_id))
