"""Topics over the API, by the official SDK of SMN; messages arrive at a real HTTP endpoint."""

import base64
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdksmn import v2 as smn

from fgd.config import Config
from fgd.destination import Delivery
from fgd.invoke.topic_feeds import CHAIN, NobodyListens, TopicFeeds
from fgd.testing.host import eventually
from fgd.topic import TopicMessage
from tests.api.harness import Api, running_api
from tests.e2e.hooks import Hooks


@pytest.fixture(scope="module")
def hooks() -> Iterator[Hooks]:
    with Hooks() as served:
        yield served


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/silent"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, hooks: Hooks, silent: str) -> Iterator[Api]:
    config = Config(
        region="testland", webhook_urls=f"{hooks.url} {silent}", delivery_retry_first_s=0.05, delivery_tries_max=3,
        delivery_timeout_s=0.5,
    )  # fmt: skip
    with running_api(tmp_path_factory.mktemp("state"), config) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Any:
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    builder = smn.SmnClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()


def topic(client: Any, name: str) -> str:
    return str(client.create_topic(smn.CreateTopicRequest(smn.CreateTopicRequestBody(name=name))).topic_urn)


def subscribe(client: Any, urn: str, protocol: str, endpoint: str, **fields: Any) -> str:
    body = smn.AddSubscriptionRequestBody(protocol=protocol, endpoint=endpoint, **fields)
    return str(client.add_subscription(smn.AddSubscriptionRequest(urn, body)).subscription_urn)


def publish(client: Any, urn: str, **fields: Any) -> str:
    return str(
        client.publish_message(smn.PublishMessageRequest(urn, smn.PublishMessageRequestBody(**fields))).message_id
    )


def got(hooks: Hooks, urn: str, kind: str) -> list[dict[str, Any]]:
    return [body for _, _, body in hooks.got if body["topic_urn"] == urn and body["type"] == kind]


def confirmed(api: Api, client: Any, hooks: Hooks, urn: str, path: str, **fields: Any) -> dict[str, Any]:
    """An endpoint that accepted; gives the request to confirm."""
    subscribe(client, urn, "http", hooks.url + path, **fields)
    assert eventually(lambda: bool(got(hooks, urn, "SubscriptionConfirmation")))
    [asked] = got(hooks, urn, "SubscriptionConfirmation")
    link = urlsplit(asked["subscribe_url"])
    assert 200 == api.send("GET", f"{link.path}?{link.query}", headers={})[0]
    return asked


def refused(work: Callable[[], object]) -> tuple[int, str, str]:
    with pytest.raises(Exception) as error:
        work()
    return error.value.status_code, error.value.error_code, error.value.error_msg  # type: ignore[attr-defined]


def test_a_topic_lives_and_dies(client: Any, api: Api) -> None:
    urn = topic(client, "life")
    again = topic(client, "life")
    client.update_topic(smn.UpdateTopicRequest(urn, smn.UpdateTopicRequestBody(display_name="Life")))
    attribute = smn.UpdateTopicAttributeRequestBody(value="about life")
    client.update_topic_attribute(smn.UpdateTopicAttributeRequest(urn, "introduction", attribute))
    shown = client.list_topic_details(smn.ListTopicDetailsRequest(urn))
    attributes = client.list_topic_attributes(smn.ListTopicAttributesRequest(urn)).attributes
    listed = client.list_topics(smn.ListTopicsRequest(fuzzy_name="lif"))
    client.delete_topic(smn.DeleteTopicRequest(urn))

    assert f"urn:smn:testland:{api.keys['project_id']}:life" == urn == again
    assert ("life", "Life", "about life") == (shown.name, shown.display_name, attributes.introduction)
    assert [urn] == [one.topic_urn for one in listed.topics]
    assert (404, "FSS.1171") == refused(lambda: client.list_topic_details(smn.ListTopicDetailsRequest(urn)))[:2]


@pytest.mark.parametrize("name", ["", "-a", "a b", "x" * 256, "ä"])
def test_names_of_topics_have_a_rule(client: Any, name: str) -> None:
    status, code, text = refused(lambda: topic(client, name))

    assert (400, "FSS.0400") == (status, code)
    assert text.startswith("name: ")


def test_an_endpoint_gets_signed_messages_once_it_has_confirmed(api: Api, client: Any, hooks: Hooks) -> None:
    urn = topic(client, "signed")
    extension = smn.SubscriptionExtension(header={"X-Team": "blue"})
    asked = confirmed(api, client, hooks, urn, "/signed", extension=extension)
    message_id = publish(client, urn, subject="hello", message="first\nline")
    assert eventually(lambda: bool(got(hooks, urn, "Notification")))
    [told] = got(hooks, urn, "Notification")
    [headers] = [one for _, one, body in hooks.got if body is told]
    link = urlsplit(told["signing_cert_url"])
    pem = api.send("GET", link.path, headers={})[1]
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)

    assert (message_id, "first\nline", "hello", "v1") == (
        told["message_id"], told["message"], told["subject"], told["signature_version"],
    )  # fmt: skip
    assert ("blue", "Notification", message_id, urn) == (
        headers["x-team"], headers["x-smn-message-type"], headers["x-smn-message-id"], headers["x-smn-topic-urn"],
    )  # fmt: skip
    for document, names in (
        (told, ("message", "message_id", "subject", "timestamp", "topic_urn", "type")),
        (asked, ("message", "message_id", "subscribe_url", "timestamp", "topic_urn", "type")),
    ):
        text = "".join(f"{name}\n{document[name]}\n" for name in names)
        key.verify(base64.b64decode(document["signature"]), text.encode(), padding.PKCS1v15(), hashes.SHA256())

    link = urlsplit(told["unsubscribe_url"])
    assert (
        400
        == api.send("GET", f"{link.path}?subscription_urn={parse_qs(link.query)['subscription_urn'][0]}", headers={})[0]
    )
    assert 200 == api.send("GET", f"{link.path}?{link.query}", headers={})[0]
    [one] = client.list_subscriptions_by_topic(smn.ListSubscriptionsByTopicRequest(urn)).subscriptions
    assert 3 == one.status
    assert eventually(lambda: bool(got(hooks, urn, "UnsubscribeConfirmation")))


def test_until_then_it_gets_nothing(api: Api, client: Any, hooks: Hooks) -> None:
    urn = topic(client, "shy")
    subscribe(client, urn, "http", hooks.url + "/shy")
    assert eventually(lambda: bool(got(hooks, urn, "SubscriptionConfirmation")))
    publish(client, urn, message="x")
    path = f"/rest/v2/notifications/subscription/confirm?topic_urn={urn}&token={'0' * 64}"
    deliveries = api.send("GET", f"/fgd/v1/projects/{api.keys['project_id']}/topics/{urn}/deliveries")[1]

    assert 400 == api.send("GET", path, headers={})[0]
    assert [] == [one for one in deliveries["deliveries"] if "Notification" in str(one)]
    assert [] == got(hooks, urn, "Notification")


def test_an_endpoint_that_is_away_gets_it_when_it_is_back(api: Api, client: Any, hooks: Hooks) -> None:
    urn = topic(client, "patient")
    confirmed(api, client, hooks, urn, "/patient")
    hooks.status = 503
    publish(client, urn, message="late")
    assert eventually(lambda: len(got(hooks, urn, "Notification")) == 1)
    hooks.status = 200

    assert eventually(lambda: len(got(hooks, urn, "Notification")) == 2)


def test_a_redirect_is_not_followed_and_a_silent_endpoint_is_given_up(
    api: Api, client: Any, hooks: Hooks, silent: str
) -> None:
    urn = topic(client, "hostile")
    confirmed(api, client, hooks, urn, "/hostile")
    subscribe(client, urn, "http", silent)
    hooks.status, hooks.headers = 302, {"Location": silent}
    publish(client, urn, message="x")
    path = f"/fgd/v1/projects/{api.keys['project_id']}/topics/{urn}/deliveries"

    def failed() -> list[Any]:
        return [one for one in api.send("GET", path)[1]["deliveries"] if one["status"] == "FAIL"]

    try:
        assert eventually(lambda: len(failed()) == 2)
    finally:
        hooks.status, hooks.headers = 200, {}
    errors = {one["endpoint"]: one["error"] for one in failed()}

    assert "answered 302" in errors[hooks.url + "/hostile"]
    assert "took longer than 0.5 s" in errors[silent]
    assert 2 == api.send("POST", path + "/retry", {"all": True})[1]["count"]
    assert eventually(lambda: len(got(hooks, urn, "Notification")) == 4), (
        "the redirect's three tries, and one that arrived"
    )


@pytest.mark.parametrize(
    ("protocol", "endpoint", "status", "field"),
    [
        ("http", "http://127.0.0.1:1/", 400, "endpoint: must be below one"),
        ("http", "http://169.254.169.254/latest", 400, "endpoint: must be below one"),
        ("https", "http://hooks.test/", 400, "endpoint: must begin with https://"),
        ("functionstage", "nobody", 404, "endpoint: "),
        ("functionstage", f"urn:fss:testland:{'q' * 32}:function:default:f:latest", 403, "endpoint: "),
        ("email", "somebody@example.com", 501, "protocol: fgd sends no e-mail"),
        ("sms", "123", 501, "protocol: fgd sends no text messages"),
        ("pigeon", "x", 400, "protocol: must be one of functionstage, http, https"),
    ],
)
def test_subscribers_that_cannot_be(client: Any, protocol: str, endpoint: str, status: int, field: str) -> None:
    urn = topic(client, "refuses")
    answer = refused(lambda: subscribe(client, urn, protocol, endpoint))

    assert status == answer[0]
    assert answer[2].startswith(field)


def test_every_protocol_gets_its_part_of_a_structure(api: Api, client: Any, hooks: Hooks) -> None:
    function = api.function("structured")["func_urn"]
    urn = topic(client, "structured")
    confirmed(api, client, hooks, urn, "/structured")
    subscribe(client, urn, "functionstage", function)
    publish(client, urn, message_structure=json.dumps({"default": "all", "http": "web"}), message="not this")
    only = smn.MessageAttribute(name="to", type="PROTOCOL", value=["http"])
    publish(client, urn, message="web alone", message_attributes=[only])
    assert eventually(lambda: len(got(hooks, urn, "Notification")) == 2)
    events = [event for name, event in api.node.events if name == function]

    assert {"web", "web alone"} == {one["message"] for one in got(hooks, urn, "Notification")}
    assert ["all"] == [event["record"][0]["smn"]["message"] for event in events]
    assert function == events[0]["record"][0]["event_subscription_urn"]


def test_a_trigger_subscribes_and_its_topic_must_be_there(api: Api, client: Any) -> None:
    api.function("triggered")
    urn = topic(client, "triggers")
    path = f"/triggers/{api.of('triggered').removeprefix('/functions/')}"
    body = {"trigger_type_code": "SMN", "event_data": {"topic_urn": urn}}
    unknown = {"trigger_type_code": "SMN", "event_data": {"topic_urn": urn + "-2"}}

    def error(method: str, where: str, sent: object) -> tuple[int, str]:
        status, answer = api.v2(method, where, sent)
        return status, answer["error_code"]

    assert (404, "FSS.1171") == error("POST", path, unknown)
    assert (400, "FSS.1102") == error("POST", path, {**body, "event_data": {"topic_urn": "x"}})
    assert 400 == error("POST", path, {**body, "trigger_status": "DISABLED"})[0]
    status, made = api.v2("POST", path, body)
    assert (201, "Confirmed") == (status, made["event_data"]["subscription_status"])
    assert (409, "FSS.1141") == error("POST", path, body)
    [listed] = client.list_subscriptions_by_topic(smn.ListSubscriptionsByTopicRequest(urn)).subscriptions
    cancel = smn.CancelSubscriptionRequest(listed.subscription_urn)
    assert ("functionstage", 1) == (listed.protocol, listed.status)
    assert 409 == refused(lambda: client.cancel_subscription(cancel))[0]

    client.delete_topic(smn.DeleteTopicRequest(urn))
    one = f"{path}/SMN/{made['trigger_id']}"
    assert "Unconfirmed" == api.v2("GET", one)[1]["event_data"]["subscription_status"]
    topic(client, "triggers")
    assert "Confirmed" == api.v2("GET", one)[1]["event_data"]["subscription_status"]


def test_a_template_is_filled_for_each_protocol(api: Api, client: Any, hooks: Hooks) -> None:
    urn = topic(client, "templated")
    confirmed(api, client, hooks, urn, "/templated")

    def make(protocol: str, content: str) -> str:
        body = smn.CreateMessageTemplateRequestBody("greeting", protocol, content)
        return str(client.create_message_template(smn.CreateMessageTemplateRequest(body)).message_template_id)

    number = make("http", "hello {name} of {place}")
    assert 404 == refused(lambda: publish(client, urn, message_template_name="greeting", tags={"name": "x"}))[0]
    make("default", "hello")
    assert (409, "FSS.0409") == refused(lambda: make("http", "x"))[:2]
    missing = refused(lambda: publish(client, urn, message_template_name="greeting", tags={"name": "x"}))
    publish(client, urn, message_template_name="greeting", tags={"name": "{place}", "place": "here"})
    shown = client.list_message_template_details(smn.ListMessageTemplateDetailsRequest(number))
    assert eventually(lambda: bool(got(hooks, urn, "Notification")))

    assert "tags.place: is needed by the template" == missing[2]
    assert ["name", "place"] == shown.tag_names
    assert ["hello {place} of here"] == [one["message"] for one in got(hooks, urn, "Notification")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "message: "),
        ({"message": ""}, "message: "),
        ({"message": "x" * 262145}, "message: "),
        ({"message": "x", "subject": "s" * 513}, "subject: "),
        ({"message": "x", "time_to_live": "0"}, "time_to_live: "),
        ({"message": "x", "time_to_live": "86401"}, "time_to_live: "),
        ({"message_structure": "{"}, "message_structure: "),
        ({"message_structure": '{"http":"x"}'}, "message_structure: "),
        ({"message": "x", "message_attributes": [{"name": "A", "type": "STRING"}]}, "message_attributes[0].name"),
    ],
)  # fmt: skip
def test_messages_that_cannot_be(client: Any, fields: dict[str, Any], field: str) -> None:
    urn = topic(client, "strict")
    answer = refused(lambda: publish(client, urn, **fields))

    assert answer[0] in (400, 406)
    assert answer[2].startswith(field)


def test_an_outcome_is_published_with_the_same_id_each_time(api: Api, client: Any) -> None:
    function = api.function("outcome")["func_urn"]
    urn = topic(client, "outcomes")
    subscribe(client, urn, "functionstage", function)
    outcome = Delivery(
        id=1, project_id=api.keys["project_id"], function_urn="", request_id="r1", success=True,
        document=b'{"n":1}', tries=0, created_s=1.0, chain=("f1",),
    )  # fmt: skip
    for _ in range(2):
        api.do(api.services.publisher.deliver, outcome, urn)
    assert eventually(lambda: len([1 for name, _ in api.node.events if name == function]) == 2)
    records = [event["record"][0]["smn"] for name, event in api.node.events if name == function]

    assert ['{"n":1}'] * 2 == [one["message"] for one in records]
    assert 1 == len({one["message_id"] for one in records})


def test_another_projects_topic_is_out_of_reach(api: Api, client: Any) -> None:
    urn = topic(client, "mine").replace(api.keys["project_id"], "f" * 32)

    assert 403 == refused(lambda: publish(client, urn, message="x"))[0]


def test_topics_and_unconfirmed_subscriptions_survive_a_restart(tmp_path: Path, hooks: Hooks) -> None:
    config = Config(region="testland", webhook_urls=hooks.url)
    with running_api(tmp_path, config) as first:
        project = first.keys["project_id"]
        root = f"/v2/{project}/notifications/topics"
        urn = first.send("POST", root, {"name": "kept"})[1]["topic_urn"]
        body = {"protocol": "http", "endpoint": hooks.url + "/kept"}
        assert 200 == first.send("POST", f"{root}/{urn}/subscriptions", body)[0]
    with running_api(tmp_path, config) as second:
        found = second.send("GET", f"{root}/{urn}/subscriptions")[1]

    assert [(hooks.url + "/kept", 0)] == [(one["endpoint"], one["status"]) for one in found["subscriptions"]]


def test_a_trigger_takes_messages_with_their_chain_and_its_failures_come_back() -> None:
    feeds = TopicFeeds()
    seen: list[tuple[str, ...]] = []
    message = TopicMessage("urn:smn:local:p:t", "1" * 32, "x", "2024-01-09T07:11:40Z")

    async def take(taken: TopicMessage) -> None:
        seen.append(CHAIN.get())
        if taken.message == "fails":
            raise OSError("away")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(feeds.listen, "t1", take)
            await feeds.give("t1", message, ("f1", "f2"))
            with pytest.raises(OSError, match="away"):
                await feeds.give("t1", msgspec.structs.replace(message, message="fails"), ())
            nursery.cancel_scope.cancel()
        with pytest.raises(NobodyListens):
            await feeds.give("t1", message, ())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert [("f1", "f2"), ()] == seen
