"""Targets of asynchronous settings: what is read, what is refused, and that no outcome comes back to its function."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.config import Config
from fgd.control.asyncs import parse_async_config
from fgd.control.targets import Targets
from fgd.control.versions import parse_version
from fgd.errors import BadParameter, Forbidden, FunctionNotFound, NotAcceptable, NotBuilt, RequestError, VersionNotFound
from fgd.invoke.resolve import Directory
from fgd.model import Function, Target
from fgd.urn import FunctionUrn
from tests.control.world import PROJECT, FixedNode, World, builtin_kinds, new, world

CONFIG = Config(webhook_urls="https://hooks.test/")
TARGETS = Targets(builtin_kinds(FixedNode(CONFIG)), Directory())


def on_success(kind: object, param: object) -> dict[str, object]:
    return {"destination_config": {"on_success": {"destination": kind, "param": param}}}


def test_param_is_text_as_it_came_or_an_object() -> None:
    text = '{ "bucket": "results",  "expires": 3 }'
    both = (
        parse_async_config(on_success("OBS", text), TARGETS),
        parse_async_config(on_success("OBS", {"bucket": "results"}), TARGETS),
    )

    assert [Target("OBS", text), Target("OBS", '{"bucket":"results"}')] == [one["on_success"] for one in both]
    assert [None, None] == [one["on_failure"] for one in both]


@pytest.mark.parametrize("value", [None, {}, {"on_success": None}, {"on_failure": {"destination": "", "param": ""}}])
def test_empty_targets_are_none(value: object) -> None:
    assert {"on_success": None, "on_failure": None} == parse_async_config({"destination_config": value}, TARGETS)


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"destination_config": []}, BadParameter, "destination_config: must be an object"),
        ({"destination_config": {"on_failure": 1}}, BadParameter, "destination_config.on_failure: must be an object"),
        (on_success("Pigeon", "{}"), BadParameter, "destination_config.on_success.destination: must be one of Funct"),
        (on_success("obs", "{}"), BadParameter, "destination_config.on_success.destination: must be one of Funct"),
        (on_success(["OBS"], "{}"), BadParameter, "destination_config.on_success.destination: must be one of Funct"),
        (
            on_success("SMN", '{"topic_urn": "t"}'),
            BadParameter,
            "destination_config.on_success.param: topic_urn: must be urn:",
        ),
        (on_success("DIS", '{"stream_name": "s"}'), NotBuilt, "destination_config.on_success.destination: no plugin"),
        (on_success("OBS", None), BadParameter, "destination_config.on_success.param: must be a string that holds"),
        (on_success("OBS", "{"), NotAcceptable, "destination_config.on_success.param: is not valid JSON"),
        (on_success("OBS", "[" * 3000), NotAcceptable, "destination_config.on_success.param: is not valid JSON"),
        (on_success("OBS", "[]"), BadParameter, "destination_config.on_success.param: must be a JSON object"),
        (on_success("OBS", '{"bucket":"' + "a" * 5000 + '"}'), BadParameter, "param: must be at most 4096"),
        (on_success("OBS", '{"bucket":"../x"}'), BadParameter, "destination_config.on_success.param: bucket: must"),
        (on_success("Webhook", '{"url":"http://localhost/"}'), BadParameter, "param: url: must be below one"),
        (on_success("FunctionGraph", '{"func":"x"}'), BadParameter, "destination_config.on_success.param: func: there"),
        (on_success("FunctionGraph", '{"func_urn":7}'), BadParameter, "param: func_urn: must be a string"),
    ],
)
def test_what_cannot_be_a_target_names_the_field(body: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_async_config(body, TARGETS)


class Net:
    """Functions, and targets from one to another."""

    def __init__(self, here: World) -> None:
        self.here = here

    async def function(self, name: str) -> Function:
        return await self.here.functions.create(PROJECT, new(name))

    async def aim(self, owner: Function, target: str, *, field: str = "on_success") -> None:
        values = {field: Target("FunctionGraph", json.dumps({"func_urn": target}))}
        await self.here.configs.put(owner, values, self.here.targets)


def in_net(tmp_path: Path, main: Callable[[Net], Awaitable[None]]) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await main(Net(here))

    trio.run(run)


def test_two_functions_cannot_be_targets_of_each_other(tmp_path: Path) -> None:
    async def main(net: Net) -> None:
        a, b = await net.function("a"), await net.function("b")
        await net.aim(a, "b")
        with pytest.raises(
            BadParameter, match=r"^destination_config.on_failure.param: would make a loop, b -> a -> b;"
        ):
            await net.aim(b, "default:a", field="on_failure")
        assert net.here.configs.stored(b) is None

    in_net(tmp_path, main)


def test_a_function_is_no_target_of_itself_nor_by_others(tmp_path: Path) -> None:
    async def main(net: Net) -> None:
        a, b, c = [await net.function(name) for name in "abc"]
        with pytest.raises(BadParameter, match="would make a loop, a -> a;"):
            await net.aim(a, "a")
        await net.aim(a, "b")
        await net.aim(b, "c", field="on_failure")
        with pytest.raises(BadParameter, match="would make a loop, c -> a -> b -> c;"):
            await net.aim(c, a.urn.text("local"))

    in_net(tmp_path, main)


def test_targets_of_every_version_count_for_loops(tmp_path: Path) -> None:
    async def main(net: Net) -> None:
        a, b = await net.function("a"), await net.function("b")
        here = net.here
        version = await here.versions.publish(a.urn, parse_version({"version": "v1"}))
        await net.aim(version, "b")
        with pytest.raises(BadParameter, match="would make a loop"):
            await net.aim(b, "a")
        await here.configs.delete(version)
        await net.aim(b, f"{PROJECT}:default:a:v1")
        with pytest.raises(BadParameter, match="would make a loop"):
            await net.aim(a, "b")

    in_net(tmp_path, main)


@pytest.mark.parametrize(
    ("urn", "error", "message"),
    [
        ("gone", FunctionNotFound, "there is no function 'gone'"),
        (f"{PROJECT}:default:there:v9", VersionNotFound, "has no version 'v9'"),
        (f"{PROJECT}:default:there:!live", RequestError, "has no alias 'live'"),
        ("other:default:there", Forbidden, "another project"),
        ("a:b:c:d:e", RequestError, "has 5 fields"),
    ],
)
def test_a_target_must_be_there(tmp_path: Path, urn: str, error: type[Exception], message: str) -> None:
    async def main(net: Net) -> None:
        owner = await net.function("owner")
        await net.function("there")
        with pytest.raises(error, match=rf"^destination_config.on_success.param: .*{message}"):
            await net.aim(owner, urn)

    in_net(tmp_path, main)


def test_targets_survive_a_restart(tmp_path: Path) -> None:
    async def before(net: Net) -> None:
        a = await net.function("a")
        await net.function("b")
        await net.aim(a, "b")

    async def after(net: Net) -> None:
        a = net.here.directory.resolve(FunctionUrn(PROJECT, "default", "a"))
        stored = net.here.configs.stored(a)
        assert stored is not None
        assert Target("FunctionGraph", '{"func_urn": "b"}') == stored.on_success

    in_net(tmp_path, before)
    in_net(tmp_path, after)
