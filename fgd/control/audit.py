"""The audit log: who did what, when, from where, and what came of it (user guide, section 14).

A trace has the fields of the cloud's (events, section 5). It is on disk before the answer that it tells of goes out;
what an operation did before the daemon was killed, and whose answer nobody got, may be missing. Secrets are masked by
the names of their fields, before anything is stored. Traces are kept for seven days.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import trio

from fgd.clock import new_request_id
from fgd.errors import PlatformError
from fgd.store.audit import AuditStore, Trace, TraceFilter

log = logging.getLogger(__name__)

KEEP_DAYS: Final = 7
#: However many there are in seven days.
TRACES_MAX: Final = 500_000
MASK: Final = "******"
#: Of a request's or answer's JSON in a trace; a longer one is cut down to its first level.
_JSON_MAX_BYTES: Final = 16 * 1024
_TEXT_MAX: Final = 1024
_DAY_MS: Final = 86_400_000
_TIDY_S: Final = 600.0
#: Fields whose value nobody may read later, wherever they are.
_SECRET: Final = re.compile(
    r"password|passwd|secret|token|credential|encrypted_user_data|security|private_key|authorization|app_?codes?",
    re.IGNORECASE,
)
#: Packages and payloads: large, and none of the audit log's business.
_BULK: Final = frozenset({"func_code", "depend_file", "file", "file_code"})

type Status = Literal["normal", "warning", "incident"]


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done, as the API saw it."""

    project_id: str
    name: str
    resource_type: str
    resource_name: str
    resource_id: str
    user: str
    #: By the admin socket.
    local: bool
    source_ip: str
    request: object
    response: object
    code: int
    operation: str
    request_id: str
    message: str
    service: str = "FunctionGraph"


class Audit:
    """Writes traces and finds them."""

    def __init__(
        self,
        store: AuditStore,
        now_s: Callable[[], float],
        operations: Collection[tuple[str, str, str]] = (),
        secrets: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        """
        Args:
            operations: (service, type of resource, name) of all that is recorded.
            secrets: names of further fields to mask, such as secret settings of trigger types.
        """
        self.store = store
        self.operations = operations
        #: Set when the next trace was written; then there is another event here.
        self.changed = trio.Event()
        self._now_s = now_s
        self._secrets = secrets
        self._waiting: list[_Entry] = []
        self._writing = trio.Lock()

    def position_of(self, epoch_s: float) -> int:
        """Below the position of every trace that was written later."""
        return int(epoch_s * 1_000_000)

    async def record(self, deed: Deed) -> None:
        """Writes a trace; it is on disk when this returns.

        A log that cannot be written keeps nobody from working: that is an error in the daemon's own log.
        """
        entry = _Entry(self._trace(deed))
        self._waiting.append(entry)
        with trio.CancelScope(shield=True):
            async with self._writing:
                if entry.done:
                    return
                batch, self._waiting = self._waiting, []
                try:
                    await self.store.add([one.trace for one in batch], self._now_s())
                except PlatformError as error:
                    log.error("%d traces of the audit log are lost: %s", len(batch), error)
                for one in batch:
                    one.done = True
        event, self.changed = self.changed, trio.Event()
        event.set()

    async def find(self, wanted: TraceFilter, most: int) -> list[tuple[int, bytes]]:
        """Traces of the last seven days, newest first, each as JSON with its position."""
        oldest_ms = int(self._now_s() * 1000) - KEEP_DAYS * _DAY_MS
        return await self.store.find(msgspec.structs.replace(wanted, from_ms=max(wanted.from_ms, oldest_ms)), most)

    async def run(self) -> None:
        """Removes what is too old; runs until cancelled."""
        while True:
            try:
                await self.store.trim(int(self._now_s() * 1000) - KEEP_DAYS * _DAY_MS, TRACES_MAX)
            except PlatformError as error:
                log.error("old traces of the audit log stay: %s", error)
            await trio.sleep(_TIDY_S)

    def _trace(self, deed: Deed) -> Trace:
        now_ms = int(self._now_s() * 1000)
        status: Status = "normal" if deed.code < 400 else "warning" if deed.code < 500 else "incident"
        trace_id = new_request_id()
        secrets = frozenset(self._secrets())
        domain = {"name": deed.project_id, "id": deed.project_id}
        body: dict[str, object] = {
            "time": now_ms,
            "user": {"name": deed.user, "id": deed.user, "domain": domain},
            "request": _fitting(masked(deed.request, secrets)),
            "response": _fitting(masked(deed.response, secrets)),
            "code": deed.code,
            "service_type": deed.service,
            "resource_type": deed.resource_type,
            "resource_name": deed.resource_name[:_TEXT_MAX],
            "resource_id": deed.resource_id[:_TEXT_MAX],
            "source_ip": deed.source_ip,
            "trace_name": deed.name,
            "trace_rating": status,
            "trace_type": "ConsoleAction" if deed.local else "ApiCall",
            "api_version": "",
            "record_time": now_ms,
            "trace_id": trace_id,
            "trace_status": status,
            "domain_id": deed.project_id,
            "project_id": deed.project_id,
            "read_only": False,
            "resource_account_id": "",
            "operation_id": "".join(word.capitalize() for word in deed.operation.split("_")),
            "request_id": deed.request_id,
            "message": deed.message[:_TEXT_MAX],
        }
        return Trace(
            project_id=deed.project_id,
            time_ms=now_ms,
            name=deed.name,
            resource_type=deed.resource_type,
            resource_name=deed.resource_name[:_TEXT_MAX],
            resource_id=deed.resource_id[:_TEXT_MAX],
            user=deed.user,
            status=status,
            trace_id=trace_id,
            body=msgspec.json.encode(body),
        )


@dataclass(slots=True)
class _Entry:
    trace: Trace
    done: bool = False


def masked(value: object, secrets: Collection[str] = ()) -> object:
    """A JSON value in which what is secret by its field's name is "******", and packages too.

    Not recursive: clients may send lists in lists as deep as the parser goes.
    """
    root: list[object] = [value]
    waiting: list[tuple[Any, Any]] = [(root, 0)]
    while waiting:
        holder, key = waiting.pop()
        one = holder[key]
        if isinstance(one, dict):
            copy: Any = dict(one)
            for name in copy:
                # A code that is text is an app's; statuses are numbers.
                code = name == "code" and isinstance(copy[name], str)
                if code or name in secrets or name in _BULK or _SECRET.search(str(name)):
                    if copy[name] not in (None, "", [], {}):
                        copy[name] = MASK
                else:
                    waiting.append((copy, name))
        elif isinstance(one, list):
            copy = list(one)
            waiting += [(copy, number) for number in range(len(copy))]
        else:
            copy = one
        holder[key] = copy
    return root[0]


def _fitting(value: object) -> object:
    """The value, or where it is too long what is short of its first level."""
    try:
        # In something, as it will be: what is nested as deep as a client could send it must not fail there.
        if len(msgspec.json.encode([[value]])) <= _JSON_MAX_BYTES:
            return value
    except RecursionError:
        return "too deep"
    if not isinstance(value, dict):
        return "too long"
    kept: dict[str, object] = {}
    room = _JSON_MAX_BYTES - 256
    for name, one in value.items():
        size = len(msgspec.json.encode({name: one}))
        if size > room:
            one, size = "too long", len(name) * 6 + 16
        if size <= room:
            kept[name] = one
            room -= size
    return kept
