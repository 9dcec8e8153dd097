"""The kind `OBS`: the notification becomes a file below the node's folder of buckets (setting `destination_dir`).

    {"bucket": "results", "prefix": "failed/", "expires": 30}

A bucket is a folder of its project, `<destination_dir>/<project id>/<bucket>`, made with the first file. The file is
called `<prefix><time>-<request id>-<success or failure>.json`; a slash in the prefix makes folders, as in object
storage. A repeated delivery writes the same file again.

`expires` are days, 0 for ever. Which file goes on which day stands in lists, `<destination_dir>/.expires/<day>`, one
path a line, written before the file is: so nothing is searched for, and a crash leaves no file that nobody removes.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import trio

from fgd.builtin import fields
from fgd.plugin import BadDestination, Delivery, Node, Undeliverable

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9!_.*'()=@+-]{1,128}\Z")
_PROJECT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_PREFIX_MAX_CHARS: Final = 1024
_DEPTH_MAX: Final = 16
_EXPIRES_MAX_DAYS: Final = 365
_LISTS: Final = ".expires"
_OURS: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f-]{36}-(?:success|failure)\.json\Z")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\Z")
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where files go. `folders`: those of the prefix; `start`: how the files' names begin."""

    name: str
    folders: tuple[str, ...]
    start: str
    expires_days: int


class BucketDestination:
    """Writes files."""

    kind = "OBS"

    def __init__(self, node: Node) -> None:
        self._now_s = node.now_s
        self._root = Path(node.config.destination_dir) if node.config.destination_dir else None

    def parse(self, param: Mapping[str, Any]) -> Bucket:
        if self._root is None:
            raise BadDestination(
                "bucket: this node has no folder for buckets; its operator can name one (setting destination_dir)"
            )
        fields.only(param, "bucket", "prefix", "expires")
        bucket = fields.text(param, "bucket", 63)
        if not _BUCKET.match(bucket) or ".." in bucket:
            raise BadDestination(
                "bucket: must be 3 to 63 lower-case letters, digits, hyphens and single periods, with a letter or digit"
                " at both ends"
            )
        prefix = fields.text(param, "prefix", _PREFIX_MAX_CHARS, needed=False)
        *folders, start = prefix.split("/")
        wrong = [one for one in (*folders, start or "x") if not _SEGMENT.match(one) or one in (".", "..")]
        if wrong or len(folders) > _DEPTH_MAX or start.startswith("."):
            raise BadDestination(
                f"prefix: must be at most {_DEPTH_MAX} parts with a slash after each, of letters, digits and"
                " !_.*'()=@+-, none of them empty, . or .., and no file name that begins with a period"
            )
        expires = fields.whole(param, "expires", 0, _EXPIRES_MAX_DAYS)
        return Bucket(bucket, tuple(folders), start, expires)

    async def deliver(self, delivery: Delivery, settings: Bucket) -> None:
        # A disk that hangs must not hold up what else there is to deliver; the same file may be written twice.
        await trio.to_thread.run_sync(self._write, delivery, settings, abandon_on_cancel=True)

    async def tidy(self) -> None:
        await trio.to_thread.run_sync(self._sweep)

    # --- in a thread -------------------------------------------------------------------------------------

    def _write(self, delivery: Delivery, bucket: Bucket) -> None:
        assert self._root is not None
        if not _PROJECT.match(delivery.project_id):
            raise Undeliverable(f"the project id {delivery.project_id!r} cannot be a folder")
        ended = datetime.fromtimestamp(delivery.created_s, UTC)
        outcome = "success" if delivery.success else "failure"
        name = f"{bucket.start}{ended:%Y%m%dT%H%M%SZ}-{delivery.request_id}-{outcome}.json"
        folders = (delivery.project_id, bucket.name, *bucket.folders)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o750)
        if bucket.expires_days:
            # The day after the last one that it is kept, so that it is never kept for less.
            day = (datetime.fromtimestamp(self._now_s(), UTC) + timedelta(days=bucket.expires_days + 1)).date()
            with _folder(self._root, (_LISTS,), make=True) as lists:
                _append(lists, day.isoformat(), "/".join((*folders, name)))
        with _folder(self._root, folders, make=True) as folder:
            _replace(folder, name, delivery.document)

    def _sweep(self) -> None:
        """Removes the files whose day has come. A folder that cannot be written to is told at the start, by raising."""
        if self._root is None:
            return
        self._root.mkdir(parents=True, exist_ok=True, mode=0o750)
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(f"destination_dir: {self._root} cannot be written to by the daemon's user")
        if not (self._root / _LISTS).is_dir():
            return
        today = datetime.fromtimestamp(self._now_s(), UTC).date().isoformat()
        with _folder(self._root, (_LISTS,), make=False) as lists:
            for day in sorted(entry.name for entry in os.scandir(lists)):
                if not _DAY.match(day) or day > today:
                    continue
                fd = os.open(day, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=lists)
                with os.fdopen(fd, encoding="utf-8") as lines:
                    for line in lines:
                        self._remove(line.strip())
                os.unlink(day, dir_fd=lists)

    def _remove(self, path: str) -> None:
        assert self._root is not None
        *folders, name = path.split("/")
        if not _OURS.search(name) or any(one in ("", ".", "..") for one in folders):
            return  # an empty line, or half a one from a crash: then the file was not written
        with suppress(FileNotFoundError, NotADirectoryError), _folder(self._root, folders, make=False) as folder:
            os.unlink(name, dir_fd=folder)


@contextmanager
def _folder(root: Path, names: "tuple[str, ...] | list[str]", *, make: bool) -> Iterator[int]:
    """A descriptor of a folder below the root. No link is followed: others may write there too."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o750, dir_fd=fd)
                    os.fsync(fd)
            inner = os.open(name, _FOLDER_FLAGS, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def _append(folder: int, name: str, path: str) -> None:
    """Adds a line to a list; the line end before it ends what a crash may have left half."""
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=folder)
    try:
        os.write(fd, f"\n{path}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(folder: int, name: str, data: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut."""
    part = f".{name}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(part, flags, 0o640, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)
