"""Hostile and broken archives: a clear error that names the entry, and nothing left behind."""

import io
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fgd.errors import BadCode
from fgd.store.code import FolderCodeStore
from tests.store.zips import entry, file, link, make_zip, rename_in_place, zip_of

PLAIN = make_zip({"aaaaaa": "x" * 100, "bbbbbb": "y" * 100}, zipfile.ZIP_STORED)


def overlapping() -> bytes:
    """The second entry's header points into the first, as in a quine or an overlap bomb."""
    data = bytearray(PLAIN)
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(make_zip({"aaaaaa": "x"}, zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def wrong_crc() -> bytes:
    return PLAIN.replace(b"x" * 100, b"x" * 99 + b"!")


def lying_size() -> bytes:
    """The directory says 10 bytes, the stream holds 100,000."""
    data = bytearray(make_zip({"aaaaaa": "x" * 100_000}))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 10)
    return bytes(data)


def twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zip_of(file("same.py"), file("same.py"))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a ZIP"),
    "text": (lambda: b"PK but not really", "not a ZIP"),
    "no entries": (lambda: make_zip({}), "is empty"),
    "cut off": (lambda: PLAIN[:150], "not a ZIP"),
    "cut inside the directory": (lambda: PLAIN[:-60] + PLAIN[-22:], "not a ZIP"),
    "prefix": (lambda: b"#!/bin/sh\n" * 20 + PLAIN, "begins with bytes"),
    "absolute": (lambda: make_zip({"/etc/x": ""}), "'/etc/x': the name is absolute"),
    "parent": (lambda: make_zip({"a/../../x": ""}), r"'a/../../x': the name leaves the folder"),
    "backslash": (lambda: make_zip({"..\\x": ""}), "backslash"),
    "nul": (lambda: rename_in_place(PLAIN, "aaaaaa", "aaa\0aa"), "NUL"),
    "newline": (lambda: make_zip({"a\nb": ""}), "control character"),
    "long part": (lambda: make_zip({"x" * 256: ""}), "too long"),
    "long path": (lambda: make_zip({"/".join(["x" * 200] * 6): ""}), "too long"),
    "deep": (lambda: make_zip({"d/" * 101 + "f": ""}), "101 folders deep|102 folders deep"),
    "twice": (twice, "'same.py': is in the archive twice"),
    "file as folder": (lambda: make_zip({"a": "x", "a/b": "y"}), "'a/b': lies below 'a', which is no folder"),
    "folder as file": (lambda: make_zip({"a/b": "y", "a": "x"}), "'a': is in the archive twice"),
    "through a link": (lambda: zip_of(link("a", "b"), file("a/x")), "'a/x': lies below 'a', which is no folder"),
    "link out": (lambda: zip_of(link("a", "../../etc/passwd")), "'a': the link to '../../etc/passwd' leaves"),
    "absolute link": (lambda: zip_of(link("a", "/etc/passwd")), "'a': the link's target is empty, absolute"),
    "chained links": (lambda: zip_of(file("a/b/f"), link("a/b/up", "../.."), link("out", "a/b/up/../x")), "leaves"),
    "long link": (lambda: zip_of(link("a", "x" * 2000)), "target is too long"),
    "device": (lambda: zip_of((entry("null", stat.S_IFCHR | 0o666), b"")), "'null': is a device"),
    "pipe": (lambda: zip_of((entry("pipe", stat.S_IFIFO | 0o666), b"")), "'pipe': is a device"),
    "bzip2": (lambda: make_zip({"a": "x" * 1000}, zipfile.ZIP_BZIP2), "'a': is compressed by method 12"),
    "lzma": (lambda: make_zip({"a": "x" * 1000}, zipfile.ZIP_LZMA), "'a': is compressed by method 14"),
    "encrypted": (encrypted, "'aaaaaa': is encrypted"),
    "wrong crc": (wrong_crc, "'aaaaaa': Bad CRC-32"),
    "lying size": (lying_size, "'aaaaaa': "),
    "overlap": (overlapping, "overlaps another entry"),
    "too many": (lambda: make_zip({f"f{number}": "" for number in range(60)}), "more than 50 files"),
    "too many folders": (lambda: make_zip({"/".join(f"d{n}" for n in range(60)) + "/": ""}), "more than 50 files"),
    "too large": (lambda: make_zip({"a": bytes(5 << 20)}), "more than 4 MiB"),
    "too large together": (lambda: make_zip({f"f{number}": bytes(1 << 20) for number in range(5)}), "more than 4 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_archive_is_refused_by_name_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    code = FolderCodeStore(tmp_path, unpacked_max_mib=4, unpacked_max_files=50)
    archive = make()
    with pytest.raises(BadCode, match=message):
        trio.run(code.add_zip, archive)

    assert [] == [path for name in ("code", "packages", "tmp") for path in (tmp_path / name).iterdir()]


def test_a_bomb_that_lies_about_every_size_is_stopped_by_the_count(tmp_path: Path) -> None:
    code = FolderCodeStore(tmp_path, unpacked_max_mib=4, unpacked_max_files=50)
    data = bytearray(make_zip({"aaaaaa": bytes(50 << 20)}))
    for at, offset in ((0, 22), (data.index(b"PK\x01\x02"), 24)):
        data[at + offset : at + offset + 4] = struct.pack("<I", 100)
    begun = time.monotonic()
    with pytest.raises(BadCode, match="'aaaaaa'"):
        trio.run(code.add_zip, bytes(data))

    assert 5 > time.monotonic() - begun


def test_names_that_differ_in_case_are_different_files(tmp_path: Path) -> None:
    code = FolderCodeStore(tmp_path, unpacked_max_mib=4, unpacked_max_files=50)
    package = trio.run(code.add_zip, make_zip({"A.py": "1", "a.py": "2", "./b//c.py": "3", "ключ.py": "4"}))

    assert {"A.py", "a.py", "b", "b/c.py", "ключ.py"} == {
        str(path.relative_to(code.folder(package.digest))) for path in code.folder(package.digest).rglob("*")
    }


def test_set_id_bits_are_not_applied(tmp_path: Path) -> None:
    code = FolderCodeStore(tmp_path, unpacked_max_mib=4, unpacked_max_files=50)
    package = trio.run(code.add_zip, zip_of(file("su", b"x", 0o6755)))

    assert 0o755 == (code.folder(package.digest) / "su").stat().st_mode & 0o7777


def test_a_zip64_archive_is_unpacked(tmp_path: Path) -> None:
    code = FolderCodeStore(tmp_path, unpacked_max_mib=4, unpacked_max_files=50)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("a.py", "w", force_zip64=True) as one:
        one.write(b"x = 1")
    package = trio.run(code.add_zip, target.getvalue())

    assert b"x = 1" == (code.folder(package.digest) / "a.py").read_bytes()
