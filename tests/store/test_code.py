"""Packages are stored once, whole or not at all."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.errors import BadCode, StorageFull
from fgd.store import files
from fgd.store.code import FolderCodeStore
from fgd.store.files import remove_tree
from tests.store.disks import tmpfs
from tests.store.zips import file, link, make_zip, zip_of

HELLO = make_zip({"index.py": "def handler(event, context): return event", "lib/util.py": "X = 1"})


def store(state_dir: Path, **changes: Any) -> FolderCodeStore:
    return FolderCodeStore(state_dir, **{"unpacked_max_mib": 4, "unpacked_max_files": 50, "grace_s": 0.0} | changes)


def run[T](work: Callable[[], Any]) -> Any:
    return trio.run(work)


def nothing_left(state_dir: Path) -> bool:
    return all(not list((state_dir / name).iterdir()) for name in ("code", "packages", "tmp"))


def test_a_package_is_unpacked_readable_for_others_and_kept_as_it_came(tmp_path: Path) -> None:
    code = store(tmp_path)
    archive = zip_of(file("bootstrap", b"#!/bin/sh", 0o755), file("lib/secret.py", b"X = 1", 0o600))
    package = run(lambda: code.add_zip(archive))
    folder = code.folder(package.digest)

    assert {"bootstrap": 0o755, "lib": 0o755, "lib/secret.py": 0o644} == {
        str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in folder.rglob("*")
    }
    assert (0o755, 14, 3) == (folder.stat().st_mode & 0o7777, package.unpacked_bytes, package.files)
    assert archive == run(lambda: code.archive(package.digest))
    assert not list((tmp_path / "tmp").iterdir())


def test_the_same_archive_is_stored_once_even_when_it_comes_twice_at_once(tmp_path: Path) -> None:
    code = store(tmp_path)
    found: list[object] = []

    async def add() -> None:
        found.append(await code.add_zip(HELLO))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(add)

    run(main)

    assert 1 == len(set(map(repr, found)))
    assert 1 == len(list((tmp_path / "code").iterdir()))
    assert not list((tmp_path / "tmp").iterdir())


def test_inline_source_becomes_the_same_package_every_time(tmp_path: Path) -> None:
    code = store(tmp_path)
    first = run(lambda: code.add_inline("src/index.py", b"x = 1"))
    second = run(lambda: store(tmp_path).add_inline("src/index.py", b"x = 1"))

    assert first == second
    assert b"x = 1" == (code.folder(first.digest) / "src/index.py").read_bytes()


def test_the_archive_of_inline_source_unpacks_to_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = store(tmp_path / "one"), store(tmp_path / "two")
    first = run(lambda: one.add_inline("index.py", b"x = 1"))
    second = run(lambda: two.add_zip((tmp_path / f"one/packages/{first.digest}.zip").read_bytes()))

    assert first == second


@pytest.mark.parametrize("name", ["../x.py", "/x.py", "a\\b.py", "x\0.py", "", "x" * 300 + ".py"])
def test_inline_names_obey_the_same_rules(tmp_path: Path, name: str) -> None:
    code = store(tmp_path)
    with pytest.raises(BadCode, match="code_filename"):
        run(lambda: code.add_inline(name, b""))
    assert nothing_left(tmp_path)


def test_unused_packages_are_swept_and_used_and_young_ones_stay(tmp_path: Path) -> None:
    code = store(tmp_path)
    used = run(lambda: code.add_inline("a.py", b"1"))
    unused = run(lambda: code.add_inline("a.py", b"2"))

    assert 0 == run(lambda: store(tmp_path, grace_s=60.0).sweep(set()))
    assert 1 == run(lambda: code.sweep({used.digest}))
    assert [used.digest] == [path.name for path in (tmp_path / "code").iterdir()]
    assert {f"{used.digest}.zip", f"{used.digest}.json"} == {path.name for path in (tmp_path / "packages").iterdir()}
    with pytest.raises(KeyError):
        run(lambda: code.archive(unused.digest))
    with pytest.raises(KeyError):
        code.package(unused.digest)


def test_a_swept_package_can_be_added_again(tmp_path: Path) -> None:
    code = store(tmp_path)
    package = run(lambda: code.add_zip(HELLO))
    run(lambda: code.sweep(set()))

    assert package == run(lambda: code.add_zip(HELLO))
    assert (code.folder(package.digest) / "index.py").exists()


def test_quota_counts_each_archive_once(tmp_path: Path) -> None:
    code = store(tmp_path)
    one, two = run(lambda: code.add_inline("a.py", b"1")), run(lambda: code.add_zip(HELLO))
    again = store(tmp_path)

    assert one.size_bytes + len(HELLO) == again.archive_bytes([one.digest, two.digest, two.digest, "unknown"])


def test_interrupted_work_is_removed_at_the_start(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "tmp/abc/tree").mkdir(parents=True)
    (tmp_path / "tmp/abc/tree/x").write_text("half")
    (tmp_path / "tmp/abc/tree").chmod(0)
    store(tmp_path)

    assert nothing_left(tmp_path)


def test_a_package_whose_files_moved_in_without_the_folder_is_stored_again(tmp_path: Path) -> None:
    code = store(tmp_path)
    package = run(lambda: code.add_zip(HELLO))
    remove_tree(code.folder(package.digest))
    again = store(tmp_path)

    assert package == run(lambda: again.add_zip(HELLO))
    assert again.folder(package.digest).is_dir()


def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    code = store(tmp_path)

    async def main() -> None:
        with trio.move_on_after(0.01):
            await code.add_zip(HELLO)

    run(main)

    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.slow
def test_removal_copes_with_depth_and_closed_folders_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=deeper))
        os.symlink(str(outside), "l", dir_fd=deeper)
        os.close(fd)
        fd = deeper
    os.close(fd)
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    remove_tree(tree)

    assert not tree.exists()
    assert (outside / "keep").exists()


def test_removal_works_without_privilege(tmp_path: Path) -> None:
    """Root ignores modes, so this runs as another user where it can."""
    if os.getuid() != 0:
        pytest.skip("the other tests run without privilege already")
    probe = """
import os, secrets, stat, sys
from pathlib import Path
os.fchdir(int(sys.argv[2]))
source = open("/proc/self/fd/" + sys.argv[1]).read()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
scope = {"__name__": "files"}
exec(compile(source, "files.py", "exec"), scope)
os.makedirs("t/a/b/c"); open("t/a/b/f", "w").close()
for name in ("t/a/b", "t/a", "t"): os.chmod(name, 0)
scope["remove_tree"](Path("t"))
print(os.path.lexists("t"))
"""
    tmp_path.chmod(0o777)
    source, folder = os.open(files.__file__, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    done = subprocess.run(
        [sys.executable, "-I", "-c", probe, str(source), str(folder)],
        pass_fds=(source, folder), capture_output=True, text=True,
    )  # fmt: skip
    os.close(source)
    os.close(folder)

    assert ("False\n", "") == (done.stdout, done.stderr)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    with tmpfs(tmp_path / "small", "2m") as folder:
        yield folder


@pytest.mark.host
def test_a_full_disk_leaves_nothing_behind(small_disk: Path) -> None:
    code = store(small_disk)
    with pytest.raises(StorageFull, match=os.strerror(errno.ENOSPC)):
        run(lambda: code.add_zip(make_zip({"big": bytes(3 << 20)})))
    with pytest.raises(StorageFull, match=os.strerror(errno.ENOSPC)):
        run(lambda: code.add_inline("big.py", os.urandom(3 << 20)))

    assert nothing_left(small_disk)
    assert 1 == run(lambda: code.add_zip(make_zip({"small": "x"}))).files


def test_links_inside_are_kept(tmp_path: Path) -> None:
    code = store(tmp_path)
    package = run(lambda: code.add_zip(zip_of(file("lib/a.py", b"x"), link("bin/a", "../lib/a.py"))))

    assert "../lib/a.py" == str((code.folder(package.digest) / "bin/a").readlink())
