"""Triggers of document databases: against mongo-java-server, and against recorded answers for what that cannot do."""

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import bson
import pytest
import trio
from bson import json_util
from pymongo.errors import OperationFailure

from fgd.control.event_templates import TEMPLATES
from fgd.testing.trigger import PLACE, BadTriggerConfig, RecordingDoor, TriggerRig, parse
from fgd_dds.events import DDS, GAUSS_MONGO, RECORDS_MAX_BYTES, Change, event_of, record_of, split
from fgd_dds.settings import with_port
from fgd_dds.source import HistoryLost, Source, _explained
from fgd_dds.trigger import Dds, GaussMongo
from tests.documents import DocumentServer

DEADLINE_S = 60.0
DATA: dict[str, object] = {
    "instance_id": "e6065860-f7b8-4cca-80bd-24ef2a3bb748", "db_name": "shop", "collection_name": "orders",
    "db_password": "s3cret", "batch_size": 10,
}  # fmt: skip
_numbers = itertools.count()


@pytest.fixture
def collection() -> str:
    """A name that no other test has."""
    return f"c{next(_numbers)}"


def rig_of(
    server: DocumentServer, collection: str, kind: type[Dds] = Dds, door: RecordingDoor | None = None, **fields: object
) -> TriggerRig[Any]:
    data = {
        **DATA, "collection_name": collection, "instance_addrs": [server.address], "db_user": "", "db_password": None,
        "mode": "Single", "batch_wait_ms": 300, **fields,
    }  # fmt: skip
    return TriggerRig(kind, data, door=door, real_time=True)


def writes(server: DocumentServer, collection: str, write: Callable[[Any], object]) -> Callable[[], Any]:
    """Something for `ready` of a rig: writes to the collection in a thread."""

    def do() -> None:
        with server.client() as client:
            write(client.shop[collection])

    return lambda: trio.to_thread.run_sync(do)


def run_until_remembered(rig: TriggerRig[Any], ready: Callable[[], Any]) -> list[Any]:
    """Runs the trigger until it knows that its first event was taken; gives the events."""

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(rig.kind(rig.settings, rig.door).serve)
                await ready()
                while not rig.door.memory:
                    await trio.sleep(0.02)
                nursery.cancel_scope.cancel()

    trio.run(main)
    return [one.event for one in rig.door.events]


def documents_of(events: list[Any], source: str = "dds") -> list[Any]:
    records = [record for event in events for record in event["records"]]
    return [json_util.loads(record[source]["full_document"]) for record in records]


def test_an_insert_is_an_event_as_the_cloud_s(documents: DocumentServer, collection: str) -> None:
    rig = rig_of(documents, collection)
    write = writes(documents, collection, lambda it: it.insert_one({"name": "lamp", "price": 52.0}))
    events = run_until_remembered(rig, write)
    record = events[0]["records"][0]
    template = next(one.event for one in TEMPLATES if one.name == "dds")

    assert template.keys() == events[0].keys()
    assert _shape(template) == _shape(events[0])
    assert ("dds", "insert", "local", "1.0", DATA["instance_id"]) == (
        record["event_source"], record["event_name"], record["region"], record["event_version"],
        record["event_source_id"],
    )  # fmt: skip
    document = json.loads(record["dds"]["full_document"])
    assert {"$numberDouble": "52.0"} == document["price"] and "$oid" in document["_id"]
    assert str(len(bson.encode(json_util.loads(record["dds"]["full_document"])))) == record["dds"]["size_bytes"]
    assert "_data" in json.loads(record["dds"]["token"])
    assert json.loads(record["dds"]["token"]) == json.loads(rig.door.memory)
    assert not rig.door.events[0].sync


def test_gauss_mongo_differs_as_its_template_says(documents: DocumentServer, collection: str) -> None:
    rig = rig_of(documents, collection, GaussMongo)
    event = rig.run(
        seconds=DEADLINE_S, events=1, ready=writes(documents, collection, lambda it: it.insert_one({"k": "v"}))
    )[0]
    template = next(one.event for one in TEMPLATES if one.name == "gaussmongo")

    assert _shape(template) == _shape(event)
    assert '"insert"' == event["records"][0]["event_name"]
    assert event["vernier"] == event["records"][0]["gauss_mongo"]["token"]


def _shape(value: Any) -> Any:
    """Names and types of an event, whatever their order."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    return [_shape(one) for one in value[:1]] if isinstance(value, list) else type(value)


def test_batches_are_full_or_what_came_in_time(documents: DocumentServer, collection: str) -> None:
    rig = rig_of(documents, collection, batch_size=10)
    write = writes(documents, collection, lambda it: it.insert_many([{"n": n} for n in range(25)]))
    events = rig.run(seconds=DEADLINE_S, events=3, ready=write)
    found = [one["n"] for one in documents_of(events)]

    assert list(range(25)) == found
    assert 10 == max(len(event["records"]) for event in events)
    assert rig.door.figures["changes"] >= 10


def test_every_kind_of_change_comes_and_a_drop_does_not(documents: DocumentServer, collection: str) -> None:
    def change(it: Any) -> None:
        it.insert_one({"_id": 1})
        it.update_one({"_id": 1}, {"$set": {"b": 2}})
        it.delete_one({"_id": 1})
        it.drop()
        it.insert_one({"_id": 2})

    rig = rig_of(documents, collection, batch_size=1)
    events = rig.run(seconds=DEADLINE_S, events=4, ready=writes(documents, collection, change))

    assert ["insert", "update", "delete", "insert"] == [event["records"][0]["event_name"] for event in events]
    assert [{"_id": 1}, {"_id": 1}] == [documents_of([events[number]])[0] for number in (0, 2)]
    assert rig.door.figures["other_changes"] >= 1


def test_what_came_while_the_trigger_was_off_is_read_from_the_token_on(
    documents: DocumentServer, collection: str
) -> None:
    door = RecordingDoor()
    first = rig_of(documents, collection, door=door)
    run_until_remembered(first, writes(documents, collection, lambda it: it.insert_one({"n": 0})))
    with documents.client() as client:
        client.shop[collection].insert_many([{"n": n} for n in range(1, 6)])
    second = rig_of(documents, collection, door=RecordingDoor(memory=door.memory))
    events = second.run(seconds=DEADLINE_S, events=1)

    assert [1, 2, 3, 4, 5] == [one["n"] for one in documents_of(events)]


def test_a_change_that_no_event_can_hold_is_skipped_and_counted(documents: DocumentServer, collection: str) -> None:
    def write(it: Any) -> None:
        it.insert_one({"n": 0, "text": "x" * 300_000})
        it.insert_one({"n": 1})

    rig = rig_of(documents, collection)
    events = rig.run(seconds=DEADLINE_S, events=1, ready=writes(documents, collection, write))

    assert [1] == [one["n"] for one in documents_of(events)]
    assert 1 == rig.door.figures["too_large"]


def test_a_function_that_is_off_is_waited_for(
    documents: DocumentServer, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgd_dds.trigger._OFF_WAIT_S", 0.1)
    rig = rig_of(documents, collection, door=RecordingDoor(off=True))
    write = writes(documents, collection, lambda it: it.insert_one({"n": 0}))

    async def switch_on() -> None:
        await write()
        while not rig.door.figures.get("off"):
            await trio.sleep(0.02)
        rig.door.off = False

    events = rig.run(seconds=DEADLINE_S, events=1, ready=switch_on)

    assert [0] == [one["n"] for one in documents_of(events)]


def failure_of(rig: TriggerRig[Any]) -> str:
    """Why a trigger ended by itself."""
    with pytest.raises(BaseExceptionGroup) as failed:
        rig.run(seconds=DEADLINE_S, events=1)
    error: BaseException = failed.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def test_servers_that_refuse_or_are_not_there_are_told_apart(documents: DocumentServer, collection: str) -> None:
    refused = failure_of(rig_of(documents, collection, db_user="rwuser", db_password="wrong"))
    missing = failure_of(rig_of(documents, collection, instance_addrs=["127.0.0.1:1"]))
    plain = failure_of(rig_of(documents, collection, ssl_enable=True))

    assert "FSS.1170" in refused and "'rwuser'" in refused and "wrong" not in refused
    assert missing.startswith("SourceFailed: 127.0.0.1:1 cannot be reached")
    assert "cannot be reached" in plain and "Topology" not in plain


@pytest.mark.parametrize(
    ("code", "expected"),
    [(286, "HistoryLost"), (280, "HistoryLost"), (260, "HistoryLost"), (40585, "HistoryLost"),
     (18, "FSS.1170"), (13, "FSS.1170"), (40573, "no replica set"), (9, "FSS.1173")],
)  # fmt: skip
def test_errors_of_real_servers_say_what_users_can_do(code: int, expected: str) -> None:
    """The codes are those of MongoDB's error_codes.yml and change stream stages."""
    settings = parse(Dds, DATA)
    explained = _explained(OperationFailure("it does not go, full error: {'ok': 0}", code, {"ok": 0}), settings)
    found = f"{type(explained).__name__}: {explained}"

    assert expected in found and "full error" not in found


class LosesHistory(Source):
    """A source whose server has forgotten what came after the token."""

    def open(self, token: Mapping[str, Any] | None, *, after_end: bool = False) -> None:
        if token is not None:
            raise HistoryLost("the resume point may no longer be in the oplog")
        super().open(token, after_end=after_end)


def test_a_lost_token_means_from_now_on_and_is_said(
    documents: DocumentServer, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgd_dds.trigger.Source", LosesHistory)
    rig = rig_of(documents, collection, door=RecordingDoor(memory=b'{"_data": "825D8C"}'))
    events = rig.run(
        seconds=DEADLINE_S, events=1, ready=writes(documents, collection, lambda it: it.insert_one({"n": 7}))
    )

    assert [7] == [one["n"] for one in documents_of(events)]
    assert 1 == rig.door.figures["history_lost"]
    assert any("changes were lost" in note for note in rig.door.notes)
    assert b"825D8C" not in rig.door.memory


#: What MongoDB's manual shows of an update whose document was deleted meanwhile.
RECORDED = {
    "_id": {"_data": "825D8C"}, "operationType": "update", "ns": {"db": "shop", "coll": "orders"},
    "documentKey": {"_id": 5}, "fullDocument": None, "updateDescription": {"updatedFields": {"a": 1}},
}  # fmt: skip


def test_a_document_that_is_gone_shows_its_key() -> None:
    record = json.loads(record_of(RECORDED, DDS, PLACE, "i"))

    assert '{"_id": {"$numberInt": "5"}}' == record["dds"]["full_document"]
    assert '{"db": "shop", "coll": "orders"}' == record["dds"]["ns"]
    assert b"" == record_of({**RECORDED, "operationType": "rename"}, DDS, PLACE, "i")


def test_events_are_split_by_size() -> None:
    changes = [Change(b"x" * (RECORDS_MAX_BYTES // 3), {"_data": str(number)}) for number in range(7)]
    groups = list(split(changes))

    assert [2, 2, 2, 1] == [len(group) for group in groups]
    assert changes == [change for group in groups for change in group]
    event = event_of([b"1", b"2"], {"_data": "x"}, GAUSS_MONGO)
    assert {"records": [1, 2], "vernier": '{"_data": "x"}'} == json.loads(event)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"instance_id": ""}, "instance_id"), ({"instance_id": None}, "instance_id"),
        ({"instance_id": "a b"}, "instance_id"), ({"db_name": "admin"}, "db_name"), ({"db_name": "Local"}, "db_name"),
        ({"db_name": "config"}, "db_name"), ({"db_name": "a.b"}, "db_name"), ({"db_name": ""}, "db_name"),
        ({"db_name": "é" * 40}, "db_name"), ({"collection_name": "system.users"}, "collection_name"),
        ({"collection_name": "a$b"}, "collection_name"), ({"collection_name": None}, "collection_name"),
        ({"batch_size": 0}, "batch_size"), ({"batch_size": 10_001}, "batch_size"), ({"batch_size": "5"}, "batch_size"),
        ({"db_password": None}, "db_password"), ({"db_user": ""}, "db_password"),
        ({"instance_addrs": ["h:0"]}, "instance_addrs[0]"), ({"instance_addrs": ["h:1", "a/b"]}, "instance_addrs[1]"),
        ({"instance_addrs": ["mongodb://h"]}, "instance_addrs[0]"), ({"instance_addrs": "h:1"}, "instance_addrs"),
        ({"mode": "Single", "instance_addrs": ["a:1", "b:1"]}, "instance_addrs"), ({"mode": "Other"}, "mode"),
        ({"ssl_ca": "x"}, "ssl_ca"), ({"ssl_enable": True, "ssl_ca": "x"}, "ssl_ca"),
        ({"batch_wait_ms": 49}, "batch_wait_ms"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(Dds, {**DATA, **fields})

    assert str(refused.value).startswith(f"event_data.{field}: ")
    assert "FSS.1164" == refused.value.code


def test_answers_add_user_addresses_and_mode() -> None:
    settings = parse(Dds, DATA)

    assert {
        "db_user": "rwuser", "instance_addrs": ["e6065860-f7b8-4cca-80bd-24ef2a3bb748:8635"], "mode": "ReplicaSet",
    } == Dds.shown(settings, PLACE)  # fmt: skip
    assert ("DISABLED", "FSS.1166", {"db_password"}) == (Dds.starts, Dds.exists_code, set(Dds.secrets))
    assert ("h:8635", "[::1]:8635", "[::1]:7", "h:7") == tuple(map(with_port, ("h", "[::1]", "[::1]:7", "h:7")))
