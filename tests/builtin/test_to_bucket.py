"""Outcomes as objects: what they are called, when they go, and which names are refused."""

from typing import Any

import pytest
import trio

from fgd.builtin.to_bucket import BucketDestination
from fgd.plugin import BadDestination
from tests.builtin.node import CREATED_S, PlainNode, delivery

NAME = "20261126T224000Z-1167bf8c-87b0-43ab-8f5f-26b16c64f2{:02}-{}.json"


def write(node: PlainNode, param: dict[str, Any], **fields: Any) -> None:
    kind = BucketDestination(node)
    trio.run(kind.deliver, delivery(**fields), kind.parse(param))


def test_an_object_has_time_request_and_outcome_in_its_key() -> None:
    node = PlainNode()
    write(node, {"bucket": "results"}, document=b'{"a":1}')
    write(node, {"bucket": "results", "prefix": "bad/x-", "expires": 2}, number=2, success=False)

    assert {
        ("p1", "results", NAME.format(1, "success")): (b'{"a":1}', "application/json", 0.0),
        ("p1", "results", "bad/x-" + NAME.format(2, "failure")): (b"{}", "application/json", CREATED_S + 2 * 86400),
    } == node.objects


def test_a_repeated_delivery_makes_the_same_object() -> None:
    node = PlainNode()
    for document in (b"{}", b'{"again":1}'):
        write(node, {"bucket": "results"}, document=document)

    assert [b'{"again":1}'] == [data for data, _, _ in node.objects.values()]


@pytest.mark.parametrize(
    ("param", "field"),
    [
        ({}, "bucket"), ({"bucket": ""}, "bucket"), ({"bucket": "ab"}, "bucket"), ({"bucket": "a" * 64}, "bucket"),
        ({"bucket": "Results"}, "bucket"), ({"bucket": ".expires"}, "bucket"), ({"bucket": "a..b"}, "bucket"),
        ({"bucket": "a/b"}, "bucket"), ({"bucket": 1}, "bucket"), ({"bucket": "abc\x00"}, "bucket"),
        ({"bucket": "abc\n"}, "bucket"),
        ({"bucket": "abc", "prefix": "../x"}, "prefix"), ({"bucket": "abc", "prefix": "a/./b"}, "prefix"),
        ({"bucket": "abc", "prefix": "a/../../b/"}, "prefix"), ({"bucket": "abc", "prefix": "a/.."}, "prefix"),
        ({"bucket": "abc", "prefix": "a\nb"}, "prefix"), ({"bucket": "abc", "prefix": "\ud800"}, "prefix"),
        ({"bucket": "abc", "prefix": "x" * 901}, "prefix"), ({"bucket": "abc", "prefix": "\u00e9" * 451}, "prefix"),
        ({"bucket": "abc", "prefix": []}, "prefix"),
        ({"bucket": "abc", "expires": -1}, "expires"), ({"bucket": "abc", "expires": 366}, "expires"),
        ({"bucket": "abc", "expires": "1"}, "expires"), ({"bucket": "abc", "expires": True}, "expires"),
        ({"bucket": "abc", "prefx": "a"}, "prefx"),
    ],
)  # fmt: skip
def test_hostile_and_wrong_settings_name_the_field(param: dict[str, Any], field: str) -> None:
    with pytest.raises(BadDestination, match=f"^{field}: "):
        BucketDestination(PlainNode()).parse(param)
