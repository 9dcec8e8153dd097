"""What the launcher lets in: the closed set of requests, each checked for shape, type and size; and the code roots.

The daemon works with hostile input all day, so the launcher does not trust it: a request that is not one of these,
or has anything else in it, is refused. No request names a path of the host: mounts name one of the launcher's own
directories by number, and a folder below it (`fgd.sandbox.mount_plan`).
"""

import json
import os
import re
from typing import NamedTuple

from fgd.linux import libc
from fgd.sandbox import mount_plan
from fgd.sandbox.mount_plan import DEFAULT_OWNER, Mount, Owner

REQUEST_BYTES = 16384
#: Dependencies of one function (user guide, section 9.1).
DEPENDENCIES_MAX = 20
_TEXT_MAX = 500
_ID = re.compile(r"[a-z0-9]{1,16}-[0-9]{1,12}")
_DIGEST = re.compile(r"[0-9a-f]{32,128}")
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.#() _-]{0,63}")
_NETWORK = re.compile(r"[a-z][a-z0-9-]{0,30}")
#: Smallest and largest value of each limit of a bind request.
_LIMITS = {
    "memory_mib": (1, 1 << 20),
    "cpu_mcpu": (10, 1 << 20),
    "pids": (1, 1 << 16),
    "open_files": (16, 1 << 20),
    "tmp_mib": (1, 1 << 20),
    "tmp_inodes": (16, 1 << 24),
}
#: What a bind request may ask for besides.
_MORE = {"dependencies", "door", "mounts", "owner"}


class Refused(Exception):
    """A request that the launcher does not carry out; the message says what is wrong with it."""


class Open(NamedTuple):
    """A blank sandbox on a network of the settings, please. `number` comes back with the answer."""

    number: int
    runtime: str
    network: str = "none"
    #: The host's ids of the function in it, None for some of the launcher's own.
    own_ids: Owner | None = None


class LimitValues(NamedTuple):
    """The limits of a bind request, in range."""

    memory_mib: int
    cpu_mcpu: int
    pids: int
    open_files: int
    tmp_mib: int
    tmp_inodes: int


class Bind(NamedTuple):
    """This sandbox runs this code package, with those of its dependencies, within these limits."""

    sandbox: str
    code: str
    limits: LimitValues
    dependencies: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    owner: Owner = DEFAULT_OWNER
    #: Whether it reaches the daemon's API by a socket of its own.
    door: bool = False


class Try(NamedTuple):
    """Can these be mounted? They are, and let go again. `number` comes back with the answer."""

    number: int
    mounts: tuple[Mount, ...]
    owner: Owner


class Disks(NamedTuple):
    """How many host directories and NFS exports mounts may name, by number."""

    roots: int = 0
    exports: int = 0


_NO_DISKS = Disks()


class Resize(NamedTuple):
    """This sandbox, which runs code already, gets other limits. `number` comes back with the answer."""

    number: int
    sandbox: str
    memory_mib: int
    cpu_mcpu: int


class Kill(NamedTuple):
    """End this sandbox."""

    sandbox: str


type Request = Open | Bind | Resize | Try | Kill


def parse_request(data: bytes, disks: Disks = _NO_DISKS) -> Request:
    """Reads one request.

    Raises:
        Refused: it is none of these, or a field is missing, of another type, out of range, or too much.
    """
    if len(data) > REQUEST_BYTES:
        raise Refused(f"request of more than {REQUEST_BYTES} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused("request is not JSON") from error
    if not isinstance(fields, list) or not fields:
        raise Refused("request is not a list")
    match fields:
        case ["open", number, runtime, network, *ids] if len(ids) <= 1:
            return Open(
                _number("number", number, 0, 1 << 53),
                _text("runtime", runtime, _RUNTIME),
                _text("network", network, _NETWORK),
                _owner(ids[0]) if ids else None,
            )
        case ["bind", sandbox, code, list(values), dict(more)] if len(values) == len(_LIMITS):
            limits = [_number(name, value, *_LIMITS[name]) for name, value in zip(_LIMITS, values, strict=True)]
            if more.keys() - _MORE:
                raise Refused(f"bind: has more than {', '.join(sorted(_MORE))}")
            return Bind(
                _text("sandbox", sandbox, _ID),
                _text("code", code, _DIGEST),
                LimitValues(*limits),
                _digests("dependencies", more.get("dependencies", [])),
                _mounts(more.get("mounts", []), disks),
                _owner(more["owner"]) if "owner" in more else DEFAULT_OWNER,
                _flag("door", more.get("door", False)),
            )
        case ["resize", number, sandbox, memory_mib, cpu_mcpu]:
            return Resize(
                _number("number", number, 0, 1 << 53),
                _text("sandbox", sandbox, _ID),
                _number("memory_mib", memory_mib, *_LIMITS["memory_mib"]),
                _number("cpu_mcpu", cpu_mcpu, *_LIMITS["cpu_mcpu"]),
            )
        case ["try", number, mounts, owner]:
            return Try(_number("number", number, 0, 1 << 53), _mounts(mounts, disks), _owner(owner))
        case ["kill", sandbox]:
            return Kill(_text("sandbox", sandbox, _ID))
    raise Refused("no such request")


def _number(name: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise Refused(f"{name}: must be a whole number from {low} to {high}")
    return value


def _text(name: str, value: object, form: re.Pattern[str]) -> str:
    if type(value) is not str or not form.fullmatch(value):
        raise Refused(f"{name}: not of the form {form.pattern}")
    return value


def _flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise Refused(f"{name}: must be true or false")
    return value


def _digests(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > DEPENDENCIES_MAX:
        raise Refused(f"{name}: must be a list of at most {DEPENDENCIES_MAX}")
    return tuple(_text(name, one, _DIGEST) for one in value)


def _mounts(value: object, disks: Disks) -> tuple[Mount, ...]:
    try:
        return mount_plan.parse(value, disks.roots, disks.exports)
    except mount_plan.BadMount as error:
        raise Refused(f"mounts: {error}") from error


def _owner(value: object) -> Owner:
    try:
        return mount_plan.check_owner(value)
    except mount_plan.BadMount as error:
        raise Refused(str(error)) from error


def failure_text(data: bytes) -> str:
    """The report of a step that failed in a sandbox or zygote ({"step", "path", "errno", maybe "text"}) as one line."""
    try:
        report = json.loads(data)
        reason = str(report["text"]) if "text" in report else os.strerror(report["errno"])
        where = f"{report['step']} {report['path']}".strip()
        return f"{where}: {reason}"[:_TEXT_MAX]
    except (ValueError, TypeError, KeyError, OverflowError):
        return data[:_TEXT_MAX].decode("utf-8", "replace").strip()


class CodeRoot:
    """The folder of code packages, opened at the launcher's start; only what is really below it can be had."""

    def __init__(self, path: str) -> None:
        # The folder above it is the daemon's, so this name could be a link that the daemon put there.
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open(self, digest: str) -> int:
        """The descriptor (O_PATH) of a package's folder.

        Raises:
            OSError: it is not there, is no folder, or is a link.
        """
        return libc.open_beneath(self.fd, digest, os.O_PATH | os.O_DIRECTORY)
