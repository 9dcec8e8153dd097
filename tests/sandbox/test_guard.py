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
    Kill,
    LimitValues,
    Open,
    Refused,
    failure_text,
    parse_request,
)
from fgd.sandbox.launcher_sandbox import DEFAULT_LIMITS

DIGEST = "ab" * 64
OTHER = "cd" * 64
LIMITS = [128, 300, 1024, 2048, 512, 65536]


def parse(message: Any) -> Open | Bind | Kill:
    return parse_request(json.dumps(message).encode())


def test_the_three_requests_are_understood() -> None:
    assert Open(7, "Python3.12") == parse(["open", 7, "Python3.12"])
    assert Open(8, "C#(.NET Core 3.1)") == parse(["open", 8, "C#(.NET Core 3.1)"])
    assert Bind("i-1", DIGEST, LimitValues(*LIMITS)) == parse(["bind", "i-1", DIGEST, LIMITS, {}])
    bound = Bind("i-1", DIGEST, LimitValues(*LIMITS), (OTHER,))
    assert bound == parse(["bind", "i-1", DIGEST, LIMITS, {"dependencies": [OTHER]}])
    assert Kill("i-1") == parse(["kill", "i-1"])


@pytest.mark.parametrize(
    "message",
    [
        None, 7, "open", {}, {"open": 1}, [], [[]], ["open"], ["open", 1], ["open", 1, "Python3.12", "more"],
        ["open", -1, "Python3.12"], ["open", True, "Python3.12"], ["open", 1.0, "Python3.12"], ["open", 1, 3.12],
        ["open", 1, "../etc"], ["open", 1, ""], ["open", 1, "x" * 65], ["open", 1, "a\nb"], ["open", 1, "a\0"],
        ["kill"], ["kill", None], ["kill", "i-1/.."], ["kill", "i-1\n"], ["spawn", "/bin/sh"],
        ["bind", "i-1", DIGEST], ["bind", "i-1", DIGEST, LIMITS], ["bind", "i-1", "../" + "a" * 64, LIMITS, {}],
        ["bind", "i-1", "a/b", LIMITS, {}], ["bind", "i-1", DIGEST + "\n", LIMITS, {}],
        ["bind", "i-1", DIGEST, LIMITS[:5], {}], ["bind", "i-1", DIGEST, "123456", {}],
        ["bind", "i-1", DIGEST, [0, *LIMITS[1:]], {}], ["bind", "i-1", DIGEST, [*LIMITS[:5], 1 << 40], {}],
        ["bind", "i-1", DIGEST, [None, *LIMITS[1:]], {}], ["bind", "i-1", DIGEST, [[128], *LIMITS[1:]], {}],
        ["bind", "i-1", DIGEST, LIMITS, []], ["bind", "i-1", DIGEST, LIMITS, {"path": "/etc"}],
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
