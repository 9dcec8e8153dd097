"""Publishing versions and pointing aliases to them, over a real catalog; closing and opening it is a restart."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from fgd.control.aliases import left_alone, parse_alias
from fgd.control.fields import parse_change, parse_code
from fgd.control.versions import parse_version
from fgd.errors import (
    AliasExists,
    AliasNotFound,
    BadAdditionalVersion,
    BadAlias,
    BadParameter,
    BadVersion,
    BadWeight,
    NothingChanged,
    RequestError,
    SameVersions,
    TooManyAliases,
    TooManyVersions,
    VersionExists,
    VersionHasAlias,
    VersionInUse,
    VersionNotFound,
)
from fgd.model import Alias, Function
from fgd.urn import FunctionUrn
from tests.control.world import PROJECT, World, inline, new, world

RULE = {"rule_type": "Header", "param": "a", "op": "=", "value": "b"}


def run(state_dir: Path, *steps: Callable[[World], Awaitable[None]]) -> None:
    """Each step in a life of its own."""

    async def main() -> None:
        for step in steps:
            async with world(state_dir) as here:
                await step(here)

    trio.run(main)


def urn(qualifier: str = "latest") -> FunctionUrn:
    return FunctionUrn(PROJECT, "default", "f", qualifier)


async def publish(here: World, name: str = "", **fields: object) -> Function:
    return await here.versions.publish(urn(), parse_version({"version": name, **fields}))


async def change(here: World, **fields: object) -> Function:
    return await here.functions.configure(urn(), lambda old: parse_change(fields, old))


async def two_versions(here: World) -> None:
    await here.functions.create(PROJECT, new("f"))
    await publish(here, "v1", description="first")
    await change(here, memory_size=256)
    await publish(here, "v2")


def alias(name: str, version: str, **fields: object) -> Alias:
    return parse_alias({"version": version, **fields}, name)


def test_a_version_keeps_code_and_configuration_whatever_becomes_of_latest(tmp_path: Path) -> None:
    async def publish_it(here: World) -> None:
        await two_versions(here)
        await here.functions.replace_code(urn(), lambda old: parse_code(inline("x = 2\n"), old))
        await change(here, timeout=30)

    async def look(here: World) -> None:
        latest, v1, v2 = (here.directory.resolve(urn(name)) for name in ("latest", "v1", "v2"))

        assert ["latest", "v2", "v1"] == [one.version for one in here.versions.list(urn())]
        assert ("first", "", "") == (v1.version_description, v2.version_description, latest.version_description)
        assert (128, 256, 256) == (v1.memory_mib, v2.memory_mib, latest.memory_mib)
        assert (3, 30) == (v2.timeout_s, latest.timeout_s)
        assert v1.code_digest == v2.code_digest != latest.code_digest
        assert v1.func_id == v2.func_id == latest.func_id

    run(tmp_path, publish_it, look)


def test_the_code_of_a_version_is_not_swept_and_counts_once(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        function = await here.functions.create(PROJECT, new("f"))
        await publish(here, "v1")
        old_digest = function.code_digest
        latest = await here.functions.replace_code(urn(), lambda old: parse_code(inline("y = 22\n"), old))
        await here.functions.sweep_code()

        assert here.code.folder(old_digest).is_dir()
        usage = here.functions.usage(PROJECT)
        assert function.code_size_bytes + latest.code_size_bytes == usage.code_bytes

    async def without_grace() -> None:
        async with world(tmp_path, grace_s=0.0) as here:
            await main(here)

    trio.run(without_grace)


def test_a_published_version_cannot_be_changed(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        with pytest.raises(BadVersion):
            await here.functions.configure(urn("v1"), lambda old: parse_change({"timeout": 9}, old))
        with pytest.raises(BadVersion):
            await here.functions.replace_code(urn("v1"), lambda old: parse_code(inline("z = 1\n"), old))
        with pytest.raises(BadVersion):
            await here.functions.limit_instances(urn("v1"), 3)

        assert 3 == here.directory.resolve(urn("v1")).timeout_s

    run(tmp_path, main)


def test_generated_names_follow_the_clock_and_never_collide(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await here.functions.create(PROJECT, new("f"))
        names = []
        for memory in (256, 512, 768):
            names.append((await publish(here)).version)
            await change(here, memory_size=memory)

        assert ["v19700101-000001", "v19700101-000002", "v19700101-000003"] == names

    run(tmp_path, main)


def test_publishing_the_same_again_is_refused(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        with pytest.raises(NothingChanged):
            await publish(here, "v3")
        await change(here, memory_size=128)
        await publish(here, "v3")
        with pytest.raises(NothingChanged):
            await publish(here)

    run(tmp_path, main)


def test_names_quota_and_digest_of_a_version(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        with pytest.raises(VersionExists):
            await publish(here, "v1")
        with pytest.raises(BadVersion):
            await here.versions.publish(urn("v1"), parse_version({}))
        await change(here, memory_size=512)
        with pytest.raises(BadParameter, match=r"^digest:"):
            await publish(here, "v3", digest="0" * 32)
        archive = await here.functions.code(here.directory.resolve(urn()))
        await publish(here, "v3", digest=hashlib.md5(archive).hexdigest().upper())
        for number in range(4, 21):
            await change(here, timeout=number)
            await publish(here, f"v{number}")
        await change(here, timeout=99)
        with pytest.raises(TooManyVersions):
            await publish(here, "v21")

    run(tmp_path, main)


@pytest.mark.parametrize("name", ["latest", "-a", "a-", "a b", "x" * 43, 7, "ä", "a\n"])
def test_version_names_that_cannot_be(name: object) -> None:
    with pytest.raises(BadVersion, match=r"^version:"):
        parse_version({"version": name})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, BadVersion),
        ({"version": 1}, BadVersion),
        ({"version": "v1", "additional_version_weights": {"latest": 5}}, BadAdditionalVersion),
        ({"version": "v1", "additional_version_weights": {"v1": 5}}, SameVersions),
        ({"version": "v1", "additional_version_weights": {"v2": 101}}, BadWeight),
        ({"version": "v1", "additional_version_weights": {"v2": -1}}, BadWeight),
        ({"version": "v1", "additional_version_weights": {"v2": 5.0}}, BadWeight),
        ({"version": "v1", "additional_version_weights": {"v2": True}}, BadWeight),
        ({"version": "v1", "additional_version_weights": {"v2": 1, "v3": 2}}, BadAdditionalVersion),
        ({"version": "v1", "additional_version_weights": [1]}, BadAdditionalVersion),
        ({"version": "v1", "additional_version_strategy": {"v2": {"rules": []}}}, BadAdditionalVersion),
        ({"version": "v1", "additional_version_strategy": {"v2": {"rules": [{}]}}}, BadAdditionalVersion),
        (
            {
                "version": "v1",
                "additional_version_weights": {"v2": 1},
                "additional_version_strategy": {"v2": {"rules": [RULE]}},
            },
            BadAdditionalVersion,
        ),
        (
            {
                "version": "v1",
                "additional_version_strategy": {
                    "v2": {
                        "combine_type": "xor",
                        "rules": [{"rule_type": "Header", "param": "a", "op": "=", "value": "b"}],
                    }
                },
            },
            BadAdditionalVersion,
        ),
    ],
)
def test_aliases_that_cannot_be(body: dict[str, object], error: type[RequestError]) -> None:
    with pytest.raises(error) as refused:
        parse_alias(body, "live")

    assert str(refused.value).split(":")[0].split(".")[0] in {
        "version", "additional_version_weights", "additional_version_strategy",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "1a", "a-", "x" * 64, "a.b", None, "!a"])
def test_alias_names_that_cannot_be(name: object) -> None:
    with pytest.raises(BadAlias, match=r"^name:"):
        parse_alias({"version": "v1"}, name)


def test_aliases_survive_a_restart_and_follow_their_versions(tmp_path: Path) -> None:
    async def make(here: World) -> None:
        await two_versions(here)
        await here.aliases.create(urn(), alias("live", "v1", additional_version_weights={"v2": 10}))
        await here.aliases.create(urn(), alias("head", "latest", description="moves"))

    async def look(here: World) -> None:
        split = here.directory.split(urn("!live"))
        assert split is not None and split.additional is not None
        assert ("v1", "v2", 10) == (split.main.version, split.additional.version, split.alias.weight)
        assert ["head", "live"] == [one.name for one in here.aliases.list(urn())]
        changed = await change(here, timeout=20)
        assert changed == here.directory.resolve(urn("!head"))
        await here.aliases.update(urn(), alias("live", "v2"))
        assert "v2" == here.directory.resolve(urn("!live")).version
        assert split is not here.directory.split(urn("!live"))
        await here.aliases.delete(urn(), "head")
        with pytest.raises(AliasNotFound):
            here.directory.resolve(urn("!head"))

    async def again(here: World) -> None:
        [one] = here.aliases.list(urn())
        assert ("live", "v2", "") == (one.name, one.version, one.additional_version)

    run(tmp_path, make, look, again)


def test_an_alias_needs_versions_that_are_there_and_a_main_version_of_its_own(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        await here.aliases.create(urn(), alias("live", "v1"))
        with pytest.raises(AliasExists):
            await here.aliases.create(urn(), alias("live", "v2"))
        with pytest.raises(VersionHasAlias):
            await here.aliases.create(urn(), alias("other", "v1"))
        with pytest.raises(VersionNotFound):
            await here.aliases.create(urn(), alias("other", "v9"))
        with pytest.raises(VersionNotFound):
            await here.aliases.create(urn(), alias("other", "v2", additional_version_weights={"v9": 1}))
        with pytest.raises(AliasNotFound):
            await here.aliases.update(urn(), alias("other", "v2"))
        await here.aliases.update(urn(), alias("live", "v1", description="the same"))

        assert ["live"] == [one.name for one in here.aliases.list(urn())]

    run(tmp_path, main)


def test_ten_aliases_at_most(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await here.functions.create(PROJECT, new("f"))
        for number in range(11):
            await change(here, timeout=3 + number)
            await publish(here, f"v{number}")
        for number in range(10):
            await here.aliases.create(urn(), alias(f"a{number}", f"v{number}"))
        with pytest.raises(TooManyAliases):
            await here.aliases.create(urn(), alias("a10", "v10"))

    run(tmp_path, main)


def test_deleting_a_version_takes_its_aliases_but_not_where_it_is_additional(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        await here.aliases.create(urn(), alias("live", "v1", additional_version_weights={"v2": 10}))
        with pytest.raises(VersionInUse):
            await here.versions.delete(urn("v2"))
        await here.versions.delete(urn("v1"))

        assert [] == here.aliases.list(urn())
        with pytest.raises(VersionNotFound):
            here.directory.resolve(urn("v1"))
        await here.versions.delete(urn("v2"))
        with pytest.raises(BadVersion):
            await here.versions.delete(urn())

    async def again(here: World) -> None:
        assert ["latest"] == [one.version for one in here.versions.list(urn())]
        assert [] == here.aliases.list(urn())

    run(tmp_path, main, again)


def test_an_alias_is_not_a_version_to_delete(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        await here.aliases.create(urn(), alias("live", "v1"))
        with pytest.raises(BadVersion):
            await here.versions.delete(urn("!live"))

        assert "v1" == here.directory.resolve(urn("!live")).version

    run(tmp_path, main)


def test_a_deleted_function_leaves_nothing(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        await here.aliases.create(urn(), alias("live", "v1"))
        await here.functions.delete(urn())

        assert ([], []) == (await here.catalog.functions(), await here.catalog.aliases())
        made = await here.functions.create(PROJECT, new("f"))
        assert [made] == here.versions.list(urn())

    run(tmp_path, main)


def test_disabling_and_enabling_acts_on_all_versions(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        await here.functions.limit_instances(urn(), 7)
        await here.functions.limit_instances(urn(), 0)
        assert all(one.disabled for one in here.versions.list(urn()))
        await here.functions.limit_instances(urn(), 9)
        assert [9, 400, 400] == [one.max_instances for one in here.versions.list(urn())]
        await here.functions.limit_instances(urn(), 8)
        assert [8, 400, 400] == [one.max_instances for one in here.versions.list(urn())]

    run(tmp_path, main)


def test_versions_that_lose_their_last_alias_are_told(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await two_versions(here)
        told: list[list[str]] = []
        here.directory.subscribe_aliases(
            lambda old, new: told.append([one.version for one in left_alone(here.directory, old, new)])
        )
        await here.aliases.create(urn(), alias("live", "v1"))
        await here.aliases.update(urn(), alias("live", "v1", additional_version_weights={"v2": 50}))
        await here.aliases.update(urn(), alias("live", "v2"))
        await here.aliases.delete(urn(), "live")

        assert [[], [], ["v1"], ["v2"]] == told

    run(tmp_path, main)
