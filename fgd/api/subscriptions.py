"""Subscriptions of topics, and what endpoints that were asked to confirm come back with."""

from fgd.api.operation import Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.topics import NOTIFICATIONS, TOPIC, page, request_answer, topic_of
from fgd.control import topic_rules
from fgd.control.asyncs import number
from fgd.control.fanout import CERTIFICATE_PATH, CONFIRM_PATH, UNSUBSCRIBE_PATH
from fgd.errors import BadParameter, NotBuilt
from fgd.store.topics import Subscription, Topic

_OF_TOPIC = TOPIC + "/subscriptions"
_ALL = NOTIFICATIONS + "/subscriptions"


def _shown(services: Services, topic: Topic, one: Subscription) -> dict[str, object]:
    return {
        "topic_urn": services.topics.urn(topic),
        "protocol": one.protocol,
        "subscription_urn": services.topics.subscription_urn(topic, one.subscription_id),
        "owner": topic.project_id,
        "endpoint": one.endpoint,
        "remark": one.remark,
        "status": one.status,
        "filter_polices": [],
        "extension": {"header": one.headers} if one.headers else None,
    }


async def add_subscription(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    body = ask.json()
    if body.get("subscriptions"):
        raise NotBuilt("subscriptions: fgd takes one subscription at a time, as protocol and endpoint")
    one = await services.topics.subscribe(topic, body)
    return request_answer(subscription_urn=services.topics.subscription_urn(topic, one.subscription_id))


async def list_subscriptions_by_topic(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    return _page(ask, [_shown(services, topic, one) for one in services.topics.subscriptions(topic)])


async def list_subscriptions(services: Services, ask: Ask) -> Answer:
    status = number(ask.query, "status", -1)
    found = [
        _shown(services, topic, one)
        for topic in services.topics.of_project(ask.project_id)
        for one in services.topics.subscriptions(topic)
        if ask.query.get("protocol", "") in ("", one.protocol)
        and ask.query.get("endpoint", "") in ("", one.endpoint)
        and status in (-1, one.status)
    ]
    return _page(ask, found)


def _page(ask: Ask, found: list[dict[str, object]]) -> Answer:
    offset, limit = page(ask.query)
    found = [one for one in found if ask.query.get("fuzzy_remark", "") in str(one["remark"])]
    return request_answer(subscription_count=len(found), subscriptions=found[offset : offset + limit])


async def update_subscription(services: Services, ask: Ask) -> Answer:
    topic = topic_of(services, ask)
    named, one = services.topics.find_subscription(ask.project_id, ask.path["subscription_urn"])
    if named.topic_id != topic.topic_id:
        raise BadParameter("subscription_urn: is one of another topic")
    await services.topics.update_subscription(one, ask.json())
    return request_answer(subscription_urn=ask.path["subscription_urn"])


async def cancel_subscription(services: Services, ask: Ask) -> Answer:
    _, one = services.topics.find_subscription(ask.project_id, ask.path["subscription_urn"])
    await services.topics.cancel(one)
    return request_answer()


async def confirm_subscription(services: Services, ask: Ask) -> Answer:
    topic, one = await services.topics.confirm(ask.query.get("topic_urn", ""), ask.query.get("token", ""))
    return request_answer(subscription_urn=services.topics.subscription_urn(topic, one.subscription_id))


async def unsubscribe_subscription(services: Services, ask: Ask) -> Answer:
    await services.topics.unsubscribe(ask.query.get("subscription_urn", ""), ask.query.get("token", ""))
    return Answer({"message": "The subscription is cancelled."})


async def list_protocols(services: Services, ask: Ask) -> Answer:
    return request_answer(protocols=list(topic_rules.PROTOCOLS))


async def download_certificate(services: Services, ask: Ask) -> Answer:
    certificate_id, pem = services.certificate
    if ask.path["certificate_id"].removesuffix(".pem") != certificate_id:
        raise BadParameter(f"certificate_id: there is one certificate here, {certificate_id}")
    return Answer(pem, content_type="application/x-pem-file")


_PAGE = ("offset", "limit", "fuzzy_remark")
OPERATIONS = (
    Operation(
        "add_subscription", "POST", _OF_TOPIC, "Subscribe a function or an HTTP endpoint", add_subscription,
        fields=("protocol", "endpoint", "remark", "extension"),
    ),
    Operation(
        "list_subscriptions_by_topic", "GET", _OF_TOPIC, "Subscriptions of a topic", list_subscriptions_by_topic,
        query=_PAGE,
    ),
    Operation(
        "list_subscriptions", "GET", _ALL, "Subscriptions of all topics", list_subscriptions,
        query=(*_PAGE, "protocol", "status", "endpoint"),
    ),
    Operation(
        "update_subscription", "PUT", _OF_TOPIC + "/{subscription_urn}", "Change the remark", update_subscription,
        fields=("remark",),
    ),
    Operation(
        "cancel_subscription", "DELETE", _ALL + "/{subscription_urn}", "Cancel a subscription", cancel_subscription
    ),
    Operation(
        "confirm_subscription", "GET", CONFIRM_PATH, "Confirm a subscription by its token", confirm_subscription,
        access=Access.PUBLIC, query=("topic_urn", "token"),
    ),
    Operation(
        "subscribe_topic", "GET", "/v2/notifications/subscriptions/subscribe", "The same at another address",
        confirm_subscription, access=Access.PUBLIC, query=("topic_urn", "token"),
    ),
    Operation(
        "unsubscribe_subscription", "GET", UNSUBSCRIBE_PATH, "Cancel a subscription by its token",
        unsubscribe_subscription, access=Access.PUBLIC, query=("subscription_urn", "token"),
    ),
    Operation(
        "unsubscribe_topic", "GET", "/v2/notifications/subscriptions/unsubscribe", "The same at another address",
        unsubscribe_subscription, access=Access.PUBLIC, query=("subscription_urn", "token"),
    ),
    Operation(
        "list_protocols", "GET", "/v2/notifications/protocols", "What subscribers can be", list_protocols,
        access=Access.PUBLIC,
    ),
    Operation(
        "download_http_cert", "GET", CERTIFICATE_PATH + "{certificate_id}",
        "The certificate by which messages are checked", download_certificate, access=Access.PUBLIC,
    ),
    Operation(
        "download_http_sign_cert", "GET", "/v2/notifications/certifications/download/{certificate_id}",
        "The same at another address", download_certificate, access=Access.PUBLIC,
    ),
)  # fmt: skip
