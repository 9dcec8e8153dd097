"""Functions survive restarts whole, change one at a time, and are never half applied."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from fgd.config import Config
from fgd.control.environment import instance_environment
from fgd.control.fields import Change, parse_change, parse_code
from fgd.errors import BadCode, FunctionExists, FunctionNotFound, StorageFull, TooManyFunctions, TooMuchCode
from fgd.model import Function
from fgd.urn import FunctionUrn
from tests.control.world import PROJECT, World, inline, new, world


def urn(name: str) -> FunctionUrn:
    return FunctionUrn(PROJECT, "default", name)


def in_world(state_dir: Path, main: Callable[[World], Awaitable[None]], config: Config | None = None) -> None:
    async def run() -> None:
        async with world(state_dir, config) as here:
            await main(here)

    trio.run(run)


def test_a_function_is_the_same_after_a_restart(tmp_path: Path) -> None:
    seen: list[Function] = []

    async def first(here: World) -> None:
        made = new("kept", encrypted_user_data='{"k":"secret"}', xrole="agency", description="d")
        seen.append(await here.functions.create(PROJECT, made))

    async def second(here: World) -> None:
        function = here.functions.resolve(urn("kept"))
        assert seen == [function]
        assert {"k": "secret"} == here.functions.user_data(function)
        assert b"PK" == (await here.functions.code(function))[:2]

    in_world(tmp_path, first)
    in_world(tmp_path, second)


def test_the_secret_is_nowhere_on_disk(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await here.functions.create(PROJECT, new("quiet", encrypted_user_data='{"k":"sesame-77"}'))

    in_world(tmp_path, main)

    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"sesame-77" in path.read_bytes()]


def test_of_many_creations_of_one_name_one_wins(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        outcomes: list[object] = []

        async def create(number: int) -> None:
            try:
                outcomes.append(await here.functions.create(PROJECT, new("raced", description=str(number))))
            except FunctionExists as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(create, number)
        winners = [one for one in outcomes if isinstance(one, Function)]
        assert (8, 1) == (len(outcomes), len(winners))
        assert winners[0] == here.functions.resolve(urn("raced"))

    in_world(tmp_path, main)


def test_concurrent_edits_are_applied_one_after_the_other(tmp_path: Path) -> None:
    """Each edit counts the one before it, so none is lost."""

    async def main(here: World) -> None:
        await here.functions.create(PROJECT, new("edited", description="0"))

        def count(old: Function) -> Change:
            return parse_change({"description": str(int(old.description) + 1)}, old)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(here.functions.configure, urn("edited"), count)
        function = here.functions.resolve(urn("edited"))
        assert "20" == function.description
        assert [function] == await here.catalog.functions()

    in_world(tmp_path, main)


def test_an_edit_of_code_and_one_of_settings_both_stay(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        made = await here.functions.create(PROJECT, new("both"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.functions.replace_code, urn("both"), lambda old: parse_code(inline("y = 2\n"), old))
            nursery.start_soon(here.functions.configure, urn("both"), lambda old: parse_change({"timeout": 77}, old))
        function = here.functions.resolve(urn("both"))
        assert 77 == function.timeout_s
        assert made.code_digest != function.code_digest

    in_world(tmp_path, main)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(here: World) -> None:
        made = await here.functions.create(PROJECT, new("small"))
        generation = here.directory.generation

        async def full(function: Function) -> None:
            raise StorageFull("catalog.db: the disk is full")

        monkeypatch.setattr(here.catalog, "put_functions", full)
        with pytest.raises(StorageFull):
            await here.functions.create(PROJECT, new("other"))
        with pytest.raises(StorageFull):
            await here.functions.limit_instances(urn("small"), 0)
        assert (generation, [made]) == (here.directory.generation, here.directory.list(PROJECT))
        assert [made] == await here.catalog.functions()

    in_world(tmp_path, main)


def test_a_broken_archive_changes_nothing(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        made = await here.functions.create(PROJECT, new("firm"))
        body = {"code_type": "zip", "func_code": {"file": "UEsDBGp1bms="}}
        with pytest.raises(BadCode, match="func_code"):
            await here.functions.replace_code(urn("firm"), lambda old: parse_code(body, old))
        assert made == here.functions.resolve(urn("firm"))

    in_world(tmp_path, main)


def test_a_client_that_goes_away_splits_nothing(tmp_path: Path) -> None:
    """Wherever the cancellation hits, disk and memory say the same."""

    async def main(here: World) -> None:
        for step in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(here.functions.create, PROJECT, new(f"left-{step}"))
                    for _ in range(step):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            stored = sorted(function.name for function in await here.catalog.functions())
            assert stored == [function.name for function in sorted(here.directory, key=lambda one: one.name)]

    in_world(tmp_path, main)


def test_quotas_hold_when_many_come_at_once(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        refused: list[Exception] = []

        async def create(number: int) -> None:
            try:
                await here.functions.create(PROJECT, new(f"many-{number}"))
            except TooManyFunctions as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(create, number)
        assert (5, 4) == (here.functions.usage(PROJECT).functions, len(refused))
        await here.functions.create("another-project", new("free"))

    in_world(tmp_path, main, Config(functions_max=5))


def test_code_over_the_quota_is_refused_and_the_old_stays(tmp_path: Path) -> None:
    import random

    noise = "#" + random.Random(1).randbytes(5000).hex()[:10000]

    async def main(here: World) -> None:
        for number in range(103):
            await here.functions.create(PROJECT, new(f"big-{number}", **inline(noise)))
        await here.functions.create(PROJECT, new("last"))
        with pytest.raises(TooMuchCode):
            await here.functions.create(PROJECT, new("over", **inline(noise)))
        with pytest.raises(TooMuchCode):
            await here.functions.replace_code(urn("last"), lambda old: parse_code(inline(noise), old))
        await here.functions.replace_code(urn("big-0"), lambda old: parse_code(inline("x = 3\n"), old))

    in_world(tmp_path, main, Config(code_quota_mib=1))


def test_deleting_takes_the_asynchronous_settings_along(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        function = await here.functions.create(PROJECT, new("gone"))
        await here.configs.put(function, {"max_retries": 3}, here.targets)
        await here.functions.delete(urn("gone"))
        assert 1 == here.configs.get(function.func_id, "latest").max_retries
        assert ({}, []) == (await here.catalog.async_configs(), await here.catalog.functions())
        with pytest.raises(FunctionNotFound):
            await here.functions.delete(urn("gone"))

    in_world(tmp_path, main)


def test_sweeping_keeps_what_is_used(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, grace_s=0.0) as here:
            kept = await here.functions.create(PROJECT, new("kept"))
            old = await here.functions.create(PROJECT, new("moved", **inline("a = 1\n")))
            await here.functions.replace_code(urn("moved"), lambda f: parse_code(inline("a = 2\n"), f))
            assert 0 == await here.functions.sweep_code({old.code_digest})
            assert 1 == await here.functions.sweep_code()
            assert await here.functions.code(kept)

    trio.run(run)


def test_listeners_see_before_and_after(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        seen: list[tuple[int | None, int | None]] = []
        here.directory.subscribe(
            lambda old, new: seen.append((old.revision if old else None, new.revision if new else None))
        )
        await here.functions.create(PROJECT, new("watched"))
        await here.functions.configure(urn("watched"), lambda old: parse_change({"timeout": 9}, old))
        await here.functions.delete(urn("watched"))
        assert [(None, 1), (1, 2), (2, None)] == seen

    in_world(tmp_path, main)


def test_the_revision_grows_only_with_what_instances_see(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await here.functions.create(PROJECT, new("steady", encrypted_user_data='{"k":"v"}'))
        steps: list[tuple[dict[str, object], int]] = [
            ({"description": "other"}, 1),
            ({"encrypted_user_data": '{"k":"v"}'}, 1),
            ({"encrypted_user_data": '{"k":"w"}'}, 2),
            ({"strategy_config": {"concurrency": 5}}, 2),
            ({"strategy_config": {"concurrent_num": 5}}, 3),
            ({"user_data": '{"a":"b"}'}, 4),
        ]
        for body, revision in steps:
            function = await here.functions.configure(urn("steady"), partial(parse_change, body))
            assert revision == function.revision, body
        assert 4 == (await here.functions.mark(urn("steady"), "collected", True)).revision

    in_world(tmp_path, main)


def test_the_environment_of_an_instance(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        made = new(
            "env", user_data='{"colour":"blue"}', encrypted_user_data='{"key":"ü"}', memory_size=256, timeout=9,
            initializer_handler="index.init", initializer_timeout=4,
        )  # fmt: skip
        function = await here.functions.create(PROJECT, made)
        found = instance_environment(function, here.functions.user_data(function))
        assert {"colour": "blue", "key": "ü"} == json.loads(found["RUNTIME_USERDATA"])
        assert ("blue", "ü", "400", "256", "9", "4") == tuple(
            found[name]
            for name in (
                "colour",
                "key",
                "RUNTIME_CPU",
                "RUNTIME_MEMORY",
                "RUNTIME_TIMEOUT",
                "RUNTIME_INITIALIZER_TIMEOUT",
            )
        )
        assert all(isinstance(text, str) for text in found.values())

    in_world(tmp_path, main)
