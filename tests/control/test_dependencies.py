"""Dependencies survive restarts, are never half stored or half deleted, and what functions use stays."""

import base64
import io
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from fgd.config import Config
from fgd.control.clash import Tree, find_clash
from fgd.control.dependencies import dependency_use
from fgd.control.dependency_fields import FILES_MAX, NewDependency
from fgd.control.fields import parse_change, parse_new
from fgd.control.public import refresh_public
from fgd.errors import (
    BadDependency,
    DependencyClash,
    DependencyInUse,
    DependencyNotFound,
    DependencyUnreadable,
    Forbidden,
    StorageFull,
    TooManyDependencies,
    TooMuchCode,
)
from fgd.model import Dependency, Function
from fgd.store.names import PackageNames
from fgd.urn import FunctionUrn
from tests.control.world import INSTALLED, PROJECT, World, new_body, world
from tests.store.zips import file, link, make_zip, zip_of


def in_world(state_dir: Path, main: Callable[[World], Awaitable[None]], config: Config | None = None) -> None:
    async def run() -> None:
        async with world(state_dir, config, grace_s=0) as here:
            await main(here)

    trio.run(run)


def library(name: str, archive: bytes | None = None) -> NewDependency:
    return NewDependency(name, "Python3.12", "", archive or make_zip({f"{name}.py": f"name = {name!r}\n"}))


async def function(here: World, name: str, *dependencies: Dependency) -> Function:
    body = new_body(name, depend_version_list=[one.id for one in dependencies])
    return await here.functions.create(PROJECT, parse_new(body, INSTALLED, here.functions.facets, PROJECT))


def urn(name: str) -> FunctionUrn:
    return FunctionUrn(PROJECT, "default", name)


def test_dependencies_and_their_users_are_the_same_after_a_restart(tmp_path: Path) -> None:
    seen: list[object] = []

    async def first(here: World) -> None:
        made = await here.dependencies.add(PROJECT, library("kept"))
        seen.extend([made, await function(here, "user", made)])

    async def second(here: World) -> None:
        made = here.dependencies.newest(PROJECT)[0]
        user = here.functions.resolve(urn("user"))
        assert seen == [made, user]
        assert (user.code_digest, made.digest) == user.packages
        with pytest.raises(DependencyInUse):
            await here.dependencies.delete(PROJECT, made.dep_id, "1")

    in_world(tmp_path, first)
    in_world(tmp_path, second)


def test_concurrent_uploads_of_one_name_get_numbers_of_their_own(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        async def add(number: int) -> None:
            await here.dependencies.add(PROJECT, library("raced", make_zip({f"{number}.py": ""})))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(add, number)
        (newest,) = here.dependencies.newest(PROJECT)
        versions = here.dependencies.versions(PROJECT, newest.dep_id)
        assert [5, 4, 3, 2, 1] == [one.version for one in versions]

    in_world(tmp_path, main)


def test_the_sweep_keeps_what_dependencies_name_and_removes_what_nothing_does(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        free = await here.dependencies.add(PROJECT, library("free"))
        used = await here.dependencies.add(PROJECT, library("used"))
        await function(here, "user", used)
        assert 0 == await here.functions.sweep_code()
        await here.dependencies.delete(PROJECT, free.dep_id)
        running = await here.functions.sweep_code({free.digest})
        gone = await here.functions.sweep_code()
        assert (0, 1) == (running, gone)
        left = {path.name for path in (tmp_path / "packages").iterdir()}
        assert not {name for name in left if name.startswith(free.digest)}
        assert f"{used.digest}.names" in left

    in_world(tmp_path, main)


def test_a_function_that_is_being_made_keeps_its_dependency_from_being_deleted(tmp_path: Path) -> None:
    """The race: checked, not yet stored, deleted meanwhile."""

    async def main(here: World) -> None:
        made = await here.dependencies.add(PROJECT, library("held"))
        user = Function(
            func_id="f", project_id=PROJECT, package="default", name="half", runtime="Python3.12",
            handler="index.handler", timeout_s=3, memory_mib=128, code_type="zip",
            code_digest=(await here.code.add_zip(make_zip({"index.py": ""}))).digest, code_size_bytes=1,
            created_s=0, last_modified_s=0, dependencies=(dependency_use(made),),
        )  # fmt: skip
        async with here.dependencies.settled(user, None):
            with pytest.raises(DependencyInUse, match="being changed"):
                await here.dependencies.delete(PROJECT, made.dep_id)
        await here.dependencies.delete(PROJECT, made.dep_id)
        with pytest.raises(DependencyNotFound):
            async with here.dependencies.settled(user, None):
                pass

    in_world(tmp_path, main)


def test_deletions_and_uses_at_the_same_time_never_leave_a_use_of_nothing(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        for number in range(6):
            made = await here.dependencies.add(PROJECT, library(f"lib{number}"))
            results: list[str] = []

            async def use(number: int = number, made: Dependency = made, results: list[str] = results) -> None:
                try:
                    await function(here, f"user{number}", made)
                    results.append("used")
                except DependencyNotFound:
                    results.append("not there")

            async def delete(made: Dependency = made, results: list[str] = results) -> None:
                try:
                    await here.dependencies.delete(PROJECT, made.dep_id)
                    results.append("deleted")
                except DependencyInUse:
                    results.append("in use")

            async with trio.open_nursery() as nursery:
                for task in (use, delete) if number % 2 else (delete, use):
                    nursery.start_soon(task)
            assert sorted(results) in (["in use", "used"], ["deleted", "not there"])

    in_world(tmp_path, main)


def test_a_full_disk_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(here: World) -> None:
        async def full(*_: object, **__: object) -> None:
            raise StorageFull("catalog.db: the disk is full")

        monkeypatch.setattr("fgd.store.dependencies.DependencyStore.change", full)
        with pytest.raises(StorageFull):
            await here.dependencies.add(PROJECT, library("lost"))
        assert [] == here.dependencies.newest(PROJECT)

    in_world(tmp_path, main)


def test_quotas_of_the_project_count_versions_and_bytes(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        await here.dependencies.add(PROJECT, library("one"))
        with pytest.raises(TooManyDependencies):
            await here.dependencies.add(PROJECT, library("two"))

    async def bytes_(here: World) -> None:
        noise = zip_of(file("noise.bin", bytes(600_000)))
        first = await here.dependencies.add("q" * 32, library("first", noise))
        assert first.size_bytes > 600_000
        with pytest.raises(TooMuchCode):
            await here.dependencies.add("q" * 32, library("second", noise))
        with pytest.raises(TooMuchCode):
            body = new_body("too-much", code_type="zip", func_code={"file": base64.b64encode(noise).decode()})
            await here.functions.create("q" * 32, parse_new(body, INSTALLED, here.functions.facets, "q" * 32))

    in_world(tmp_path, main, Config(dependencies_max=1))
    in_world(tmp_path, bytes_, Config(code_quota_mib=1))


def test_code_and_dependencies_together_may_not_unpack_to_more_than_code_alone(tmp_path: Path) -> None:
    async def main(here: World) -> None:
        made = [
            await here.dependencies.add(PROJECT, library(name, zip_of(file(f"{name}.bin", bytes(700_000)))))
            for name in ("big", "huge")
        ]
        await function(here, "fits", made[0])
        with pytest.raises(DependencyClash, match="more than 1 MiB together"):
            await function(here, "too-large", *made)

    in_world(tmp_path, main, Config(unpacked_max_mib=1))


def test_a_package_may_have_30000_files_and_a_folder_for_them(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(FILES_MAX):
            archive.writestr(zipfile.ZipInfo(f"pkg/{number}"), b"")

    async def main(here: World) -> None:
        made = await here.dependencies.add(PROJECT, library("many", target.getvalue()))
        assert 1 == made.version

    in_world(tmp_path, main)
    assert 30_000 == FILES_MAX


def test_a_package_with_one_file_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgd.control.dependency_packages.FILES_MAX", 3)

    async def main(here: World) -> None:
        await here.dependencies.add(PROJECT, library("most", make_zip({"d/a": "", "d/b": "", "d/c": ""})))
        with pytest.raises(BadDependency, match="4 files; 3 is the limit"):
            await here.dependencies.add(PROJECT, library("more", make_zip({"d/a": "", "b": "", "c": "", "e": ""})))

    in_world(tmp_path, main)


def test_a_package_that_is_missing_from_the_state_directory_is_named(tmp_path: Path) -> None:
    made: list[Dependency] = []

    async def first(here: World) -> None:
        made.append(await here.dependencies.add(PROJECT, library("lost")))

    async def second(here: World) -> None:
        with pytest.raises(DependencyUnreadable, match="'lost' version 1"):
            await function(here, "user", made[0])

    in_world(tmp_path, first)
    (tmp_path / "code" / made[0].digest).rename(tmp_path / "away")
    in_world(tmp_path, second)


def test_names_are_read_from_the_list_once_it_is_made(tmp_path: Path) -> None:
    archive = zip_of(file("a/b/one.py"), file("odd\u2028name.py"), link("a/link.py", "b/one.py"), file("empty/x"))

    async def main(here: World) -> None:
        package = await here.code.add_zip(archive)
        names = PackageNames(tmp_path)
        first = names.of(package.digest)
        (tmp_path / "code" / package.digest / "empty" / "x").unlink()
        assert ["a/", "a/b/", "a/b/one.py", "a/link.py", "empty/", "empty/x", "odd\u2028name.py"] == first
        assert first == names.of(package.digest)
        assert None is names.content(package.digest, "a/link.py")
        with pytest.raises(KeyError):
            names.of("absent")

    in_world(tmp_path, main)


def test_a_clash_names_the_first_pair_in_the_order_of_packages() -> None:
    code = Tree("code", "c", ["index.py", "lib/", "lib/a.py"])
    one = Tree("one", "1", ["lib/", "lib/b.py", "ns/", "ns/__init__.py"])
    two = Tree("two", "2", ["lib/", "lib/b.py", "ns/", "ns/__init__.py"])
    fits = Tree("three", "3", ["lib/", "lib/c.py"])
    asked: list[str] = []

    def same(first: Tree, second: Tree, path: str) -> bool:
        asked.append(f"{first.label} {second.label} {path}")
        return True

    clash = find_clash([code, one, two], same)

    assert clash is not None
    assert ("one", "two", "lib/b.py") == (clash.first.label, clash.second.label, clash.path)
    assert None is find_clash([code, one, fits], same)
    only = Tree("only", "4", ["ns/", "ns/__init__.py"])
    assert None is find_clash([code, one, only], same)
    assert ["one only ns/__init__.py"] == asked


def public_file(folder: Path, name: str, archive: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    return path


def test_public_dependencies_are_what_the_folder_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, state = tmp_path / "public", tmp_path / "state"
    state.mkdir()
    one = public_file(folder, "Python3.12/Lib-2.1/1.zip", make_zip({"lib.py": "one"}))
    public_file(folder, "Python3.12/Lib-2.1/2.zip", make_zip({"lib.py": "two"}))
    public_file(folder, "Node.js20.15/other/1.zip", make_zip({"node_modules/o/index.js": ""}))
    for name in ("Python3.12/Lib-2.1/new.zip", "Python3.12/-x/1.zip", "Klingon/x/1.zip", "Python3.12/bad/1.zip"):
        public_file(folder, name, b"no zip")
    public_file(folder, "README", b"")
    ids: list[str] = []

    async def first(here: World) -> None:
        await refresh_public(folder, here.dependencies, INSTALLED)
        found = here.dependencies.newest(PROJECT)
        assert [("Lib-2.1", 2), ("other", 1)] == [(dep.name, dep.version) for dep in found]
        for word in ("new.zip", "-x", "Klingon", "bad", "README"):
            assert word in caplog.text
        versions = here.dependencies.versions(PROJECT, found[0].dep_id)
        ids.extend(dep.id for dep in versions)
        await function(here, "user", versions[1])
        with pytest.raises(Forbidden):
            await here.dependencies.delete(PROJECT, found[0].dep_id)
        assert 0 == here.dependencies.code_bytes(PROJECT)

    async def second(here: World) -> None:
        found = here.dependencies.newest(PROJECT)
        assert ids == [dep.id for dep in here.dependencies.versions(PROJECT, found[0].dep_id)]
        one.unlink()
        public_file(folder, "Python3.12/Lib-2.1/2.zip", make_zip({"lib.py": "two, and longer"}))
        await refresh_public(folder, here.dependencies, INSTALLED)
        (newest,) = here.dependencies.versions(PROJECT, found[0].dep_id)
        assert newest.id not in ids
        user = here.functions.resolve(urn("user"))
        await here.functions.sweep_code()
        assert b"PK" == (await here.code.archive(user.packages[1]))[:2]  # what a function has stays
        parsed = {"depend_version_list": [user.dependencies[0].id], "description": "d"}
        changed = await here.functions.configure(
            urn("user"), lambda old: parse_change(parsed, old, here.functions.facets)
        )
        assert user.dependencies == changed.dependencies
        await refresh_public(None, here.dependencies, INSTALLED)
        assert [] == here.dependencies.newest(PROJECT)

    in_world(state, first)
    in_world(state, second)


def test_an_unreadable_public_folder_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(here: World) -> None:
        folder = tmp_path / "public"
        public_file(folder, "Python3.12/lib/1.zip", make_zip({"lib.py": ""}))
        await refresh_public(folder, here.dependencies, INSTALLED)
        folder.rename(tmp_path / "away")
        await refresh_public(folder, here.dependencies, INSTALLED)
        assert 1 == len(here.dependencies.public())
        assert "No such file" in caplog.text

    in_world(tmp_path, main)
