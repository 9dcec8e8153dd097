"""Publishing to topics: what a request says becomes a message, on disk for every subscriber when this returns."""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from fgd.clock import iso_utc
from fgd.control import topic_rules
from fgd.control.message_templates import MessageTemplates
from fgd.control.topic_rules import DEFAULT, Publication
from fgd.control.topics import Topics
from fgd.destination import Delivery
from fgd.errors import BadParameter, BodyTooLarge
from fgd.store.topics import Topic
from fgd.topic import TopicMessage

_SUBJECT: Final = "FunctionGraph asynchronous invocation"


class Publisher:
    """The operation that publishes."""

    def __init__(self, topics: Topics, templates: MessageTemplates, now_s: Callable[[], float]) -> None:
        self._topics = topics
        self._templates = templates
        self._now_s = now_s

    async def publish(self, topic: Topic, body: Mapping[str, object]) -> str:
        """Gives the message's id.

        Of `message_structure`, `message_template_name` and `message` the first that is there counts.

        Raises:
            BadParameter and its kin: name the field and the rule.
            Overloaded, StorageFull: nothing was published.
        """
        publication = self.parse(topic.project_id, body)
        message_id = uuid.uuid4().hex
        await self._store(topic, publication, message_id, ())
        return message_id

    def parse(self, project_id: str, body: Mapping[str, object]) -> Publication:
        """A checked request."""
        if body.get("message_structure") is not None:
            texts = topic_rules.structure(body["message_structure"])
        elif body.get("message_template_name") is not None:
            name = topic_rules.template_name(body["message_template_name"])
            texts = self._templates.texts(project_id, name, topic_rules.tags(body.get("tags") or {}))
        elif body.get("message") is not None:
            texts = {DEFAULT: topic_rules.message(body["message"])}
        else:
            raise BadParameter("message: is needed, or message_structure, or message_template_name")
        attributes, protocols = topic_rules.message_attributes(body.get("message_attributes"))
        subject = topic_rules.limited("subject", body.get("subject"), topic_rules.SUBJECT_MAX_BYTES)
        if "\n" in subject or "\r" in subject:
            raise BadParameter("subject: must be one line")
        ttl_s = topic_rules.time_to_live(body.get("time_to_live"))
        return Publication(subject, texts, ttl_s, attributes, protocols)

    async def deliver(self, delivery: Delivery, topic_urn: str) -> None:
        """Publishes the outcome of an asynchronous invocation; the same one always has the same message id."""
        topic = self._topics.find(delivery.project_id, topic_urn)
        document = delivery.document.decode("utf-8", "replace")
        if len(delivery.document) > topic_rules.MESSAGE_MAX_BYTES:
            raise BodyTooLarge(f"message: an outcome of over {topic_rules.MESSAGE_MAX_BYTES} bytes cannot be published")
        publication = Publication(_SUBJECT, {DEFAULT: document}, topic_rules.TTL_DEFAULT_S, None, None)
        message_id = hashlib.sha256(f"{delivery.request_id} {topic_urn}".encode()).hexdigest()[:32]
        await self._store(topic, publication, message_id, delivery.chain)

    async def _store(self, topic: Topic, publication: Publication, message_id: str, chain: tuple[str, ...]) -> None:
        message = TopicMessage(
            self._topics.urn(topic), message_id, "", iso_utc(self._now_s()), publication.subject, publication.attributes
        )

        def text_of(protocol: str) -> str | None:
            wanted = publication.protocols is None or protocol in publication.protocols
            return publication.text(protocol) if wanted else None

        await self._topics.publish(topic, message, publication.ttl_s, text_of, chain)
