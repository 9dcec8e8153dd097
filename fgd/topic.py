"""Topics as functions and plugins see them: a message, and the event that a function gets of it."""

import msgspec


class TopicMessage(msgspec.Struct, frozen=True):
    """One publication, as one subscriber gets it.

    It may come more than once: `message_id` is how a receiver knows it again.
    """

    topic_urn: str
    #: 32 hexadecimal digits; the same for all subscribers.
    message_id: str
    message: str
    #: When it was published, `2024-01-09T07:11:40Z`.
    timestamp: str
    #: "" for none.
    subject: str = ""
    #: Values by the names of attributes; None for none.
    attributes: dict[str, object] | None = None


def topic_event(message: TopicMessage, function_urn: str) -> dict[str, object]:
    """The event of a function that subscribes to a topic (user guide 5.5): one publication, one record."""
    return {
        "record": [
            {
                "event_version": "1.0",
                "event_subscription_urn": function_urn,
                "event_source": "smn",
                "smn": {
                    "topic_urn": message.topic_urn,
                    "timestamp": message.timestamp,
                    "message_attributes": message.attributes,
                    "message": message.message,
                    "type": "notification",
                    "message_id": message.message_id,
                    "subject": message.subject,
                },
            }
        ]
    }
