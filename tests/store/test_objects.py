"""The object store without a daemon: names, lists, quotas, conditions, uploads, what a crash leaves, full disks."""

import functools
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fgd.errors import StorageFull
from fgd.store import object_journal
from fgd.store.object_types import BUCKETS_MAX, Actor, Conditions, ObjectError, StoredObject, check_bucket, check_key
from fgd.store.object_uploads import Uploads
from fgd.store.objects import ObjectStore
from fgd.units import MIB

ME = Actor(principal="me", address="192.0.2.3", request_id="r1")
PROJECT = "p1"
BUCKET = "box"


def in_trio[**P](test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """The test in a trio run."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(functools.partial(test, *args, **kwargs))

    return run


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at_s


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None, quota_mib: int = 64) -> AsyncIterator[ObjectStore]:
    store = await ObjectStore.open(folder, folder / "objects", clock or Clock(), quota_mib)
    try:
        yield store
    finally:
        await store.aclose()


async def put(store: ObjectStore, key: str, data: bytes = b"x", bucket: str = BUCKET, **more: object) -> StoredObject:
    async with store.incoming(PROJECT) as incoming:
        await incoming.write(data)
        writer = await incoming.finish()
        return await store.put(PROJECT, bucket, key, writer, ME, **more)  # type: ignore[arg-type]  # passed on


async def read(store: ObjectStore, key: str) -> bytes:
    _, file = await store.open_blob(PROJECT, BUCKET, key)
    with file:
        return file.read()


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "name",
    ["", "a", "ab", "A-b", "a_b", "-ab", "ab-", "a..b", "../x", "a/b", "a\0b", "ab\n", "bücket", "a" * 64],
)
def test_names_that_are_no_buckets(name: str) -> None:
    with pytest.raises(ObjectError, match=r"^bucket: must be 3 to 63"):
        check_bucket(name)


@pytest.mark.parametrize(
    "key", ["", "..", ".", "a/../b", "a/..", "./a", "a\0b", "a\nb", "\x7f", "\ud800", "k" * 1025, "ü" * 513, "\uffff"]
)
def test_texts_that_are_no_keys(key: str) -> None:
    with pytest.raises(ObjectError, match=r"^key: "):
        check_key(key)


@pytest.mark.parametrize("key", ["a", "/a", "a//b", "a/...", "..a", "ü/日本/😀", "k" * 1024, "a b+c%d?e&f", "C:\\x"])
@in_trio
async def test_every_other_text_is_a_key_and_never_a_path(tmp_path: Path, key: str) -> None:
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)
        made = await put(store, key, b"hello")
        listed = await store.page(PROJECT, BUCKET)
        data = await read(store, key)
    [file] = files(tmp_path)

    assert b"hello" == data
    assert [key] == [one.key for one in listed.objects]
    assert hashlib.md5(b"hello").hexdigest() == made.etag
    assert file.is_relative_to(tmp_path / "objects" / PROJECT)
    assert made.blob == file.name


@in_trio
async def test_projects_share_no_buckets(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)
        await put(store, "k")
        await store.create_bucket("p2", BUCKET)
        with pytest.raises(ObjectError, match="no such object"):
            await store.head("p2", BUCKET, "k")
        await store.delete_bucket("p2", BUCKET)
        with pytest.raises(ObjectError, match="no bucket"):
            await store.page("p2", BUCKET)

        assert b"x" == await read(store, "k")
        assert 0 == store.used_bytes("p2")


@in_trio
async def test_lists_are_in_order_of_bytes_with_common_prefixes_and_pages(tmp_path: Path) -> None:
    keys = ["a", "a/1", "a/2", "a0", "b/1", "b/2/3", "é", "\U0001f600", "\uffa0"]
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)
        for key in keys:
            await put(store, key)
        whole = await store.page(PROJECT, BUCKET)
        grouped = await store.page(PROJECT, BUCKET, delimiter="/")
        inside = await store.page(PROJECT, BUCKET, prefix="b/", delimiter="/")
        pages, after = [], ""
        while True:
            page = await store.page(PROJECT, BUCKET, delimiter="/", after=after, most=2)
            pages.append([*[one.key for one in page.objects], *page.prefixes])
            after = page.last
            if not page.truncated:
                break

    assert sorted(keys, key=lambda key: key.encode()) == [one.key for one in whole.objects]
    assert ["a/", "b/"] == grouped.prefixes
    assert ["a", "a0", "é", "\uffa0", "\U0001f600"] == [one.key for one in grouped.objects]
    assert (["b/1"], ["b/2/"]) == ([one.key for one in inside.objects], inside.prefixes)
    assert [["a", "a/"], ["a0", "b/"], ["é", "\uffa0"], ["\U0001f600"]] == pages


@in_trio
async def test_over_the_quota_nothing_is_stored_and_nothing_stays(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_mib=1) as store:
        await store.create_bucket(PROJECT, BUCKET)
        await put(store, "small", b"x" * 1000)
        used = store.used_bytes(PROJECT)
        with pytest.raises(ObjectError, match="over 1 MiB") as refused:
            await put(store, "large", b"x" * MIB)
        assert used == store.used_bytes(PROJECT)
        with pytest.raises(ObjectError, match="no such object"):
            await store.head(PROJECT, BUCKET, "large")
        await store.delete(PROJECT, BUCKET, "small", "", ME)
        assert 0 == store.used_bytes(PROJECT)

    assert ("QuotaExceeded", 403) == (refused.value.name, refused.value.status)
    assert [] == files(tmp_path)


@in_trio
async def test_empty_objects_count_as_well(tmp_path: Path) -> None:
    async with opened(tmp_path, quota_mib=1) as store:
        await store.create_bucket(PROJECT, BUCKET)
        with pytest.raises(ObjectError, match="over 1 MiB"):
            for number in range(300):
                await put(store, str(number), b"")

    async with opened(tmp_path, quota_mib=1) as store:
        assert 256 == len((await store.page(PROJECT, BUCKET)).objects)
        with pytest.raises(ObjectError, match="over 1 MiB"):
            await put(store, "more", b"")


@in_trio
async def test_a_project_has_so_many_buckets(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(BUCKETS_MAX):
            await store.create_bucket(PROJECT, f"b-{number}")
        with pytest.raises(ObjectError, match="has 100 buckets"):
            await store.create_bucket(PROJECT, "b-more")
        await store.create_bucket(PROJECT, "b-7", may_exist=True)

        assert BUCKETS_MAX == len(await store.buckets(PROJECT))


@in_trio
async def test_conditions_are_met_by_one_of_two_writers(tmp_path: Path) -> None:
    outcomes = []
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)

        async def write(text: bytes) -> None:
            try:
                await put(store, "k", text, conditions=Conditions(none_match=("*",)))
                outcomes.append("stored")
            except ObjectError as error:
                outcomes.append(error.name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, b"one")
            nursery.start_soon(write, b"two")

    assert ["PreconditionFailed", "stored"] == sorted(outcomes)
    assert 1 == len(files(tmp_path))


@in_trio
async def test_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)
        await put(store, "k", b"old")
        _, file = await store.open_blob(PROJECT, BUCKET, "k")
        _, held = await store.hold(PROJECT, BUCKET, "k")
        await put(store, "k", b"new")
        with file:
            assert b"old" == file.read()
        assert b"old" == held.read_bytes()
        assert b"new" == await read(store, "k")


@in_trio
async def test_parts_become_an_object_and_an_aborted_upload_leaves_nothing(tmp_path: Path) -> None:
    big, small = b"a" * (5 * MIB), b"b" * 10
    async with opened(tmp_path) as store:
        uploads = Uploads(store)
        await store.create_bucket(PROJECT, BUCKET)

        async def part(upload: str, number: int, data: bytes) -> str:
            async with store.incoming(PROJECT) as incoming:
                await incoming.write(data)
                return await uploads.put_part(PROJECT, BUCKET, "k", upload, number, await incoming.finish())

        upload = await uploads.start(PROJECT, BUCKET, "k", "text/plain", {})
        etags = [(1, await part(upload, 1, big)), (2, await part(upload, 2, small))]
        with pytest.raises(ObjectError, match="not empty"):
            await store.delete_bucket(PROJECT, BUCKET)
        with pytest.raises(ObjectError, match="by their numbers"):
            await uploads.complete(PROJECT, BUCKET, "k", upload, etags[::-1], ME, Conditions())
        with pytest.raises(ObjectError, match="part 2"):
            await uploads.complete(PROJECT, BUCKET, "k", upload, [etags[0], (2, "0" * 32)], ME, Conditions())
        made = await uploads.complete(PROJECT, BUCKET, "k", upload, etags, ME, Conditions())
        other = await uploads.start(PROJECT, BUCKET, "k", "", {})
        await part(other, 1, big)
        await uploads.abort(PROJECT, BUCKET, "k", other)
        with pytest.raises(ObjectError, match="uploadId"):
            await part(other, 2, small)
        old = await uploads.start(PROJECT, BUCKET, "k", "", {})
        await part(old, 1, small)
        await uploads.tidy(store.now_s() + 1)

        assert big + small == await read(store, "k")
        assert made.etag.endswith("-2")
        assert len(big + small) == store.used_bytes(PROJECT)
    assert 1 == len(files(tmp_path))


@in_trio
async def test_what_a_writer_gave_up_or_a_crash_left_is_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create_bucket(PROJECT, BUCKET)
        made = await put(store, "kept", b"kept")
        with pytest.raises(ValueError, match="gone"):
            async with store.incoming(PROJECT) as incoming:
                await incoming.write(b"x" * MIB)
                raise ValueError("the client is gone")
        assert 1 == len(files(tmp_path))
        named = store.blobs.path(PROJECT, made.blob)
    orphan = named.with_name("0" * 32)
    orphan.write_bytes(b"placed, and then the power went")
    os.utime(orphan, (0, 0))
    (tmp_path / "objects" / ".tmp" / "1").write_bytes(b"half")
    os.utime(named, (0, 0))
    async with opened(tmp_path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        with trio.fail_after(10):
            while orphan.exists():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()

    assert [named] == files(tmp_path)


@in_trio
async def test_expired_objects_go_with_an_event(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        await store.put_bytes(
            PROJECT, BUCKET, "k", b"{}", ME, content_type="application/json", expires_s=clock.at_s + 60
        )  # fmt: skip
        await put(store, "stays")
        clock.at_s += 61
        await store.tidy()
        names = [one.name for one in await store.journal.events(PROJECT, BUCKET, 0, 10)]

        assert ["stays"] == [one.key for one in (await store.page(PROJECT, BUCKET)).objects]
    assert ["ObjectCreated:Put", "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated"] == names


@in_trio
async def test_changes_are_kept_for_their_readers_and_then_removed(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        journal = store.journal
        await store.create_bucket(PROJECT, BUCKET)
        await put(store, "before")
        clock.at_s += 1
        since = clock.at_s
        for number in range(3):
            await put(store, str(number))
        begin = await journal.before(PROJECT, BUCKET, since)
        events = await journal.events(PROJECT, BUCKET, begin, 10)
        assert ["0", "1", "2"] == [one.key for one in events]
        journal.watch("reader", PROJECT, BUCKET, events[0].seq)
        clock.at_s += object_journal.EVENT_GRACE_S + 1
        await store.tidy()
        assert ["1", "2"] == [one.key for one in await journal.events(PROJECT, BUCKET, 0, 10)]
        journal.leave("reader")
        await store.tidy()

        assert [] == await journal.events(PROJECT, BUCKET, 0, 10)


@in_trio
async def test_too_many_waiting_changes_are_backpressure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_journal, "EVENTS_MAX", 3)
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        await store.create_bucket(PROJECT, BUCKET)
        for number in range(3):
            await put(store, str(number))
        with pytest.raises(ObjectError) as refused:
            await put(store, "more")
        with pytest.raises(ObjectError):
            await store.delete(PROJECT, BUCKET, "0", "", ME)
        clock.at_s += object_journal.EVENT_GRACE_S + 1
        await store.tidy()
        await put(store, "more")

        assert 4 == len((await store.page(PROJECT, BUCKET)).objects)
    assert ("SlowDown", 503) == (refused.value.name, refused.value.status)


def test_a_failing_disk_ends_neither_task_that_clears_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def fails_once(what: str, error: Exception) -> None:
        calls.append(what)
        if calls.count(what) == 1:
            raise error

    class Failing(ObjectStore):
        async def _sweep_blobs(self) -> None:
            fails_once("files", OSError(5, "Input/output error"))

        async def tidy(self) -> None:
            fails_once("objects", StorageFull("the disk is full"))

    class FailingUploads(Uploads):
        async def tidy(self, before_s: float) -> None:
            fails_once("uploads", StorageFull("the disk is full"))

    async def main() -> None:
        store = await Failing.open(tmp_path, tmp_path / "objects", Clock(), 1)
        with trio.move_on_after(4 * 3600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run)
                nursery.start_soon(FailingUploads(store).run)
        await store.aclose()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert 2 == calls.count("files"), "again after it failed, and no more once it is done"
    assert calls.count("objects") > 2
    assert calls.count("uploads") > 2
    assert "what has expired and what nothing names stays for now: the disk is full" in caplog.text
    assert "uploads that nobody completes stay for now" in caplog.text
