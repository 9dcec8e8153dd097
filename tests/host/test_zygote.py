"""Sandboxes of the zygote provider, seen from inside and from the host."""

from pathlib import Path
from typing import Any

import pytest

from fgd.sandbox.api import Binding, Limits
from fgd.sandbox.host import LauncherHost
from tests.host.sandboxes import FIRST_ID, Sandboxes, ask, output

PYTHONS = ("Python2.7", "Python3.6", "Python3.9", "Python3.10", "Python3.12", "Python3.13")


def look(sandbox_host: Sandboxes, source: str, runtime: str = "Python3.12", **limits: int) -> Any:
    """The value of `out` after the source ran in a fresh sandbox."""

    async def main(host: LauncherHost) -> Any:
        return await ask(await sandbox_host.bound(host, runtime, Limits(**limits)), source)

    return sandbox_host.run(main, (runtime,), provider="zygote")


@pytest.mark.parametrize("runtime", PYTHONS)
def test_function_runs_as_snuser_without_rights(sandbox_host: Sandboxes, runtime: str, requires: Any) -> None:
    requires(runtime)
    out = look(
        sandbox_host,
        """
        import os
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups")
        out = [os.getresuid(), os.getresgid(), os.getcwd(), [status[name].strip() for name in names]]
        """,
        runtime,
    )

    none = "0" * 16
    assert [[1003] * 3, [1003] * 3, "/opt/function", [none] * 5 + ["1", "2", ""]] == out


def test_every_namespace_is_its_own(sandbox_host: Sandboxes) -> None:
    source = """
        import os
        out = {name: os.readlink("/proc/self/ns/" + name) for name in
               ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")}
    """

    async def main(host: LauncherHost) -> list[Any]:
        return [await ask(await sandbox_host.bound(host), source) for _ in range(2)]

    first, second = sandbox_host.run(main, provider="zygote")

    for name, link in first.items():
        assert link != second[name]
        assert link != str(Path(f"/proc/self/ns/{name}").readlink())


def test_each_sandbox_has_ids_of_its_own_on_the_host(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> list[int]:
        ids = []
        for _ in range(2):
            sandbox = await sandbox_host.bound(host)
            ids.append(int((await ask(sandbox, "out = open('/proc/self/uid_map').read().split()"))[1]))
        return ids

    assert [FIRST_ID + 65536, FIRST_ID + 2 * 65536] == sandbox_host.run(main, provider="zygote")


def test_only_tmp_and_shared_memory_can_be_written(sandbox_host: Sandboxes) -> None:
    out = look(
        sandbox_host,
        """
        import os
        out = []
        for folder, _, _ in os.walk("/"):
            try:
                name = os.path.join(folder, "probe")
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT))
                os.unlink(name)
                out.append(folder)
            except OSError:
                pass
        """,
    )

    assert ["/dev/shm", "/tmp"] == sorted(out)


def test_there_are_no_descriptors_but_standard_ones_and_the_channel(sandbox_host: Sandboxes) -> None:
    out = look(
        sandbox_host,
        """
        import os
        out = []
        for number in range(256):
            try:
                os.fstat(number)
                out.append(number)
            except OSError:
                pass
        """,
    )

    assert [0, 1, 2, 3] == out


def test_mounts_of_the_host_are_out_of_reach(sandbox_host: Sandboxes) -> None:
    out = look(sandbox_host, "import os; out = [sorted(os.listdir('/')), os.path.exists('/sys'), os.listdir('/dev')]")

    assert not set(out[0]) & {"root", "var", "run", "mnt", "sys", ".host"}
    assert out[1] is False
    assert {"null", "zero", "full", "random", "urandom", "shm", "fd", "stdin", "stdout", "stderr"} == set(out[2])


def test_code_is_mounted_read_only(sandbox_host: Sandboxes) -> None:
    digest = sandbox_host.code("answer = 42\n")

    async def main(host: LauncherHost) -> Any:
        sandbox = await host.open("Python3.12")
        sandbox.bind(Binding(digest))
        return await ask(
            sandbox,
            """
            import os
            try:
                open("code/index.py", "a")
            except OSError as error:
                out = [open("code/index.py").read(), error.errno]
            """,
        )

    assert ["answer = 42\n", 30] == sandbox_host.run(main, provider="zygote")


def test_loopback_is_up_and_the_only_interface(sandbox_host: Sandboxes) -> None:
    out = look(
        sandbox_host,
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname(), 2)
        out = [name for _, name in socket.if_nameindex()]
        """,
    )

    assert ["lo"] == out


def test_limits_are_what_bind_asked_for(sandbox_host: Sandboxes) -> None:
    out = look(
        sandbox_host,
        """
        import os, resource
        tmp = os.statvfs("/tmp")
        out = [resource.getrlimit(resource.RLIMIT_NOFILE), tmp.f_blocks * tmp.f_frsize, tmp.f_files,
               resource.getrlimit(resource.RLIMIT_CORE)]
        """,
        open_files=512,
        tmp_mib=16,
        tmp_inodes=1000,
    )

    # 1 is the limit that also keeps the host's core_pattern program from being run.
    assert [[512, 512], 16 << 20, 1000, [1, 1]] == out


def test_session_has_no_terminal_and_the_host_name_is_neutral(sandbox_host: Sandboxes) -> None:
    out = look(
        sandbox_host,
        """
        import os, socket
        try:
            os.open("/dev/tty", os.O_RDWR)
        except OSError as error:
            out = [os.getsid(0) == os.getpid() == 1, socket.gethostname(), error.errno]
        """,
    )

    assert [True, "function", 2] == out


def test_output_goes_to_the_pipe(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> str:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "import os; os.write(1, b'one '); open('/dev/stdout', 'w').write('two'); out = 0")
        return output(sandbox)

    assert "one two" == sandbox_host.run(main, provider="zygote")


@pytest.mark.parametrize("runtime", ("Python2.7", "Python3.12"))
def test_random_numbers_differ_between_sandboxes(sandbox_host: Sandboxes, runtime: str, requires: Any) -> None:
    requires(runtime)

    async def main(host: LauncherHost) -> list[Any]:
        source = "import random, tempfile; out = random.random()"
        return [await ask(await sandbox_host.bound(host, runtime), source) for _ in range(2)]

    first, second = sandbox_host.run(main, (runtime,), provider="zygote")

    assert first != second


def test_objects_of_the_zygote_are_immortal_where_python_can(sandbox_host: Sandboxes) -> None:
    """Using them then copies no page; and new objects are as mortal as ever."""
    out = look(
        sandbox_host, "import json, sys; out = [sys.getrefcount(json) >= 1 << 31, sys.getrefcount(object()) < 5]"
    )

    assert [True, True] == out
