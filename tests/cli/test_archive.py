"""A folder becomes the same package wherever and whenever it is packed."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from fgd.cli.archive import pack
from fgd.cli.report import UsageError


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def _names(archive: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(archive)).namelist()


def test_the_same_content_gives_the_same_bytes_whatever_times_and_order(tmp_path: Path) -> None:
    one = _write(tmp_path / "one", index_py="x = 1\n", lib__a_py="a = 1\n")
    two = _write(tmp_path / "two", lib__a_py="a = 1\n", index_py="x = 1\n")
    os.utime(two / "index.py", (1, 1))
    (two / "index.py").chmod(0o600)

    assert pack(one) == pack(two)
    assert ["index.py", "lib/a.py"] == _names(pack(one))


def test_execute_bit_is_kept(tmp_path: Path) -> None:
    folder = _write(tmp_path, run="#!/bin/sh\n", index_py="")
    (folder / "run").chmod(0o755)

    infos = {info.filename: info for info in zipfile.ZipFile(io.BytesIO(pack(folder))).infolist()}

    assert 0o755 == infos["run"].external_attr >> 16 & 0o777
    assert 0o644 == infos["index.py"].external_attr >> 16 & 0o777


def test_caches_and_what_fgdignore_names_are_left_out(tmp_path: Path) -> None:
    folder = _write(tmp_path, index_py="", data__big="", data__deep__big="", secret__key="", keep__secret="")
    for name in ("__pycache__/index.pyc", "a/debug.log", ".git/config"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("")
    (folder / ".fgdignore").write_text("# comment\n*.log\n\ndata/big\nsecret/\n")

    assert ["data/deep/big", "index.py", "keep/secret"] == _names(pack(folder))


def test_one_file_becomes_a_package_of_it(tmp_path: Path) -> None:
    _write(tmp_path, hello_py="x = 1\n")

    assert ["hello.py"] == _names(pack(tmp_path / "hello.py"))


def test_a_zip_is_taken_as_it_is(tmp_path: Path) -> None:
    archive = pack(_write(tmp_path / "code", index_py=""))
    (tmp_path / "code.zip").write_bytes(archive)

    assert archive == pack(tmp_path / "code.zip")


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    _write(tmp_path, outside="secret")
    folder = _write(tmp_path / "code", index_py="")
    (folder / "link").symlink_to(target)

    with pytest.raises(UsageError, match="link"):
        pack(folder)


def test_a_link_inside_of_the_folder_is_followed(tmp_path: Path) -> None:
    folder = _write(tmp_path, index_py="x = 1\n")
    (folder / "same.py").symlink_to("index.py")

    assert ["index.py", "same.py"] == _names(pack(folder))


def test_a_linked_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path, index_py="", real__a="")
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="pipe"):
        pack(folder)
    (folder / "pipe").unlink()
    (folder / "linked").symlink_to("real")

    with pytest.raises(UsageError, match="linked"):
        pack(folder)


def test_nothing_to_pack_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no files"):
        pack(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        pack(tmp_path / "missing")
