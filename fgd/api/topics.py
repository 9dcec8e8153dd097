"""Topics, message templates and publishing, as the SDK of SMN (`huaweicloudsdksmn`) speaks it."""

from collections.abc import Mapping

from fgd.api.operation import Answer, Ask, Operation
from fgd.api.services import Services
from fgd.clock import iso_utc, new_request_id
from fgd.control import topic_rules
from fgd.control.asyncs import number
from fgd.control.deliveries import parse_choice, parse_delivery_query
from fgd.errors import BadQuery
from fgd.store.deliveries import STATES, StoredDelivery
from fgd.store.topics import MessageTemplate, Topic

NOTIFICATIONS = "/v2/{project_id}/notifications"
TOPICS = NOTIFICATIONS + "/topics"
TOPIC = TOPICS + "/{topic_urn}"
_TEMPLATES = NOTIFICATIONS + "/message_template"
_TEMPLATE = _TEMPLATES + "/{message_template_id}"
_DELIVERIES = "/fgd/v1/projects/{project_id}/topics/{topic_urn}/deliveries"
_PAGE_MAX = 100
#: A message of 256 KB as JSON, in which a character may take six.
_PUBLISH_MAX_BYTES = 2 * 1024 * 1024


def request_answer(**fields: object) -> Answer:
    """What SMN answers with: the fields and the id of the request."""
    return Answer({"request_id": new_request_id().replace("-", ""), **fields})


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """`offset` and `limit`; a limit of 1 to 100, 100 when absent.

    Raises:
        BadQuery: names the parameter.
    """
    limit = number(query, "limit", _PAGE_MAX, _PAGE_MAX)
    if limit < 1:
        raise BadQuery(f"limit: must be a whole number from 1 to {_PAGE_MAX}")
    return number(query, "offset", 0), limit


def topic_of(services: Services, ask: Ask) -> Topic:
    """The topic that the path names."""
    return services.topics.find(ask.project_id, ask.path["topic_urn"])


def _shown(services: Services, topic: Topic) -> dict[str, object]:
    return {
        "topic_urn": services.topics.urn(topic),
        "name": topic.name,
        "display_name": topic.display_name,
        "push_policy": 0,
        "enterprise_project_id": "0",
        "topic_id": topic.topic_id,
        "create_time": iso_utc(topic.created_s),
        "update_time": iso_utc(topic.updated_s),
    }


async def create_topic(services: Services, ask: Ask) -> Answer:
    topic = await services.topics.create(ask.project_id, ask.json())
    return request_answer(topic_urn=services.topics.urn(topic))


async def list_topics(services: Services, ask: Ask) -> Answer:
    offset, limit = page(ask.query)
    query = ask.query
    found = [
        one
        for one in services.topics.of_project(ask.project_id)
        if query.get("name", "") in ("", one.name)
        and query.get("topic_id", "") in ("", one.topic_id)
        and query.get("fuzzy_name", "") in one.name
        and query.get("fuzzy_display_name", "") in one.display_name
    ]
    shown = [_shown(services, one) for one in found[offset : offset + limit]]
    return request_answer(topic_count=len(found), topics=shown)


async def list_topic_details(services: Services, ask: Ask) -> Answer:
    return request_answer(**_shown(services, topic_of(services, ask)))


async def update_topic(services: Services, ask: Ask) -> Answer:
    await services.topics.update(topic_of(services, ask), ask.json())
    return request_answer()


async def delete_topic(services: Services, ask: Ask) -> Answer:
    await services.topics.delete(topic_of(services, ask))
    return request_answer()


async def list_topic_attributes(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    name = ask.query.get("name", "")
    if name and name not in topic_rules.ATTRIBUTES:
        raise BadQuery(f"name: must be one of {', '.join(topic_rules.ATTRIBUTES)}")
    return request_answer(attributes={key: one for key, one in topic.attributes.items() if name in ("", key)})


async def update_topic_attribute(services: Services, ask: Ask) -> Answer:
    await services.topics.set_attribute(topic_of(services, ask), ask.path["name"], ask.json().get("value"))
    return request_answer()


async def delete_topic_attribute_by_name(services: Services, ask: Ask) -> Answer:
    await services.topics.set_attribute(topic_of(services, ask), ask.path["name"], "")
    return request_answer()


async def delete_topic_attributes(services: Services, ask: Ask) -> Answer:
    await services.topics.clear_attributes(topic_of(services, ask))
    return request_answer()


async def publish_message(services: Services, ask: Ask) -> Answer:
    return request_answer(message_id=await services.publisher.publish(topic_of(services, ask), ask.json()))


# --- templates ---------------------------------------------------------------------------------------------


def _template(one: MessageTemplate) -> dict[str, object]:
    return {
        "message_template_id": one.template_id,
        "message_template_name": one.name,
        "protocol": one.protocol,
        "tag_names": topic_rules.tag_names(one.content),
        "create_time": iso_utc(one.created_s),
        "update_time": iso_utc(one.updated_s),
    }


async def create_message_template(services: Services, ask: Ask) -> Answer:
    created = await services.templates.create(ask.project_id, ask.json())
    return request_answer(message_template_id=created.template_id)


async def list_message_templates(services: Services, ask: Ask) -> Answer:
    offset, limit = page(ask.query)
    name, protocol = ask.query.get("message_template_name", ""), ask.query.get("protocol", "")
    found = services.templates.of_project(ask.project_id, name, protocol)
    shown = [_template(one) for one in found[offset : offset + limit]]
    return request_answer(message_template_count=len(found), message_templates=shown)


async def list_message_template_details(services: Services, ask: Ask) -> Answer:
    found = services.templates.find(ask.project_id, ask.path["message_template_id"])
    return request_answer(**_template(found), content=found.content)


async def update_message_template(services: Services, ask: Ask) -> Answer:
    found = services.templates.find(ask.project_id, ask.path["message_template_id"])
    await services.templates.update(found, ask.json())
    return request_answer()


async def delete_message_template(services: Services, ask: Ask) -> Answer:
    await services.templates.delete(services.templates.find(ask.project_id, ask.path["message_template_id"]))
    return request_answer()


# --- fgd's own: messages on their way ------------------------------------------------------------------------


async def list_topic_deliveries(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    query = parse_delivery_query(ask.query)
    found = await services.topic_deliveries.list(
        topic.topic_id, state=query.state, request_id=query.request_id, offset=query.offset, limit=query.limit
    )
    endpoints = {one.subscription_id: one.endpoint for one in services.topics.subscriptions(topic)}
    shown = [_delivery(services, topic, one, endpoints.get(one.version, "")) for one in found]
    return Answer({"deliveries": shown, "next_marker": query.offset + len(found)})


async def retry_topic_deliveries(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    return Answer({"count": await services.topic_deliveries.again(topic.topic_id, "", parse_choice(ask.json()))})


async def drop_topic_deliveries(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    return Answer({"count": await services.topic_deliveries.drop(topic.topic_id, "", parse_choice(ask.json()))})


def _delivery(services: Services, topic: Topic, one: StoredDelivery, endpoint: str) -> dict[str, object]:
    return {
        "id": one.id,
        "message_id": one.request_id,
        "subscription_urn": services.topics.subscription_urn(topic, one.version),
        "protocol": one.kind,
        "endpoint": endpoint,
        "status": STATES[one.state],
        "tries": one.tries,
        "error": one.error,
        "created_time": iso_utc(one.created_s),
        "next_try": None if one.end_s else iso_utc(one.due_s),
        "failed_time": iso_utc(one.end_s) if one.end_s else None,
    }


_PAGE = ("offset", "limit")
OPERATIONS = (
    Operation(
        "create_topic", "POST", TOPICS, "Create an SMN topic", create_topic, fields=("name", "display_name"),
    ),
    Operation(
        "list_topics", "GET", TOPICS, "Topics of the project", list_topics,
        query=(*_PAGE, "name", "fuzzy_name", "topic_id", "fuzzy_display_name"),
    ),
    Operation("list_topic_details", "GET", TOPIC, "One topic", list_topic_details),
    Operation("update_topic", "PUT", TOPIC, "Change the display name", update_topic, fields=("display_name",)),
    Operation("delete_topic", "DELETE", TOPIC, "Delete a topic with its subscriptions", delete_topic),
    Operation(
        "list_topic_attributes", "GET", TOPIC + "/attributes", "Attributes of a topic", list_topic_attributes,
        query=("name",),
    ),
    Operation(
        "update_topic_attribute", "PUT", TOPIC + "/attributes/{name}", "Set an attribute", update_topic_attribute,
        fields=("value",),
    ),
    Operation(
        "delete_topic_attribute_by_name", "DELETE", TOPIC + "/attributes/{name}", "Take an attribute away",
        delete_topic_attribute_by_name,
    ),
    Operation(
        "delete_topic_attributes", "DELETE", TOPIC + "/attributes", "Take all attributes away", delete_topic_attributes,
    ),
    Operation(
        "publish_message", "POST", TOPIC + "/publish", "Publish a message to all who subscribe", publish_message,
        body_max_bytes=_PUBLISH_MAX_BYTES,
        fields=(
            "subject", "message", "message_structure", "message_template_name", "tags", "time_to_live",
            "message_attributes",
        ),
    ),
    Operation(
        "create_message_template", "POST", _TEMPLATES, "Create a message template", create_message_template,
        fields=("message_template_name", "protocol", "content"),
    ),
    Operation(
        "list_message_templates", "GET", _TEMPLATES, "Message templates of the project", list_message_templates,
        query=(*_PAGE, "message_template_name", "protocol"),
    ),
    Operation(
        "list_message_template_details", "GET", _TEMPLATE, "One with its text", list_message_template_details
    ),
    Operation(
        "update_message_template", "PUT", _TEMPLATE, "Give it another text", update_message_template,
        fields=("content",),
    ),
    Operation("delete_message_template", "DELETE", _TEMPLATE, "Delete a message template", delete_message_template),
    Operation(
        "list_topic_deliveries", "GET", _DELIVERIES, "Messages on their way, and those that did not arrive",
        list_topic_deliveries, query=("status", "request_id", "marker", "limit"),
    ),
    Operation(
        "retry_topic_deliveries", "POST", _DELIVERIES + "/retry", "Try failed ones again", retry_topic_deliveries,
        fields=("ids", "all"),
    ),
    Operation(
        "drop_topic_deliveries", "POST", _DELIVERIES + "/drop", "Forget failed ones", drop_topic_deliveries,
        fields=("ids", "all"),
    ),
)  # fmt: skip
