"""What the object store holds, and the errors that it knows; names are checked here."""

import re
from typing import Final

import msgspec

from fgd.bucket import bucket_fault
from fgd.errors import RequestError

KEY_MAX_BYTES: Final = 1024
META_MAX_BYTES: Final = 2048
PART_MAX: Final = 10_000
LIST_MAX: Final = 1000
#: Smallest part of an upload but the last, as S3 has it.
PART_MIN_BYTES: Final = 5 * 1024 * 1024
_PROJECT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]")


#: Of a project, as the cloud has it.
BUCKETS_MAX: Final = 100
#: Of a project, begun and not completed.
UPLOADS_MAX: Final = 1000
#: An object takes at least a block, and its row and its event.
ROOM_MIN_BYTES: Final = 4096


def room_of(size: int) -> int:
    """Bytes that an object counts against the quota of its project."""
    return max(size, ROOM_MIN_BYTES)


class ObjectError(RequestError):
    """What a request to the object store cannot have."""

    def __init__(self, name: str, status: int, message: str) -> None:
        """`name` as S3 has it, such as NoSuchKey; `status` of HTTP."""
        super().__init__(message)
        self.name = name
        self.status = status
        self.status_hint = status  # type: ignore[misc]  # one class for all errors of S3


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of a project."""

    name: str
    created_s: float


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object as the index has it."""

    key: str
    #: Name of the file with its bytes.
    blob: str
    size: int
    #: MD5 in hex; of an object in parts, the MD5 of theirs, "-", their number.
    etag: str
    content_type: str
    #: Headers that are given back: `x-amz-meta-...`, `content-encoding` and such; names in lower case.
    meta: dict[str, str]
    modified_s: float


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed an object, for the event that tells of it."""

    principal: str = ""
    address: str = ""
    request_id: str = ""
    #: Ids of the functions whose notifications led to it; see `fgd.destination.Delivery`.
    chain: tuple[str, ...] = ()


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an object. `seq` grows with every change of the node."""

    seq: int
    #: Such as `ObjectCreated:Put`.
    name: str
    bucket: str
    key: str
    etag: str
    size: int
    at_s: float
    project_id: str
    principal: str
    address: str
    request_id: str
    chain: tuple[str, ...] = ()


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list: objects and common prefixes, each in order of their UTF-8 bytes."""

    objects: list[StoredObject]
    prefixes: list[str]
    truncated: bool
    #: The last key or prefix of it, "" of an empty one.
    last: str


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Etags that an object must have, or must not have, "*" for any; None: no condition."""

    match: tuple[str, ...] | None = None
    none_match: tuple[str, ...] | None = None

    def check(self, etag: str | None) -> None:
        """Raises ObjectError (412) for the etag of the object that is there, None where there is none."""
        if self.match is not None and (etag is None or not {"*", etag} & set(self.match)):
            raise ObjectError("PreconditionFailed", 412, "If-Match: the object is another one, or is not there")
        if self.none_match is not None and etag is not None and {"*", etag} & set(self.none_match):
            raise ObjectError("PreconditionFailed", 412, "If-None-Match: such an object is there")


NO_CONDITIONS: Final = Conditions()


def check_bucket(name: str) -> str:
    """A bucket's name.

    Raises:
        ObjectError: it breaks the rule.
    """
    if fault := bucket_fault(name):
        raise ObjectError("InvalidBucketName", 400, f"bucket: {fault}")
    return name


def check_project(project_id: str) -> str:
    """A project's id as the name of a folder."""
    if not _PROJECT.match(project_id):
        raise ObjectError("InvalidArgument", 400, "project_id: must be 1 to 64 letters, digits, - and _")
    return project_id


def check_key(key: str) -> str:
    """An object's key.

    Raises:
        ObjectError: it breaks the rule.
    """
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        raise ObjectError("InvalidArgument", 400, "key: must be text in UTF-8") from None
    if size > KEY_MAX_BYTES:
        raise ObjectError("KeyTooLongError", 400, f"key: must be at most {KEY_MAX_BYTES} bytes, not {size}")
    if not size or _CONTROLS.search(key):
        raise ObjectError("InvalidArgument", 400, "key: must not be empty, nor hold control characters")
    if any(part in (".", "..") for part in key.split("/")):
        # Clients make files of keys.
        raise ObjectError("InvalidArgument", 400, "key: none of its parts between slashes may be . or ..")
    return key


def after_prefix(prefix: str) -> str:
    """The smallest text that is greater than every text with that prefix; "" where there is none."""
    while prefix:
        number = ord(prefix[-1]) + 1
        if number == 0xD800:  # surrogates are no characters
            number = 0xE000
        if number <= 0x10FFFF:
            return prefix[:-1] + chr(number)
        prefix = prefix[:-1]
    return ""
