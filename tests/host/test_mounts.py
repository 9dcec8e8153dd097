"""Host directories and in-memory disks in real sandboxes: whose files they are, and no way out of them."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.errors import SandboxError
from fgd.sandbox.api import Binding
from fgd.sandbox.host import LauncherHost, LauncherSandbox
from fgd.sandbox.mount_plan import HostMount, Mount, Owner, TmpfsMount
from fgd.shares import HostRoot
from fgd.testing.host import hanging_disk
from tests.host.attacker import PROVIDERS
from tests.host.sandboxes import Sandboxes, ask

pytestmark = pytest.mark.parametrize("provider", PROVIDERS)
OWNER = Owner(5001, 5002)

type Open = Callable[..., Awaitable[LauncherSandbox]]


class Disks:
    """A directory of the host that functions may mount, and sandboxes that have it."""

    def __init__(self, sandboxes: Sandboxes, folder: Path, provider: str) -> None:
        self.root = folder / "disk"
        self.root.mkdir(mode=0o755)
        os.chown(self.root, OWNER.uid, OWNER.gid)
        self._sandboxes = sandboxes
        self._provider = provider

    def file(self, name: str, text: str, uid: int, mode: int = 0o600) -> Path:
        path = self.root / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, uid, uid if uid != OWNER.uid else OWNER.gid)
        path.chmod(mode)
        return path

    def run(self, main: Callable[[Open], Awaitable[Any]], *, read_only: bool = False, limit_s: float = 10) -> Any:
        """Runs `main` with a function that gives a sandbox which has these mounts."""

        async def body(host: LauncherHost) -> Any:
            async def opened(*mounts: Mount, owner: Owner = OWNER, own: bool = False) -> LauncherSandbox:
                sandbox = await host.open("Python3.12", owner if own else None)
                sandbox.bind(Binding(self._sandboxes.code(), mounts=mounts, owner=owner))
                return sandbox

            return await main(opened)

        roots = [HostRoot("disk", str(self.root), read_only)]
        return self._sandboxes.run(body, provider=self._provider, mount_roots=roots, mount_limit_s=limit_s)

    def look(self, source: str, *mounts: Mount, read_only: bool = False) -> Any:
        """What the source leaves in `out` in a sandbox with these mounts."""

        async def main(opened: Open) -> Any:
            return await ask(await opened(*mounts), source)

        return self.run(main, read_only=read_only)


@pytest.fixture
def disks(sandbox_host: Sandboxes, tmp_path: Path, provider: str) -> Disks:
    tmp_path.chmod(0o755)
    return Disks(sandbox_host, tmp_path, provider)


def test_files_have_the_right_owner_on_both_sides(disks: Disks) -> None:
    disks.file("theirs", "from the host", OWNER.uid)
    disks.file("roots", "secret", 0, 0o600)
    out = disks.look(
        """
        import os
        with open("/home/test/data/made", "w") as file:
            file.write("from inside")
        os.mkdir("/home/test/data/folder")
        seen = os.stat("/home/test/data/theirs")
        out = [seen.st_uid, seen.st_gid, open("/home/test/data/theirs").read(), os.stat("/home/test/data/made").st_uid]
        for name in ("theirs", "roots"):
            try:
                os.chown("/home/test/data/" + name, 0, 0)
                out.append("done")
            except OSError as error:
                out.append(error.errno)
        try:
            out.append(open("/home/test/data/roots").read())
        except OSError as error:
            out.append(error.errno)
        """,
        HostMount("/home/test/data", 0),
    )
    made = (disks.root / "made").stat()
    folder = (disks.root / "folder").stat()

    assert [1003, 1003, "from the host", 1003] == out[:4]
    # not permitted, or, where a sandbox has one id only, no such id
    assert set(out[4:6]) <= {1, 22}
    assert 13 == out[6]
    assert (OWNER.uid, OWNER.gid) == (made.st_uid, made.st_gid) == (folder.st_uid, folder.st_gid)
    assert "from inside" == (disks.root / "made").read_text()


def test_instances_share_what_they_write(disks: Disks) -> None:
    async def main(opened: Open) -> Any:
        first, second = await opened(HostMount("/data", 0)), await opened(HostMount("/mnt/other", 0))
        await ask(first, "open('/data/note', 'w').write('hello'); out = 0")
        return await ask(second, "out = [open('/mnt/other/note').read(), open('/mnt/other/note', 'a').write('!')]")

    assert ["hello", 1] == disks.run(main)


def test_the_rest_of_the_root_is_as_without_mounts(disks: Disks) -> None:
    source = """
        import os, sys
        out = []
        for top in sorted(os.listdir("/")):
            path = "/" + top
            kind = "link" if os.path.islink(path) else "folder"
            out.append([top, kind, sorted(os.listdir(path))[:40] if top not in ("proc", "tmp", "dev") else []])
        out.append([os.getcwd(), os.listdir("/opt/function/code"), os.listdir("/home/snuser/log"),
                    os.path.exists("/proc/self/exe"), sorted(os.listdir("/dev"))])
        out.append(open("/etc/hostname").read())
        for path in ("/new", "/home/test", "/usr/new", "/data/../new", "/mnt/new", "/srv/new"):
            try:
                os.mkdir(path)
                out.append(path)
            except OSError as error:
                out.append(error.errno in (13, 30, 2))
        open("/tmp/x", "w").write("x")
        open("/dev/shm/x", "w").write("x")
    """

    async def main(opened: Open) -> Any:
        mounts = (HostMount("/data", 0), TmpfsMount("/srv/deep/down", 4))
        return await ask(await opened(), source), await ask(await opened(*mounts), source)

    plain, mounted = disks.run(main)

    assert ["data", "folder", []] in mounted
    assert ["srv", "folder", ["deep"]] in mounted
    assert plain == [row for row in mounted if row not in (["data", "folder", []], ["srv", "folder", ["deep"]])]
    assert [True] * 6 == mounted[-6:]


def test_read_only_is_read_only(disks: Disks) -> None:
    disks.file("there", "text", OWNER.uid)
    source = """
        import os
        out = []
        there = "/data/there"
        for act in (lambda: open("/data/new", "w"), lambda: os.unlink(there), lambda: os.chmod(there, 0o777)):
            try:
                act()
                out.append("done")
            except OSError as error:
                out.append(error.errno)
        out.append(open("/data/there").read())
    """

    assert [30, 30, 30, "text"] == disks.look(source, HostMount("/data", 0, "", True))


def test_a_read_only_root_makes_every_mount_read_only(disks: Disks) -> None:
    source = """
        try:
            out = open("/data/new", "w").write("x")
        except OSError as error:
            out = error.errno
    """

    assert 30 == disks.look(source, HostMount("/data", 0), read_only=True)


def test_links_devices_and_set_id_files_lead_nowhere(disks: Disks) -> None:
    outside = disks.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (outside / "secret").chmod(0o644)
    (disks.root / "absolute").symlink_to(outside / "secret")
    (disks.root / "relative").symlink_to("../outside/secret")
    (disks.root / "shadow").symlink_to("/etc/shadow")
    os.mknod(disks.root / "null", 0o020666, os.makedev(1, 3))
    (disks.root / "null").chmod(0o666)
    disks.file("id", Path("/usr/bin/id").read_bytes().decode("latin-1"), 0)
    (disks.root / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    (disks.root / "id").chmod(0o6755)
    out = disks.look(
        """
        import os, subprocess
        out = []
        for name in ("absolute", "relative", "shadow", "../outside/secret", "null"):
            try:
                out.append(open("/data/" + name).read())
            except OSError as error:
                out.append(error.errno)
        out.append(subprocess.run(["/data/id", "-u"], capture_output=True).stdout.decode().strip())
        try:
            os.mknod("/data/zero", 0o020666, os.makedev(1, 5))
            out.append("done")
        except OSError as error:
            out.append(error.errno)
        """,
        HostMount("/data", 0),
    )

    assert [2, 2, 2, 2, 13, "1003", 1] == out


def test_a_share_is_a_real_folder_below_the_root(disks: Disks) -> None:
    (disks.root / "inner" / "deep").mkdir(parents=True)
    (disks.root / "inner" / "deep" / "file").write_text("found")
    (disks.root / "out").symlink_to("/etc")
    (disks.root / "in").symlink_to("inner")
    disks.file("plain", "x", 0)

    async def main(opened: Open) -> Any:
        found = await ask(await opened(HostMount("/data", 0, "inner/deep", True)), "out = open('/data/file').read()")
        refused = [
            (await (await opened(HostMount("/data", 0, share, True))).wait()).reason
            for share in ("out", "in/deep", "plain", "none")
        ]
        return found, refused

    found, refused = disks.run(main)

    assert "found" == found
    assert "'out' is a link or no folder" in refused[0]
    assert "'in' is a link or no folder" in refused[1]
    assert "'plain' is a link or no folder" in refused[2]
    assert "'none' No such file or directory" in refused[3]
    assert all(reason.startswith("mount /data: ") for reason in refused)


def test_a_root_that_is_swapped_for_a_link_stays_what_it_was(disks: Disks) -> None:
    (disks.root / "file").write_text("mine")
    (disks.root / "file").chmod(0o644)

    async def main(opened: Open) -> Any:
        disks.root.rename(disks.root.parent / "moved")
        disks.root.symlink_to("/etc")
        return await ask(await opened(HostMount("/data", 0)), "import os; out = os.listdir('/data')")

    assert ["file"] == disks.run(main)


def test_a_disk_in_memory_has_its_size_and_is_the_instances_own(disks: Disks) -> None:
    source = """
        import os
        try:
            with open("/scratch/big", "wb") as file:
                for _ in range(8):
                    file.write(bytes(1 << 20))
            out = ["done"]
        except OSError as error:
            out = [error.errno]
        status = os.stat("/scratch")
        out += [status.st_uid, status.st_gid, os.path.getsize("/scratch/big") <= 4 << 20, len(os.listdir("/scratch"))]
        options = [line.split()[3] for line in open("/proc/mounts") if line.split()[1] == "/scratch"][0].split(",")
        out += ["nosuid" in options, "nodev" in options]
    """

    async def main(opened: Open) -> Any:
        return [await ask(await opened(TmpfsMount("/scratch", 4)), source) for _ in range(2)]

    assert [[28, 1003, 1003, True, 1, True, True]] * 2 == disks.run(main)


def test_five_mounts_at_once(disks: Disks) -> None:
    for number in range(5):
        (disks.root / f"d{number}").mkdir()
    mounts = [HostMount(f"/data/{number}", 0, f"d{number}", number % 2 == 1) for number in range(5)]
    out = disks.look(
        "import os; out = [os.listdir('/data'), os.access('/data/1', os.W_OK)]", *reversed(mounts)
    )  # fmt: skip

    assert [["0", "1", "2", "3", "4"], False] == [sorted(out[0]), out[1]]


def test_a_disk_that_hangs_fails_in_time_and_holds_up_nobody(disks: Disks) -> None:
    async def main(opened: Open) -> Any:
        began = trio.current_time()
        hung = await opened(HostMount("/data", 0, "hung/inner"))
        others = [await ask(await opened(), "out = 1") for _ in range(3)]
        others_s = trio.current_time() - began
        reason = (await hung.wait()).reason
        return others, others_s, reason, trio.current_time() - began

    with hanging_disk(disks.root / "hung"):
        others, others_s, reason, whole_s = disks.run(main, limit_s=1.5)

    assert [1, 1, 1] == others
    assert others_s < 1.4
    assert "mount /data: not done within 1.5 s" == reason
    assert whole_s < 4


def test_a_sandbox_with_ids_of_its_own_is_who_it_is_on_the_host(disks: Disks) -> None:
    """As NFS needs it, where no map stands between."""

    async def main(opened: Open) -> Any:
        host = await opened(HostMount("/data", 0), own=True)
        out = await ask(host, "import os; open('/data/x', 'w').write('x'); out = [os.getuid(), os.getgid()]")
        ids = await ask(host, "out = open('/proc/self/uid_map').read().split()")
        return out, ids

    out, ids = disks.run(main)
    made = (disks.root / "x").stat()

    assert [1003, 1003] == out
    assert ["1003", str(OWNER.uid), "1"] in [ids[at : at + 3] for at in range(0, len(ids), 3)]
    assert (OWNER.uid, OWNER.gid) == (made.st_uid, made.st_gid)


def test_no_sandbox_gets_the_ids_of_an_account_of_the_host(disks: Disks) -> None:
    async def main(opened: Open) -> str:
        with pytest.raises(SandboxError) as caught:
            await opened(owner=Owner(1, 5002), own=True)
        return str(caught.value)

    assert "this host has an account" in disks.run(main)


def test_a_root_that_is_not_there_ends_the_start_with_its_name(disks: Disks) -> None:
    disks.root.rmdir()

    with pytest.raises(SandboxError, match=r"mount_roots: .*/disk: No such file or directory"):
        disks.look("out = 1")
