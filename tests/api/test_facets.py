"""What a facet shows it reads again: for random settings from a fixed seed, so that they survive export and import."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from fgd.control.facet import Facet, parse_all, show_all
from fgd.model import Function
from tests.api.harness import PROJECT, Api
from tests.api.test_agencies import make
from tests.api.test_functions import packed

#: Field -> values that it may have, None for leaving it out. Dependencies are made by the test.
VALUES: dict[str, list[Any]] = {
    "enable_dynamic_memory": [None, True, False],
    "heartbeat_handler": [None, "", "index.beat"],
    "pre_stop_handler": [None, "", "index.stop", "other.stop"],
    "pre_stop_timeout": [None, 0, 1, 90],
    "ephemeral_storage": [None, 0, 512, 10240],
    "mount_config": [
        None,
        {},
        {"mount_user": {"user_id": 7}},
        {"func_mounts": [{"mount_type": "tmpfs", "mount_resource": "5", "local_mount_path": "/scratch"}]},
    ],
    "xrole": [None, "", "facet-a"],
    "app_xrole": [None, "", "facet-b"],
}


def _dependency(api: Api, name: str) -> str:
    body = {"name": name, "runtime": "Python3.12", "depend_type": "zip", "depend_file": packed(**{name + "__py": "x"})}
    status, answer = api.v2("POST", "/dependencies/version", body)
    assert 200 == status, answer
    made: str = answer["id"]
    return made


@pytest.mark.slow
def test_what_is_shown_is_read_again(api: Api) -> None:
    for agency in ("facet-a", "facet-b"):
        make(api, agency, "FunctionGraph ReadOnlyAccess")
    dependencies = [_dependency(api, name) for name in ("facetlib", "facetother")]
    api.function("facets")
    plain = api.directory.by_key((PROJECT, "default", "facets"))
    assert plain is not None
    facets = api.services.functions.facets
    source = random.Random(7)
    for _ in range(200):
        sent = {field: source.choice(values) for field, values in VALUES.items()}
        sent["depend_version_list"] = source.sample(dependencies, source.randrange(3))
        function = _with(facets, plain, sent, None)
        for facet in facets:
            facet.check(function)
        shown = {name: value for name, value in show_all(facets, function).items() if value is not None}

        assert function == _with(facets, plain, shown, None), sent
        assert function == _with(facets, function, shown, function), sent


def _with(facets: Sequence[Facet], function: Function, fields: Mapping[str, object], old: Function | None) -> Function:
    """A function as a request with these fields makes it."""
    body = {"runtime": function.runtime, **fields}
    return msgspec.structs.replace(function, **parse_all(facets, PROJECT, body, old))
