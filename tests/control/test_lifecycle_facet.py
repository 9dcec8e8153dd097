"""Reading, checking and showing what the lifecycle facet has of a function."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from fgd.control.facets.lifecycle import LifecycleFacet
from fgd.control.fields import parse_change, parse_new
from fgd.control.versions import NewVersion
from fgd.errors import BadParameter
from fgd.model import Function
from fgd.urn import FunctionUrn
from tests.control.world import INSTALLED, PROJECT, new_body, world
from tests.instance.harness import function

FACET = LifecycleFacet()


def applied(old: Function, **body: Any) -> Function:
    new = msgspec.structs.replace(old, **FACET.parse("p", body, old))
    FACET.check(new)
    return new


def test_nothing_said_is_nothing_set_and_null_leaves_things_alone() -> None:
    full = applied(
        function(), enable_dynamic_memory=True, heartbeat_handler="index.beat", pre_stop_handler="end.bye",
        pre_stop_timeout=90,
    )  # fmt: skip
    nulls = dict.fromkeys(FACET.wire)

    assert {} == FACET.parse("p", {"runtime": "Python3.12"}, None)
    assert full == applied(full, **nulls) == applied(full)
    assert {
        "enable_dynamic_memory": True, "heartbeat_handler": "index.beat", "pre_stop_handler": "end.bye",
        "pre_stop_timeout": 90,
    } == FACET.show(full)  # fmt: skip


def test_empty_text_takes_a_setting_away() -> None:
    full = applied(function(), heartbeat_handler="index.beat", pre_stop_handler="index.bye", pre_stop_timeout=3)
    none = applied(full, heartbeat_handler="", pre_stop_handler="", pre_stop_timeout=0)

    assert function() == none
    assert {
        "enable_dynamic_memory": False, "heartbeat_handler": None, "pre_stop_handler": None, "pre_stop_timeout": None,
    } == FACET.show(none)  # fmt: skip


def test_pre_stop_without_a_timeout_gets_ten_seconds_and_keeps_what_it_had() -> None:
    first = applied(function(), pre_stop_handler="index.bye")
    longer = applied(first, pre_stop_timeout=30)

    assert 10 == first.pre_stop_timeout_s
    assert 30 == applied(longer, pre_stop_handler="index.other").pre_stop_timeout_s
    assert 30 == applied(longer, pre_stop_timeout=0).pre_stop_timeout_s


def test_handler_that_moves_to_another_file_must_take_its_heartbeat_along() -> None:
    beating = applied(function(), heartbeat_handler="index.beat")

    with pytest.raises(BadParameter, match="heartbeat_handler: must be in the handler's file, 'main', not in 'index'"):
        FACET.check(msgspec.structs.replace(beating, handler="main.handler"))


def test_length_of_the_entries_is_at_most_128() -> None:
    longest = "index." + "b" * 122

    assert longest == applied(function(), heartbeat_handler=longest).heartbeat_handler
    assert longest == applied(function(), pre_stop_handler=longest).pre_stop_handler
    for field in ("heartbeat_handler", "pre_stop_handler"):
        with pytest.raises(BadParameter, match=f"{field}: must be text of 1 to 128 characters"):
            applied(function(), **{field: longest + "b"})


def test_settings_survive_a_restart_in_latest_and_in_versions(tmp_path: Path) -> None:
    async def main() -> None:
        urn = FunctionUrn(PROJECT, "default", "living", "latest")
        settings = {"enable_dynamic_memory": True, "heartbeat_handler": "index.beat", "pre_stop_handler": "index.bye"}
        async with world(tmp_path) as here:
            made = parse_new(new_body("living", **settings), INSTALLED, here.functions.facets)
            await here.functions.create(PROJECT, made)
            published = await here.versions.publish(urn, NewVersion("v1", "", ""))
            change = {"heartbeat_handler": "", "enable_dynamic_memory": False}
            await here.functions.configure(urn, lambda old: parse_change(change, old, here.functions.facets))
        async with world(tmp_path) as here:
            latest = here.functions.resolve(urn)
            version = here.functions.resolve(replace(urn, qualifier="v1"))

        assert published == version
        assert (True, "index.beat", 10) == (
            version.dynamic_memory, version.heartbeat_handler, version.pre_stop_timeout_s
        )  # fmt: skip
        assert (False, "", "index.bye", 2) == (
            latest.dynamic_memory, latest.heartbeat_handler, latest.pre_stop_handler, latest.revision
        )  # fmt: skip

    trio.run(main)
