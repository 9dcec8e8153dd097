"""The rules of keys and values, and the forms in which tags arrive."""

import pytest

from fgd.control.tag_rules import (
    parse_addition,
    parse_created_tags,
    parse_removal,
    parse_search,
    parse_tags,
)
from fgd.errors import RequestError


def _one(key: object, value: object = "v") -> list[dict[str, object]]:
    return [{"key": key, "value": value}]


@pytest.mark.parametrize("key", ["a", "k" * 128, "a b", "._:=-+@", "владелец", "所有者", "नियम", "٣", "_sy", "A_sys_"])
def test_keys_of_every_script_are_taken(key: str) -> None:
    assert {key: "v"} == parse_tags("tags", _one(key))


@pytest.mark.parametrize(
    "key",
    ["", "k" * 129, " a", "a ", "_sys_", "_sys_x", "a/b", "a,b", "a\tb", "a\0", "a\n", "😀", "a*", None, 7, ["a"]],
)
def test_keys_that_break_a_rule_are_refused_by_name(key: object) -> None:
    with pytest.raises(RequestError) as refused:
        parse_tags("tags", _one(key))

    assert str(refused.value).startswith("tags[0].key:")
    assert ("FSS.0400", 400) == (refused.value.code, refused.value.status_hint)


@pytest.mark.parametrize("value", ["", " ", "v" * 255, "a/b._:=-+@", "значение", None])
def test_values_may_be_empty_and_hold_slashes(value: object) -> None:
    assert {"k": value or ""} == parse_tags("tags", _one("k", value))


@pytest.mark.parametrize("value", ["v" * 256, "a,b", "a\n", "\0", "<b>", 0, False, [], {}])
def test_values_that_break_a_rule_are_refused_by_name(value: object) -> None:
    with pytest.raises(RequestError, match=r"^tags\[0\]\.value:"):
        parse_tags("tags", _one("k", value))


@pytest.mark.parametrize("value", [None, "a=b", {"a": "b"}, 1, ["a"], [[]], [None]])
def test_something_else_than_a_list_of_tags_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match=r"^tags"):
        parse_tags("tags", value)


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^tags\[1\]\.key: 'a' is given twice"):
        parse_tags("tags", [*_one("a", "1"), *_one("a", "2")])


def test_twenty_tags_are_the_most() -> None:
    tags = [{"key": f"k{number}", "value": ""} for number in range(21)]

    assert 20 == len(parse_tags("tags", tags[:20]))
    with pytest.raises(RequestError, match=r"^tags: a function may have 20 tags, not 21"):
        parse_tags("tags", tags)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ("", {}),
        ('{"a":"1","b":""}', {"a": "1", "b": ""}),
        ('[{"key":"a","value":"1"}]', {"a": "1"}),
        ([{"key": "a", "value": "1"}], {"a": "1"}),
        ({"a": "1"}, {"a": "1"}),
        ("a=1,b=2=3,c", {"a": "1", "b": "2=3", "c": ""}),
    ],
)
def test_tags_of_a_new_function_come_in_several_forms(value: object, expected: dict[str, str]) -> None:
    assert expected == parse_created_tags(value)


@pytest.mark.parametrize("value", ["{", "[1", '{"a":1}', "a=1,", ",", "x" * 40000, "[" * 3000, 5, True, "a\0=1"])
def test_other_forms_are_refused(value: object) -> None:
    with pytest.raises(RequestError, match=r"^tags"):
        parse_created_tags(value)


def test_what_to_take_away_may_leave_the_value_open() -> None:
    body = {"action": "delete", "tags": [{"key": "a"}, {"key": "b", "value": ""}, {"key": "c", "value": "1"}]}

    assert {"a": None, "b": None, "c": "1"} == parse_removal(body)


def test_the_action_of_the_body_must_be_the_path_s() -> None:
    with pytest.raises(RequestError, match=r"^action: must be create"):
        parse_addition({"action": "delete", "tags": []})
    with pytest.raises(RequestError, match=r"^action: must be delete"):
        parse_removal({"action": "create", "tags": []})
    with pytest.raises(RequestError, match=r"^sys_tags:"):
        parse_addition({"sys_tags": [{"key": "_sys_enterprise_project_id", "value": "1"}]})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "count"}, "action"),
        ({"without_any_tag": "true"}, "without_any_tag"),
        ({"tags": {}}, "tags"),
        ({"tags": ["a"]}, "tags[0]"),
        ({"tags": [{"key": 1}]}, "tags[0].key"),
        ({"tags": [{"key": ""}]}, "tags[0].key"),
        ({"tags": [{"key": "a"}, {"key": "a"}]}, "tags[1].key"),
        ({"tags": [{"key": "a", "values": "b"}]}, "tags[0].values"),
        ({"tags": [{"key": "a", "values": [1]}]}, "tags[0].values"),
        ({"tags": [{"key": f"k{number}"} for number in range(21)]}, "tags"),
        ({"sys_tags": [{"key": "_sys_other", "values": []}]}, "sys_tags"),
        ({"matches": {}}, "matches"),
        ({"matches": ["x"]}, "matches[0].key"),
        ({"matches": [{"key": "resource_id", "value": "x"}]}, "matches[0].key"),
        ({"matches": [{"key": "resource_name", "value": 1}]}, "matches[0].value"),
        ({"limit": 0}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": True}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": "x"}, "offset"),
    ],
)
def test_a_search_with_a_mistake_is_refused_by_name(body: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_search(body, "filter")

    assert str(refused.value).startswith(f"{field}:"), refused.value


def test_a_search_takes_numbers_as_text_too() -> None:
    found = parse_search({"limit": "10", "offset": 5, "tags": [{"key": "a", "values": ["1", "2"]}]}, "filter")

    assert (10, 5) == (found.limit, found.offset)
    assert {"a": frozenset({"1", "2"})} == dict(found.tags)
