"""What the launcher accepts, and what it refuses."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fgd.sandbox.api import Limits
from fgd.sandbox.guard import (
    REQUEST_BYTES,
    Bind,
    CodeRoot,
    Disks,
    Kill,
    LimitValues,
    Open,
    Refused,
    Request,
    Resize,
    Try,
    failure_text,
    parse_request,
)
from fgd.sandbox.launcher_sandbox import DEFAULT_LIMITS
from fgd.sandbox.mount_plan import HostMount, NfsMount, Owner, TmpfsMount, plain

DIGEST = "ab" * 64
OTHER = "cd" * 64
LIMITS = [128, 300, 1024, 2048, 512, 65536]


def parse(message: Any) -> Request:
    return parse_request(json.dumps(message).encode(), Disks(roots=2, exports=1))


def test_the_requests_are_understood() -> None:
    assert Open(7, "Python3.12", "none") == parse(["open", 7, "Python3.12", "none"])
    assert Open(8, "C#(.NET Core 3.1)", "lab-2") == parse(["open", 8, "C#(.NET Core 3.1)", "lab-2"])
    assert Bind("i-1", DIGEST, LimitValues(*LIMITS)) == parse(["bind", "i-1", DIGEST, LIMITS, {}])
    bound = Bind("i-1", DIGEST, LimitValues(*LIMITS), (OTHER,))
    assert bound == parse(["bind", "i-1", DIGEST, LIMITS, {"dependencies": [OTHER]}])
    assert Resize(9, "i-1", 512, 600) == parse(["resize", 9, "i-1", 512, 600])
    door = Bind("i-1", DIGEST, LimitValues(*LIMITS), door=True)
    assert door == parse(["bind", "i-1", DIGEST, LIMITS, {"door": True}])
    assert Kill("i-1") == parse(["kill", "i-1"])


def test_mounts_are_understood() -> None:
    mounts = (HostMount("/data", 1, "a/b", True), NfsMount("/srv/x", 0), TmpfsMount("/mnt/t", 10))
    rows = [["host", "/data", 1, "a/b", True], ["nfs", "/srv/x", 0, "", False], ["tmpfs", "/mnt/t", 10]]
    bound = Bind("i-1", DIGEST, LimitValues(*LIMITS), (), mounts, Owner(7, 8))

    assert rows == plain(mounts)
    assert bound == parse(["bind", "i-1", DIGEST, LIMITS, {"mounts": rows, "owner": [7, 8]}])
    assert Try(3, mounts, Owner(7, 8)) == parse(["try", 3, rows, [7, 8]])
    assert Open(7, "Python3.12", "none", Owner(7, 8)) == parse(["open", 7, "Python3.12", "none", [7, 8]])


@pytest.mark.parametrize(
    "row",
    [
        ["host", "/data", 2, "", False], ["host", "/data", -1, "", False], ["host", "/data", "/etc", "", False],
        ["host", "/data", True, "", False], ["host", "/data", 0, "..", False],
        ["host", "/data", 0, "a/../../b", False], ["host", "/data", 0, "/etc", False],
        ["host", "/data", 0, "a//b", False], ["host", "/data", 0, ".", False], ["host", "/data", 0, "a\0b", False],
        ["host", "/data", 0, "", 0], ["host", "/data", 0, "x" * 2000, False], ["host", "/data", 0, "", False, "rw"],
        ["host", "/usr/lib", 0, "", False], ["host", "/", 0, "", False], ["host", "/opt", 0, "", False],
        ["host", "data", 0, "", False], ["host", "/data/..", 0, "", False], ["host", "/data/", 0, "", False],
        ["nfs", "/data", 1, "", False], ["tmpfs", "/data", 0], ["tmpfs", "/data", 10241], ["tmpfs", "/data", "1"],
        ["overlay", "/data", 0, "", False], [], "host", None, {"host": 1},
    ],
)  # fmt: skip
def test_no_mount_names_a_path_of_the_host_or_covers_the_sandboxs_own(row: Any) -> None:
    with pytest.raises(Refused):
        parse(["try", 1, [row], [7, 8]])


def test_mounts_do_not_overlap_and_are_at_most_five() -> None:
    for paths in (["/a", "/a"], ["/a", "/a/b"], ["/a/b", "/a"], ["/a", "/b", "/c", "/d", "/e", "/f"]):
        with pytest.raises(Refused):
            parse(["try", 1, [["tmpfs", path, 1] for path in paths], [7, 8]])

    assert isinstance(parse(["try", 1, [["tmpfs", path, 1] for path in ("/a", "/ab", "/a.b")], [7, 8]]), Try)


@pytest.mark.parametrize("owner", [None, [], [7], [0, 7], [7, 0], [-1, 7], [65535, 7], [True, 7], ["7", 7], [7, 8, 9]])
def test_an_owner_is_an_ordinary_user_and_group(owner: Any) -> None:
    with pytest.raises(Refused):
        parse(["open", 1, "Python3.12", "none", owner])


@pytest.mark.parametrize(
    "message",
    [
        None, 7, "open", {}, {"open": 1}, [], [[]], ["open"], ["open", 1], ["open", 1, "Python3.12"],
        ["open", 1, "Python3.12", "none", "more"], ["open", -1, "Python3.12", "none"],
        ["open", True, "Python3.12", "none"], ["open", 1.0, "Python3.12", "none"], ["open", 1, 3.12, "none"],
        ["open", 1, "../etc", "none"], ["open", 1, "", "none"], ["open", 1, "x" * 65, "none"],
        ["open", 1, "a\nb", "none"], ["open", 1, "a\0", "none"], ["open", 1, "Python3.12", "10.0.0.1"],
        ["open", 1, "Python3.12", ""], ["open", 1, "Python3.12", "fgd0/1"], ["open", 1, "Python3.12", ["lab"]],
        ["try", 1], ["try", 1, [], None],
        ["resize"], ["resize", 1, "i-1", 512], ["resize", 1, "i-1", 512, 600, 1], ["resize", "1", "i-1", 512, 600],
        ["resize", 1, "../x", 512, 600], ["resize", 1, "i-1", 0, 600], ["resize", 1, "i-1", 1 << 21, 600],
        ["resize", 1, "i-1", True, 600], ["resize", 1, "i-1", 512, 0], ["resize", 1, "i-1", 512, None],
        ["kill"], ["kill", None], ["kill", "i-1/.."], ["kill", "i-1\n"], ["spawn", "/bin/sh"],
        ["bind", "i-1", DIGEST], ["bind", "i-1", DIGEST, LIMITS], ["bind", "i-1", "../" + "a" * 64, LIMITS, {}],
        ["bind", "i-1", "a/b", LIMITS, {}], ["bind", "i-1", DIGEST + "\n", LIMITS, {}],
        ["bind", "i-1", DIGEST, LIMITS[:5], {}], ["bind", "i-1", DIGEST, "123456", {}],
        ["bind", "i-1", DIGEST, [0, *LIMITS[1:]], {}], ["bind", "i-1", DIGEST, [*LIMITS[:5], 1 << 40], {}],
        ["bind", "i-1", DIGEST, [None, *LIMITS[1:]], {}], ["bind", "i-1", DIGEST, [[128], *LIMITS[1:]], {}],
        ["bind", "i-1", DIGEST, LIMITS, []], ["bind", "i-1", DIGEST, LIMITS, {"path": "/etc"}],
        ["bind", "i-1", DIGEST, LIMITS, {"door": 1}], ["bind", "i-1", DIGEST, LIMITS, {"door": "8320"}],
        ["bind", "i-1", DIGEST, LIMITS, {"dependencies": DIGEST}],
        ["bind", "i-1", DIGEST, LIMITS, {"dependencies": ["../" + "a" * 64]}],
        ["bind", "i-1", DIGEST, LIMITS, {"dependencies": [7]}],
        ["bind", "i-1", DIGEST, LIMITS, {"dependencies": [OTHER] * 21}],
    ],
)  # fmt: skip
def test_anything_else_is_refused(message: Any) -> None:
    with pytest.raises(Refused):
        parse(message)


def test_a_request_with_the_most_dependencies_is_not_too_long() -> None:
    assert 20 == len(parse(["bind", "i-1", DIGEST, LIMITS, {"dependencies": [OTHER] * 20}]).dependencies)  # type: ignore[union-attr]


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[" * 4000, b"NaN", b"[1" + b" " * REQUEST_BYTES + b"]"])
def test_what_is_not_json_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        parse_request(data)


def test_blanks_are_made_with_the_default_limits() -> None:
    """The launcher is stdlib only and keeps its own copy; both must be the same."""
    limits = Limits()
    own = (limits.memory_mib, limits.cpu_mcpu, limits.pids, limits.open_files, limits.tmp_mib, limits.tmp_inodes)

    assert own == tuple(DEFAULT_LIMITS)


def test_failure_text_reads_reports_and_survives_junk() -> None:
    assert "mount /tmp: No such file or directory" == failure_text(b'{"step": "mount", "path": "/tmp", "errno": 2}')
    assert "limit: too high" == failure_text(b'{"step": "limit", "path": "", "text": "too high"}')
    assert '{"step": 1}' == failure_text(b'{"step": 1}')
    assert "[E] no" == failure_text(b"[E] no\n")


def test_code_root_opens_only_folders_that_are_really_in_it(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / "aa").mkdir(parents=True)
    (root / "file").touch()
    (root / "link").symlink_to("aa")
    (root / "out").symlink_to("/etc")
    code = CodeRoot(str(root))
    try:
        os.close(code.open("aa"))
        for name in ("bb", "file", "link", "out", "..", "../code/aa", "/etc", "aa/../.."):
            with pytest.raises(OSError):
                code.open(name)
    finally:
        os.close(code.fd)
