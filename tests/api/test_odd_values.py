"""Every field of create and update with values that it cannot be: refused by its name, never our fault, nothing stored.

The values are a fixed list and some more from a fixed seed; a field that comes later is among them by itself.
"""

import json
import random
from typing import Any

import pytest

from fgd.api.table import OPERATIONS
from fgd.control.features import ECHOED, UNBUILT
from tests.api.harness import MINIMAL, Api

_DEEP: list[object] = []
for _ in range(500):
    _DEEP = [_DEEP]
ODD: list[object] = [
    True, False, 0, -1, 1, 1.5, 10**18, 10**40, -(10**400), "", " ", "x", "\x00", "a\x00b", "\U0001f600" * 70, "\ud7ff",
    "a" * 5000, "a" * 100_000, "{}", "[]", "null", "../../etc/passwd", "'; DROP TABLE function; --", [], [None], ["x"],
    [[]], [{}], ["\x00"], ["a"] * 1000, {}, {"a": None}, {"a": {}}, {"\x00": "\x00"}, {"file": []}, {"file": "x"},
    {"concurrency": []}, {"func_mounts": 1}, {"mount_user": 1}, {"vpc_id": 5}, {"key": "x"}, _DEEP, {"a": _DEEP},
]  # fmt: skip

#: Where another field may be to blame: of two that must agree, or of one that the value makes necessary.
ALSO = {
    "handler": ("initializer_handler", "heartbeat_handler"),
    "initializer_handler": ("initializer_timeout",),
    "initializer_timeout": ("initializer_handler",),
    "code_type": ("func_code", "code_url"),
    "encrypted_user_data": ("user_data",),
    "user_data": ("encrypted_user_data",),
}


def _facet_fields(api: Api) -> set[str]:
    return {name for facet in api.services.functions.facets for name in facet.wire}


def _fields_of(name: str) -> set[str]:
    return {field for operation in OPERATIONS if operation.name == name for field in operation.fields}


def _random_values(source: random.Random, depth: int = 0) -> object:
    kind = source.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return [_random_values(source, depth + 1) for _ in range(source.randrange(4))]
    if kind == 8:
        keys = ("id", "name", "key", "value", "file", "vpc_id", "cidr", "", "\x00", "func_mounts", "count")
        return {source.choice(keys): _random_values(source, depth + 1) for _ in range(source.randrange(4))}
    return (None, True, source.randrange(-5, 300_000), source.random() * 1e6, "", source.choice("aZ0._-/\x00é") * 3,
            "v" * source.randrange(700))[kind]  # fmt: skip


def _values(field: str, most: int = 16) -> list[object]:
    source = random.Random(field)
    return [*source.sample(ODD, most), *(_random_values(source) for _ in range(6))]


def _is_named(field: str, message: str) -> bool:
    names = (field, *ALSO.get(field, ()))
    return message.startswith(tuple(name + mark for name in names for mark in ":.["))


def _check(field: str, value: object, status: int, answer: Any) -> None:
    shown = f"{field}={str(value)[:60]!r}: {status} {str(answer)[:300]}"

    assert status == 501 or 400 <= status < 500, shown
    assert _is_named(field, answer["error_msg"]), shown
    assert len(answer["error_msg"]) < 2000, shown


CREATED = sorted({*_fields_of("create_function"), *UNBUILT, *ECHOED, "code_url", "depend_version_list"} - {"type"})
CHANGED = sorted({*_fields_of("update_function_config"), *UNBUILT, *ECHOED, "depend_version_list"} - {"type"})


@pytest.mark.parametrize("field", CREATED)
def test_create_refuses_or_takes_a_value_whole(api: Api, field: str) -> None:
    taken = 0
    for value in _values(field):
        before = api.directory.generation
        status, answer = api.v2("POST", "/functions", {**MINIMAL, "func_name": "odd", field: value})
        if status == 200:
            taken += 1
            name = answer["func_name"]
            path = api.of(name).replace("default", answer["package"])
            assert 204 == api.v2("DELETE", path)[0]
            continue
        _check(field, value, status, answer)
        assert before == api.directory.generation, (field, value)

    assert taken < len(_values(field))


@pytest.mark.parametrize("field", CHANGED)
def test_update_refuses_or_takes_a_value_whole(api: Api, field: str) -> None:
    key = (api.function(f"odd-{field.replace('_', '-')}")["namespace"], "default", f"odd-{field.replace('_', '-')}")
    for value in _values(field, 10):
        before = api.directory.by_key(key)
        status, answer = api.v2("PUT", api.of(key[2]) + "/config", {"description": "half", field: value})
        if status == 200:
            continue
        _check(field, value, status, answer)
        assert before is api.directory.by_key(key), (field, value)


def test_fields_of_all_facets_are_refused_or_taken_whole(api: Api) -> None:
    """Those that no list above has yet."""
    for number, field in enumerate(sorted(_facet_fields(api) - set(CREATED))):
        for value in _values(field, 10):
            before = api.directory.generation
            status, answer = api.v2("POST", "/functions", {**MINIMAL, "func_name": f"late-{number}", field: value})
            if status == 200:
                assert 204 == api.v2("DELETE", api.of(f"late-{number}"))[0]
            else:
                _check(field, value, status, answer)
                assert before == api.directory.generation, (field, value)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/code"),
        ("PUT", "/config-max-instance"),
        ("POST", "/events"),
        ("POST", "/versions"),
        ("POST", "/aliases"),
    ],
)
def test_bodies_of_other_operations_are_refused_or_taken_whole(api: Api, method: str, path: str) -> None:
    name = "odd" + path.replace("/", "-")
    api.function(name)
    operation = next(one for one in OPERATIONS if one.method == method and one.path.endswith("{function_urn}" + path))
    for field in operation.fields:
        for value in _values(field, 10):
            status, answer = api.v2(method, api.of(name) + path, {field: value})

            assert status < 500 or status == 501, (field, value, answer)
            assert status < 400 or ":" in answer["error_msg"], (field, value, answer)


@pytest.mark.parametrize("depth", [500, 900, 980, 1000, 1100, 1500, 20_000])
def test_nesting_as_deep_as_the_parser_goes_is_refused(api: Api, depth: int) -> None:
    deep = "[" * depth + "1" + "]" * depth
    whole = json.dumps({**MINIMAL, "func_name": "deep"})[:-1]
    for field in ("user_data", "func_vpc", "tags", "lts_custom_tag", "handler"):
        for value in (deep, f'{{"a": {deep}}}', f'[{{"key": {deep}}}]'):
            status, answer = api.v2("POST", "/functions", f'{whole}, "{field}": {value}}}'.encode())

            assert status == 501 or 400 <= status < 500, (field, answer)
            assert _is_named(field, answer["error_msg"]) or answer["error_msg"].startswith("body:"), (field, answer)
