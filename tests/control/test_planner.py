"""Reservations and what is kept for them: policies, aliases, restarts. Real stores; the clock is the test's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.control.aliases import parse_alias
from fgd.control.fields import Change
from fgd.control.planner import Planner
from fgd.control.reserved import Reservations
from fgd.control.versions import NewVersion
from fgd.errors import Conflict, TooManyReserved
from fgd.instance.keeper import Use
from fgd.model import Function, Reservation
from fgd.store.history import Minute, RequestHistory
from fgd.store.reservations import ReservationStore
from fgd.urn import FunctionUrn
from tests.control.keeper import NotedKeeper
from tests.control.world import PROJECT, World, new, world

NOON = 1_900_000_800.0 // 60 * 60


class Plan:
    """A planner, and what it works with."""

    def __init__(self, state: World, reservations: Reservations, history: RequestHistory) -> None:
        self.world = state
        self.reservations = reservations
        self.history = history
        self.keeper = NotedKeeper()
        self.now_s = NOON
        self.totals: dict[tuple[str, str], tuple[int, int]] = {}
        self.planner = Planner(
            reservations, state.directory, self.keeper, history,
            lambda: ((key, *value) for key, value in self.totals.items()), lambda: self.now_s,
        )  # fmt: skip

    async def put(self, urn: FunctionUrn, count: int, **fields: Any) -> Reservation:
        return await self.reservations.put(urn, {"count": count, **fields})

    async def minute(self) -> None:
        """A minute in which the uses that are set go on."""
        for _ in range(60):
            self.now_s += 1
            await self.planner.look()

    def kept(self, function: Function) -> int:
        return self.keeper.aimed.get((function.func_id, function.version), (0, False))[0]


@asynccontextmanager
async def plan(folder: Path) -> AsyncIterator[Plan]:
    async with world(folder) as state:
        store = ReservationStore(state.catalog.database)
        reservations = Reservations(
            state.functions, state.directory, store, lambda: NOON, await store.all(), memory_mib=16384, instances=200
        )
        history = await RequestHistory.open(folder)
        try:
            yield Plan(state, reservations, history)
        finally:
            await history.aclose()


async def _publish(p: Plan, function: Function, name: str) -> None:
    await p.world.functions.configure(_urn(function), lambda old: Change({"description": name}))
    await p.world.versions.publish(_urn(function), NewVersion(name, "", ""))


async def _function(p: Plan, name: str = "f", **fields: Any) -> Function:
    return await p.world.functions.create(PROJECT, new(name, memory_size=128, **fields))


def _urn(function: Function, qualifier: str = "latest") -> FunctionUrn:
    return FunctionUrn(PROJECT, "default", function.name, qualifier)


def test_fixed_number_is_kept_and_survives_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            await p.put(_urn(function), 3, idle_mode=True)
            assert {(function.func_id, "latest"): (3, True)} == p.keeper.aimed
        async with plan(tmp_path) as p, trio.open_nursery() as nursery:
            await nursery.start(p.planner.run)
            assert {(function.func_id, "latest"): (3, True)} == p.keeper.aimed
            assert [("latest", 3)] == p.keeper.waited, "the daemon is ready when they are"
            await p.put(_urn(function), 0)
            assert {} == p.keeper.aimed
            nursery.cancel_scope.cancel()
        async with plan(tmp_path) as p:
            assert [] == list(p.reservations)

    trio.run(body)


def test_deleted_functions_versions_and_aliases_take_their_reservations_along(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            for name in ("v1", "v2"):
                await _publish(p, function, name)
                await p.world.aliases.create(_urn(function), parse_alias({"version": name}, f"to-{name}"))
            for qualifier in ("latest", "v1", "!to-v2"):
                await p.put(_urn(function, qualifier), 1)
            assert 3 == len(p.keeper.aimed)
            await p.world.aliases.delete(_urn(function), "to-v2")
            assert {"latest", "v1"} == {version for _, version in p.keeper.aimed}
            await p.world.versions.delete(_urn(function, "v1"))
            assert ["latest"] == [one.qualifier for one in p.reservations]
            await p.world.functions.delete(_urn(function))
            assert [] == list(p.reservations)
        async with plan(tmp_path) as p:
            assert [] == list(p.reservations)

    trio.run(body)


def test_alias_moves_when_the_instances_of_its_new_version_are_ready(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            for name in ("v1", "v2"):
                await _publish(p, function, name)
            old = await p.world.aliases.create(_urn(function), parse_alias({"version": "v1"}, "live"))
            await p.put(_urn(function, "!live"), 2)
            later = parse_alias({"version": "v2"}, "live")
            async with p.planner.moving(old, later):
                assert [("v2", 2)] == p.keeper.waited
                await p.planner.look()
                assert {"v1", "v2"} == {version for _, version in p.keeper.aimed}, "both, until it has moved"
                await p.world.aliases.update(_urn(function), later)
            assert {"v2"} == {version for _, version in p.keeper.aimed}

            async with p.planner.moving(later, later):
                pass
            assert 1 == len(p.keeper.waited)

    trio.run(body)


def test_version_and_its_alias_never_both_have_reservations(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            await p.world.versions.publish(_urn(function), NewVersion("v1", "", ""))
            alias = await p.world.aliases.create(_urn(function), parse_alias({"version": "v1"}, "live"))
            await p.put(_urn(function, "v1"), 1)
            with pytest.raises(Conflict, match=r"^function_urn: version v1 has"):
                await p.put(_urn(function, "!live"), 1)
            await p.put(_urn(function, "v1"), 0)
            await p.put(_urn(function, "!live"), 1)
            with pytest.raises(Conflict, match=r"^function_urn: the alias live"):
                await p.put(_urn(function, "v1"), 1)
            await p.put(_urn(function), 1)
            with pytest.raises(Conflict, match=r"^version: latest has"):
                async with p.planner.moving(alias, parse_alias({"version": "latest"}, "live")):
                    pass
            assert 2 == len(list(p.reservations))

    trio.run(body)


def test_nine_tenths_of_the_node_can_be_reserved(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            one, two = await _function(p, "one"), await _function(p, "two")
            await p.put(_urn(one), 100)
            with pytest.raises(TooManyReserved, match=r"^count: .*14745 MB"):
                await p.put(_urn(two), 16)
            with pytest.raises(TooManyReserved, match=r"^tactics_config: "):
                await p.put(
                    _urn(two), 1,
                    tactics_config={"cron_configs": [{"name": "a", "cron": "0 0 8 * * *", "count": 16}]},
                )  # fmt: skip
            await p.put(_urn(two), 15)
            await p.put(_urn(one), 90)
            assert 90 == p.kept(one)
            # A function that grows afterwards cannot take more of the node than that.
            grow = Change({"memory_mib": 1024})
            grown = await p.world.functions.configure(_urn(two), lambda old: grow)
            assert 3 == p.kept(grown)

    trio.run(body)


def test_load_of_one_does_not_take_the_place_of_what_is_promised_to_another(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            busy, fixed = await _function(p, "busy"), await _function(p, "fixed")
            metric = {"name": "m", "type": "Concurrency", "threshold": 1, "min": 1}
            await p.put(_urn(busy), 1, tactics_config={"metric_configs": [metric]})
            await p.put(_urn(fixed), 10)
            p.keeper.uses[busy.func_id, "latest"] = Use(calls=50, busy=50, instances=50, reserved=1)
            await p.minute()

            assert (105, 10) == (p.kept(busy), p.kept(fixed)), "115 of 128 MB are nine tenths of the node"

    trio.run(body)


def test_metric_policy_follows_the_use_every_minute_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            key = (function.func_id, "latest")
            metric = {"name": "m", "type": "Concurrency", "threshold": 50, "min": 2}
            await p.put(_urn(function), 1, tactics_config={"metric_configs": [metric]})
            assert 2 == p.kept(function)
            p.keeper.uses[key] = Use(calls=8, busy=8, instances=8, reserved=2)
            p.totals[key] = 480, 480_000_000
            await p.minute()
            assert 16 == p.kept(function)
            p.keeper.uses[key] = Use(calls=0, busy=0, instances=16, reserved=16)
            await p.minute()
            assert 15 == p.kept(function)
            assert [(480, 8.0, 8, 2)] == [
                (one.requests, one.load, one.instances, one.reserved)
                for one in (await p.history.minutes(function.func_id))[:1]
            ]
            now_s = p.now_s
        async with plan(tmp_path) as p, trio.open_nursery() as nursery:
            p.now_s = now_s
            p.planner = Planner(p.reservations, p.world.directory, p.keeper, p.history, lambda: (), lambda: p.now_s)
            await nursery.start(p.planner.run)
            assert 16 == p.kept(function)
            nursery.cancel_scope.cancel()

    trio.run(body)


def test_schedule_and_metric_policies_together_keep_the_larger_number(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            metric = {"name": "m", "type": "Concurrency", "threshold": 50, "min": 1}
            every_minute = {"name": "s", "cron": "0 * * * * *", "count": 5}
            tactics = {"metric_configs": [metric], "cron_configs": [every_minute]}
            await p.put(_urn(function), 1, tactics_config=tactics)
            assert 5 == p.kept(function), "a moment of the schedule is now"
            p.keeper.uses[function.func_id, "latest"] = Use(calls=4, busy=4, instances=5, reserved=5)
            await p.minute()
            assert 8 == p.kept(function)
            p.keeper.uses.clear()
            for _ in range(20):
                await p.minute()
            assert 5 == p.kept(function)
            # The same policy set again stays in force although its next moment is still to come.
            p.now_s += 30
            await p.put(_urn(function), 2, tactics_config=tactics | {"metric_configs": []})
            await p.planner.look()
            assert 5 == p.kept(function)

    trio.run(body)


def test_recommendation_learns_from_the_history_and_from_what_happens(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            minute = int(NOON // 60)
            await p.history.add(
                [Minute(function.func_id, "latest", minute - 1440 + at, 600, 10.0, 9, 0) for at in range(-5, 30)]
                + [Minute(function.func_id, "v1", minute - 1440 + at, 600, 90.0, 9, 0) for at in range(-5, 30)]
            )
            await p.put(_urn(function), 0, tactics_config={"recommend_config": {"level": "high_performance"}})
            assert 0 == p.kept(function)
            await p.minute()
            assert 20 < p.kept(function) < 40, "yesterday's peak, and that of this version alone"
            p.totals[function.func_id, "latest"] = 6000, 6000_000_000
            await p.minute()
            assert 100 < p.kept(function) < 150, "today's load"
            minutes, requests, levels = await p.planner.outlook(function, None)
            assert (1440, 28 * 600 + 6000) == (minutes, requests)
            assert levels["high_performance"].instance_hours > levels["low_cost"].instance_hours

    trio.run(body)


def test_load_of_long_calls_is_what_was_seen(tmp_path: Path) -> None:
    async def body() -> None:
        async with plan(tmp_path) as p:
            function = await _function(p)
            key = (function.func_id, "latest")
            p.keeper.uses[key] = Use(calls=3, busy=3, instances=3, reserved=0)
            p.totals[key] = 1, 600_000_000
            await p.minute()
            p.totals[key] = 2, 1200_000_000
            await p.minute()

            assert [3.0, 3.0] == [one.load for one in await p.history.minutes(function.func_id)]

    trio.run(body)
