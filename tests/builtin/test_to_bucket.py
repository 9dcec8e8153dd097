"""Outcomes as files: where they go, that they are whole, that they go away, and that no name leads elsewhere."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.builtin.to_bucket import BucketDestination
from fgd.plugin import BadDestination, Undeliverable
from tests.builtin.node import PlainNode, delivery

NAME = "20261126T224000Z-1167bf8c-87b0-43ab-8f5f-26b16c64f2{:02}-{}.json"


def write(node: PlainNode, param: dict[str, Any], **fields: Any) -> None:
    kind = BucketDestination(node)
    trio.run(kind.deliver, delivery(**fields), kind.parse(param))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_has_time_request_and_outcome_in_its_name(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path / "buckets")
    write(node, {"bucket": "results"}, document=b'{"a":1}')
    write(node, {"bucket": "results", "prefix": "bad/x-"}, number=2, success=False)

    assert [
        "p1/results/" + NAME.format(1, "success"), "p1/results/bad/x-" + NAME.format(2, "failure")
    ] == files(tmp_path / "buckets")  # fmt: skip
    assert b'{"a":1}' == (tmp_path / "buckets/p1/results" / NAME.format(1, "success")).read_bytes()


def test_a_repeated_delivery_writes_the_same_file(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path)
    for document in (b"{}", b'{"again":1}'):
        write(node, {"bucket": "results"}, document=document)

    [name] = files(tmp_path)
    assert b'{"again":1}' == (tmp_path / name).read_bytes()


def test_projects_have_buckets_of_their_own(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path)
    for project_id in ("p1", "p2"):
        write(node, {"bucket": "results"}, project_id=project_id)

    assert ["p1", "p2"] == sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Undeliverable):
        write(node, {"bucket": "results"}, project_id="..")


@pytest.mark.parametrize(
    ("param", "field"),
    [
        ({}, "bucket"), ({"bucket": ""}, "bucket"), ({"bucket": "ab"}, "bucket"), ({"bucket": "a" * 64}, "bucket"),
        ({"bucket": "Results"}, "bucket"), ({"bucket": ".expires"}, "bucket"), ({"bucket": "a..b"}, "bucket"),
        ({"bucket": "a/b"}, "bucket"), ({"bucket": 1}, "bucket"), ({"bucket": "abc\x00"}, "bucket"),
        ({"bucket": "abc\n"}, "bucket"),
        ({"bucket": "abc", "prefix": "../x"}, "prefix"), ({"bucket": "abc", "prefix": "/etc/"}, "prefix"),
        ({"bucket": "abc", "prefix": "a//b"}, "prefix"), ({"bucket": "abc", "prefix": "a/./b"}, "prefix"),
        ({"bucket": "abc", "prefix": "a/../../b/"}, "prefix"), ({"bucket": "abc", "prefix": "a/.."}, "prefix"),
        ({"bucket": "abc", "prefix": ".hidden"}, "prefix"), ({"bucket": "abc", "prefix": "a\nb"}, "prefix"),
        ({"bucket": "abc", "prefix": "x" * 1025}, "prefix"), ({"bucket": "abc", "prefix": "a/" * 17}, "prefix"),
        ({"bucket": "abc", "prefix": "x" * 200}, "prefix"), ({"bucket": "abc", "prefix": []}, "prefix"),
        ({"bucket": "abc", "expires": -1}, "expires"), ({"bucket": "abc", "expires": 366}, "expires"),
        ({"bucket": "abc", "expires": "1"}, "expires"), ({"bucket": "abc", "expires": True}, "expires"),
        ({"bucket": "abc", "prefx": "a"}, "prefx"),
    ],
)  # fmt: skip
def test_hostile_and_wrong_settings_name_the_field(tmp_path: Path, param: dict[str, Any], field: str) -> None:
    with pytest.raises(BadDestination, match=f"^{field}: "):
        BucketDestination(PlainNode(destination_dir=tmp_path)).parse(param)


def test_without_a_folder_there_are_no_buckets() -> None:
    with pytest.raises(BadDestination, match="destination_dir"):
        BucketDestination(PlainNode()).parse({"bucket": "results"})


@pytest.mark.parametrize("where", ["p1", "p1/results", "p1/results/deep"])
def test_links_below_the_folder_are_not_followed(tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "buckets" / where
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    node = PlainNode(destination_dir=tmp_path / "buckets")
    with pytest.raises(OSError):
        write(node, {"bucket": "results", "prefix": "deep/"})

    assert [] == list(outside.iterdir())


def test_files_go_when_their_days_are_over(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path)
    write(node, {"bucket": "results", "expires": 1})
    write(node, {"bucket": "results", "expires": 30, "prefix": "month/"}, number=2)
    write(node, {"bucket": "results"}, number=3)
    kind = BucketDestination(node)

    def left(days: float) -> list[str]:
        node.moved_s = days * 86400
        trio.run(kind.tidy)
        return sorted(name.rpartition("f2")[2][:2] for name in files(tmp_path / "p1"))

    assert ["01", "02", "03"] == left(1.0)
    assert ["02", "03"] == left(2.1)
    assert ["03"] == left(400)
    assert [] == files(tmp_path / ".expires")
    assert ["03"] == left(401)


def test_what_a_crash_left_in_a_list_removes_nothing_else(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path)
    write(node, {"bucket": "results"})
    own = files(tmp_path)[0]
    lists = tmp_path / ".expires"
    lists.mkdir()
    other = tmp_path / "p1/results/keep.json"
    other.write_bytes(b"")
    (lists / "2026-11-27").write_text(f"\n{own[:-20]}\n\n../{own}\np1/results/keep.json\np1//x\ngone/{own}\n")
    (lists / "notes.txt").write_text("not a list")
    node.moved_s = 5 * 86400
    trio.run(BucketDestination(node).tidy)

    assert {own, "p1/results/keep.json", ".expires/notes.txt"} == set(files(tmp_path))


def test_nothing_to_tidy_is_no_error(tmp_path: Path) -> None:
    trio.run(BucketDestination(PlainNode()).tidy)
    trio.run(BucketDestination(PlainNode(destination_dir=tmp_path / "a/b")).tidy)

    assert [] == list((tmp_path / "a/b").iterdir())


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        trio.run(BucketDestination(PlainNode(destination_dir=tmp_path / "file")).tidy)


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    node = PlainNode(destination_dir=tmp_path)
    (tmp_path / "p1/results" / NAME.format(1, "success")).mkdir(parents=True)
    with pytest.raises(OSError):
        write(node, {"bucket": "results"})

    assert [] == files(tmp_path)


def test_files_are_for_the_daemon_and_its_group(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write(PlainNode(destination_dir=tmp_path), {"bucket": "results"})
    finally:
        os.umask(mask)
    [name] = files(tmp_path)

    assert 0o640 == (tmp_path / name).stat().st_mode & 0o777
