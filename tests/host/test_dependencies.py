"""Code and dependencies as one tree, seen from inside: both providers, real overlays."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from fgd.linux.mounts import merged_view
from fgd.linux.probe import kernel_version
from fgd.sandbox.api import Binding
from fgd.sandbox.guard import CodeRoot
from fgd.sandbox.host import LauncherHost
from fgd.sandbox.views import KEPT_S, CodeViews
from fgd.testing.host import mounts
from tests.host.sandboxes import Sandboxes, ask

LOOK = """
    import json, os
    out = {}
    for folder, _, names in os.walk("code"):
        for name in names:
            path = os.path.join(folder, name)
            out[path] = open(path).read()
    """
WRITE = """
    out = []
    for path in ("code/index.py", "code/shared/one.py", "code/new", "code/shared/new"):
        try:
            open(path, "a")
        except OSError as error:
            out.append(error.errno)
    """


def three(sandbox_host: Sandboxes) -> Binding:
    """A package and two dependencies that have a folder in common."""
    return Binding(
        sandbox_host.code("index = 1\n"),
        dependencies=(
            sandbox_host.package({"shared/one.py": "one = 1\n", "alone.py": "alone = 1\n"}),
            sandbox_host.package({"shared/two.py": "two = 2\n"}),
        ),
    )


@pytest.mark.parametrize("provider", ["zygote", "nsjail"])
def test_files_of_all_packages_lie_in_one_read_only_tree(sandbox_host: Sandboxes, provider: str) -> None:
    before = set(mounts())

    async def main(host: LauncherHost) -> Any:
        binding = three(sandbox_host)
        seen = []
        for _ in range(2):  # the second one gets a clone
            sandbox = await host.open("Python3.12")
            sandbox.bind(binding)
            seen.append([await ask(sandbox, LOOK), await ask(sandbox, WRITE)])
        return seen, set(mounts()) - before

    (first, second), new_mounts = sandbox_host.run(main, provider=provider)

    files = {
        "code/index.py": "index = 1\n",
        "code/alone.py": "alone = 1\n",
        "code/shared/one.py": "one = 1\n",
        "code/shared/two.py": "two = 2\n",
    }
    assert [files, [30] * 4] == first
    assert first == second
    assert set() == {one for one in new_mounts if "overlay" in one}


@pytest.mark.parametrize("provider", ["zygote", "nsjail"])
def test_the_mount_has_no_devices_and_no_set_id_and_names_nothing_of_the_host(
    sandbox_host: Sandboxes, provider: str
) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await host.open("Python3.12")
        sandbox.bind(three(sandbox_host))
        return await ask(sandbox, "out = [l.split() for l in open('/proc/self/mounts') if '/opt/function/code' in l]")

    (found,) = sandbox_host.run(main, provider=provider)

    assert "overlay" == found[2]
    assert {"ro", "nosuid", "nodev"} <= set(found[3].split(","))
    assert str(sandbox_host.code_root) not in " ".join(found)


def test_a_dependency_that_is_not_there_ends_the_sandbox_with_the_reason(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> str:
        sandbox = await host.open("Python3.12")
        sandbox.bind(Binding(sandbox_host.code(), dependencies=("ab" * 64,)))
        return (await sandbox.wait()).reason

    assert sandbox_host.run(main).startswith("bind: ")


def test_twenty_dependencies_are_one_tree(tmp_path: Path) -> None:
    folders = []
    for number in range(21):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"file{number}").touch()
        folders.append(os.open(tmp_path / str(number), os.O_PATH))
    here = Path.cwd()
    view = merged_view(folders)
    try:
        top = os.open(".", os.O_RDONLY, dir_fd=view)
        names = set(os.listdir(top))  # noqa: PTH208
        os.close(top)
    finally:
        for fd in (view, *folders):
            os.close(fd)

    assert {f"file{number}" for number in range(21)} == names
    assert here == Path.cwd()


def _stored(root: Path, name: str, text: str) -> str:
    (root / name).mkdir()
    (root / name / f"{name}.py").write_text(text, "utf-8")
    return name


def _read(view: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY, dir_fd=view)
    try:
        return os.read(fd, 100).decode()
    finally:
        os.close(fd)


def test_overlays_are_kept_once_per_combination_and_let_go_in_time(tmp_path: Path) -> None:
    if kernel_version() < (6, 15):
        pytest.skip("this kernel cannot clone a mount that is not attached: nothing is kept")
    code, library = _stored(tmp_path, "aa", "a"), _stored(tmp_path, "bb", "b")
    now = [time.monotonic()]
    root = CodeRoot(str(tmp_path))
    timers: list[float] = []
    views = CodeViews(root, lambda seconds, callback: timers.append(seconds), lambda: now[0])
    try:
        for _ in range(3):
            os.close(views.open(code, (library,)))
        os.close(views.open(library, (code,)))
        kept = len(views)
        now[0] += KEPT_S + 1
        views.expire()
        left = len(views)
    finally:
        os.close(root.fd)

    assert (2, 0) == (kept, left)
    assert [KEPT_S] == timers


def test_a_package_that_was_removed_and_stored_again_is_seen_as_it_is_now(tmp_path: Path) -> None:
    code, library = _stored(tmp_path, "aa", "a"), _stored(tmp_path, "bb", "b")
    now = [time.monotonic()]
    root = CodeRoot(str(tmp_path))
    timers: list[float] = []
    views = CodeViews(root, lambda seconds, callback: timers.append(seconds), lambda: now[0])
    try:
        os.close(views.open(code, (library,)))
        shutil.rmtree(tmp_path / library)
        _stored(tmp_path, "bb", "b again")
        view = views.open(code, (library,))
        text = _read(view, "bb.py")
        os.close(view)
        now[0] += KEPT_S + 1
        views.expire()
    finally:
        os.close(root.fd)

    assert "b again" == text
