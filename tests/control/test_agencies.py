"""Agencies without HTTP: what survives a restart, when credentials are renewed, and who comes first."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from fgd.auth.keyring import Keyring
from fgd.call import PLAIN, CallOptions
from fgd.control.agencies import Agencies
from fgd.control.fields import NewFunction, parse_new
from fgd.control.handout import Handout
from fgd.errors import AgencyInUse, AgencyMissing, StorageFull, Unauthorized
from fgd.model import Agency, Function, Principal
from fgd.store.agencies import AgencyStore
from fgd.store.api import AgencyKey
from fgd.store.catalog import MIGRATIONS, SqliteCatalog
from fgd.store.sqlite import Database
from tests.control.world import INSTALLED, PROJECT, World, new_body, world

HOUR_S = 3600.0
READ = {"policies": ["FunctionGraph ReadOnlyAccess"]}


class Watch:
    """A clock that a test sets."""

    now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


class FullStore(AgencyStore):
    """The real store on a disk that may be full."""

    full = False

    async def add_keys(self, keys: list[AgencyKey], now_s: float) -> None:
        if self.full:
            raise StorageFull("no room")
        await super().add_keys(keys, now_s)


@dataclass(frozen=True, slots=True)
class Office:
    """The parts of one daemon's life that are about agencies."""

    world: World
    keyring: Keyring
    store: FullStore
    handout: Handout
    agencies: Agencies

    def token(self, name: str) -> str:
        """What a function with that agency would be handed now; "" for nothing."""
        return self.handout.credentials(holder(name)).get("auth_token", "")

    def owner(self, token: str) -> Principal:
        return self.keyring.by_token(token.encode())


def holder(agency: str) -> Function:
    return Function(
        func_id="f", project_id=PROJECT, package="default", name="f", runtime="Python3.12", handler="index.handler",
        timeout_s=3, memory_mib=128, code_type="inline", code_digest="ab", code_size_bytes=5, created_s=1.0,
        last_modified_s=1.0, xrole=agency,
    )  # fmt: skip


@asynccontextmanager
async def office(state_dir: Path, watch: Watch, ttl_s: float = 24 * HOUR_S) -> AsyncIterator[Office]:
    """Opens a state directory; opening it again is a restart."""
    async with world(state_dir) as one:
        keyring = Keyring(watch)
        store = FullStore(one.catalog)
        handout = Handout(store, keyring, watch, ttl_s)
        settled = one.functions.settled
        agencies = Agencies(one.roster, store, keyring, handout, one.directory, settled, watch)
        await agencies.open()
        yield Office(one, keyring, store, handout, agencies)


def test_agencies_and_what_they_handed_out_survive_a_restart(tmp_path: Path) -> None:
    watch = Watch()

    async def main() -> None:
        async with office(tmp_path, watch) as first:
            made = await first.agencies.create(PROJECT, {"name": "a", "description": "d", **READ})
            before = first.token("a")
        watch.now_s += HOUR_S
        async with office(tmp_path, watch) as second:
            assert made.agency == second.agencies.show(PROJECT, "a").agency
            assert second.token("a") not in ("", before), "tokens are stored as digests, so there is a new one"
            assert {"agency a"} == {second.owner(token).name for token in (before, second.token("a"))}
            watch.now_s += 23 * HOUR_S + 1
            with pytest.raises(Unauthorized):
                second.owner(before)
            second.owner(second.token("a"))

    trio.run(main)


def test_credentials_are_renewed_after_half_of_their_time(tmp_path: Path) -> None:
    watch = Watch()

    async def main() -> None:
        async with office(tmp_path, watch) as one:
            await one.agencies.create(PROJECT, {"name": "a", **READ})
            first = one.token("a")
            extras = one.handout.extras(holder("a"), PLAIN, False)
            watch.now_s += 12 * HOUR_S - 1
            await one.handout.renew()
            assert first == one.token("a")
            assert extras is one.handout.extras(holder("a"), PLAIN, False), "made once"
            watch.now_s += 1
            await one.handout.renew()
            assert first != one.token("a")
            assert extras != one.handout.extras(holder("a"), PLAIN, False)
            watch.now_s += 12 * HOUR_S - 1
            assert one.owner(first) == one.owner(one.token("a"))
            watch.now_s += 1
            with pytest.raises(Unauthorized, match="expired"):
                one.owner(first)
            await one.handout.renew()
            assert 2 == len(await one.store.keys(0.0)), "the expired one is gone from the disk"

    trio.run(main)


def test_a_task_renews_them(tmp_path: Path) -> None:
    watch = Watch()

    async def main() -> None:
        async with office(tmp_path, watch, ttl_s=0.2) as one, trio.open_nursery() as nursery:
            await one.agencies.create(PROJECT, {"name": "a"})
            first = one.token("a")
            nursery.start_soon(one.handout.run)
            watch.now_s += 0.15
            with trio.fail_after(5):
                while one.token("a") == first:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_on_a_full_disk_the_old_credentials_go_on(tmp_path: Path) -> None:
    watch = Watch()

    async def main() -> None:
        async with office(tmp_path, watch) as one:
            await one.agencies.create(PROJECT, {"name": "a"})
            first = one.token("a")
            watch.now_s += 13 * HOUR_S
            one.store.full = True
            await one.handout.renew()
            assert first == one.token("a")
            one.store.full = False
            await one.handout.renew()
            assert first != one.token("a")

    trio.run(main)


def test_extras_carry_credentials_alias_and_kind(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            await one.agencies.create(PROJECT, {"name": "a"})
            with_agency = [
                one.handout.extras(holder("a"), options, async_)
                for options in (PLAIN, CallOptions(alias="live"))
                for async_ in (False, True)
            ]
            assert 4 == len(set(with_agency))
            assert all(one.token("a").encode() in extras for extras in with_agency)
            assert b'"alias":"live","invoke_type":"async"' in with_agency[3]
            assert b"" == one.handout.extras(holder(""), PLAIN, False)
            assert b'{"invoke_type":"async"}' == one.handout.extras(holder(""), PLAIN, True)

    trio.run(main)


def test_an_agency_of_a_project_is_nothing_to_another(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            await one.agencies.create("q" * 32, {"name": "a", **READ})
            with pytest.raises(AgencyMissing, match="xrole: the project has no agency 'a'"):
                await one.world.functions.create(PROJECT, new_with("a", one))
            assert {} == one.handout.credentials(holder("a"))

    trio.run(main)


def new_with(agency: str, one: Office) -> NewFunction:
    return parse_new(new_body("f", xrole=agency), INSTALLED, one.world.functions.facets, PROJECT)


def test_a_function_that_is_being_created_keeps_its_agency_from_being_deleted(tmp_path: Path) -> None:
    """The check of the function is over, its row is not there yet."""

    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            await one.agencies.create(PROJECT, {"name": "a"})
            real, reached, gate = one.world.catalog.put_functions, trio.Event(), trio.Event()

            async def slow(functions: Sequence[Function]) -> None:
                reached.set()
                await gate.wait()
                await real(functions)

            one.world.catalog.put_functions = slow  # type: ignore[method-assign]  # a slow disk
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.world.functions.create, PROJECT, new_with("a", one))
                await reached.wait()
                nursery.start_soon(_opened_later, gate)
                with pytest.raises(AgencyInUse, match="in use by default:f"):
                    await one.agencies.delete(PROJECT, "a")
            assert one.token("a")
            assert "a" == one.world.directory.list(PROJECT)[0].xrole

    trio.run(main)


async def _opened_later(gate: trio.Event) -> None:
    await trio.sleep(0.05)
    gate.set()


def test_while_an_agency_is_being_deleted_nobody_is_given_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            await one.agencies.create(PROJECT, {"name": "a"})
            token = one.token("a")
            real, reached, gate = one.store.delete, trio.Event(), trio.Event()

            async def slow(agency: Agency) -> None:
                reached.set()
                await gate.wait()
                await real(agency)

            one.store.delete = slow  # type: ignore[method-assign]  # a slow disk
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.agencies.delete, PROJECT, "a")
                await reached.wait()
                with pytest.raises(AgencyMissing):
                    await one.world.functions.create(PROJECT, new_with("a", one))
                gate.set()
            assert "" == one.token("a")
            with pytest.raises(Unauthorized):
                one.owner(token)

    trio.run(main)


def test_an_agency_whose_deletion_fails_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            await one.agencies.create(PROJECT, {"name": "a"})

            async def full(agency: Agency) -> None:
                raise StorageFull("no room")

            one.store.delete = full  # type: ignore[method-assign]  # a full disk
            with pytest.raises(StorageFull):
                await one.agencies.delete(PROJECT, "a")
            one.owner(one.token("a"))
            await one.world.functions.create(PROJECT, new_with("a", one))

    trio.run(main)


def test_policies_that_this_version_does_not_know_allow_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with office(tmp_path, Watch()) as one:
            stored = Agency(project_id=PROJECT, name="a", policies=("FunctionGraph User", "From The Future"))
            await one.store.put(stored)
        async with office(tmp_path, Watch()) as again:
            rights = again.owner(again.token("a")).rights
            resource = ("functiongraph", "local", PROJECT, "function", "default/f")
            assert rights is not None
            assert rights.says("functiongraph:function:list", resource) is None  # type: ignore[arg-type]  # a plain tuple

    trio.run(main)


def test_agencies_that_functions_named_before_there_were_any_allow_nothing(tmp_path: Path) -> None:
    old = (
        '{"func_id":"f1","project_id":"p1","package":"default","name":"f","runtime":"Python3.12","handler":"i.h",'
        '"timeout_s":3,"memory_mib":128,"code_type":"inline","code_digest":"ab","code_size_bytes":5,"created_s":1.0,'
        '"last_modified_s":1.0,"echo":{"xrole":"worker","app_xrole":"runner","extend_config":"x"}}'
    )

    def insert(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO function VALUES ('f1','latest','p1','default','f',?)", (old,))

    async def main() -> None:
        database = await Database.open(tmp_path / "catalog.db", MIGRATIONS[:1])
        await database.run(insert)
        await database.aclose()
        (tmp_path / "key").touch(0o600)
        (tmp_path / "key").write_bytes(b"k" * 32)

        catalog = await SqliteCatalog.open(tmp_path)
        function = (await catalog.functions())[0]
        agencies = await AgencyStore(catalog).agencies()
        await catalog.aclose()

        assert ("worker", "runner", {"extend_config": "x"}) == (function.xrole, function.app_xrole, function.echo)
        assert [("p1", "runner", ()), ("p1", "worker", ())] == [(a.project_id, a.name, a.policies) for a in agencies]

    trio.run(main)
