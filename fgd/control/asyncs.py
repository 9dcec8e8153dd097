"""Asynchronous invocations: their settings per function version, and their records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, get_args

import msgspec
import trio

from fgd.control import rules
from fgd.control.targets import Targets
from fgd.errors import BadParameter, BadQuery, NotBuilt, NotFound
from fgd.model import AsyncConfig, AsyncState, Function, Target
from fgd.store.api import AsyncRecord, Catalog

MAX_AGE_S: Final = (1, 86_400)
MAX_RETRIES: Final = (0, 3)
STATES: Final = get_args(AsyncState)
#: Records that a query gives: at most, and unless it says how many.
LIMIT_MAX: Final = 500
LIMIT_DEFAULT: Final = 100
LOOK_BACK_S: Final = 3600.0


class Records(Protocol):
    """What is asked of the asynchronous queue."""

    async def list_records(
        self,
        func_id: str,
        *,
        version: str = "",
        request_id: str = "",
        state: str = "",
        begin_s: float = 0.0,
        end_s: float = 0.0,
        offset: int = 0,
        limit: int = LIMIT_DEFAULT,
    ) -> list[AsyncRecord]:
        """Records of a function, newest first; "" and 0 mean any."""

    async def cancel(self, request_id: str) -> bool:
        """Stops an invocation that waits or runs; whether there was one."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records; see `parse_record_query`."""

    request_id: str
    state: str
    begin_s: float
    end_s: float
    offset: int
    limit: int


class AsyncConfigs:
    """Settings of all function versions, in memory and in the catalog."""

    def __init__(
        self, catalog: Catalog, now_s: Callable[[], float], configs: Mapping[tuple[str, str], AsyncConfig]
    ) -> None:
        """`configs`: what `Catalog.async_configs` gave at the start."""
        self._catalog = catalog
        self._now_s = now_s
        self._configs = dict(configs)
        self._default = AsyncConfig()
        #: Targets of all functions are looked at and one is set, with nothing in between.
        self._lock = trio.Lock()

    def get(self, func_id: str, version: str) -> AsyncConfig:
        """The settings that apply: those of the version, else the defaults."""
        return self._configs.get((func_id, version), self._default)

    def stored(self, function: Function) -> AsyncConfig | None:
        """The settings that somebody made for this version."""
        return self._configs.get((function.func_id, function.version))

    def targets_of(self, func_id: str) -> list[Target]:
        """Where outcomes of a function go, of all its versions."""
        mine = (config for (one, _), config in self._configs.items() if one == func_id)
        return [target for config in mine for target in (config.on_success, config.on_failure) if target is not None]

    async def put(self, function: Function, values: Mapping[str, object], targets: Targets) -> AsyncConfig:
        """Stores settings, made from `parse_async_config`; what is not given gets its default.

        Raises:
            RequestError: as `Targets.check`.
        """
        async with self._lock:
            targets.check(function, values, self.targets_of)
            return await self._put(function, values)

    async def _put(self, function: Function, values: Mapping[str, object]) -> AsyncConfig:
        now_s = self._now_s()
        old = self.stored(function)
        config = msgspec.structs.replace(
            self._default, created_s=old.created_s if old else now_s, last_modified_s=now_s, **values
        )
        with trio.CancelScope(shield=True):
            await self._catalog.put_async_config(function.func_id, function.version, config)
            self._configs[function.func_id, function.version] = config
        return config

    async def delete(self, function: Function) -> None:
        """Takes settings away.

        Raises:
            NotFound: there are none.
        """
        if self.stored(function) is None:
            raise NotFound(f"function_urn: {function.name} {function.version} has no asynchronous settings")
        with trio.CancelScope(shield=True):
            await self._catalog.put_async_config(function.func_id, function.version, None)
            self._configs.pop((function.func_id, function.version), None)

    def forget(self, old: Function | None, new: Function | None) -> None:
        """A listener of `Directory`: a deleted function's settings go (the catalog drops them with it)."""
        if old is not None and new is None:
            self._configs.pop((old.func_id, old.version), None)


def parse_async_config(body: Mapping[str, object], targets: Targets) -> dict[str, object]:
    """The body of an update of the asynchronous settings, as fields of `AsyncConfig`.

    Raises:
        BadParameter: a number out of range, a target that cannot be; others as `Targets.parse`.
        NotBuilt: a log stream of one's own.
    """
    for field in ("log_group_id", "log_stream_id", "log_group_name", "log_stream_name"):
        if body.get(field):
            raise NotBuilt(f"{field}: this version of fgd has no log groups and streams; leave the field out")
    values: dict[str, object] = dict(targets.parse(body.get("destination_config")))
    age = body.get("max_async_event_age_in_seconds")
    if age is not None:
        values["max_age_s"] = rules.whole("max_async_event_age_in_seconds", age, *MAX_AGE_S, BadParameter, "seconds")
    retries = body.get("max_async_retry_attempts")
    if retries is not None:
        values["max_retries"] = rules.whole("max_async_retry_attempts", retries, *MAX_RETRIES, BadParameter)
    if body.get("enable_async_status_log") is not None:
        values["enable_status_log"] = rules.flag("enable_async_status_log", body["enable_async_status_log"])
    return values


def parse_record_query(query: Mapping[str, str], now_s: float) -> RecordQuery:
    """The query parameters of a look-up of records; without a begin, the last hour (all time for a request id).

    Raises:
        BadQuery: names the parameter.
    """
    state = query.get("status", "").upper()
    if state and state not in STATES:
        raise BadQuery(f"status: must be one of {', '.join(STATES)}, not {rules.shown(query['status'])}")
    request_id = query.get("request_id", "")
    begin_s = _moment(query, "query_begin_time") or (0.0 if request_id else now_s - LOOK_BACK_S)
    limit = number(query, "limit", LIMIT_DEFAULT, LIMIT_MAX)
    return RecordQuery(
        request_id=request_id,
        state=state,
        begin_s=begin_s,
        end_s=_moment(query, "query_end_time"),
        offset=number(query, "marker", 0),
        limit=limit or LIMIT_DEFAULT,
    )


def number(query: Mapping[str, str], name: str, default: int, high: int = 2**31 - 1) -> int:
    """A query parameter that is a whole number from 0; absent or empty means the default.

    Raises:
        BadQuery: it is something else, or over `high`.
    """
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= high):
        raise BadQuery(f"{name}: must be a whole number from 0 to {high}, not {rules.shown(text)}")
    return int(text)


def _moment(query: Mapping[str, str], name: str) -> float:
    """`YYYY-MM-DDTHH:MM:SS` in UTC, a `Z` allowed, as epoch seconds; 0.0 when absent."""
    text = query.get(name, "")
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"{name}: must be a time such as 2024-05-16T08:01:29 (UTC), not {rules.shown(text)}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
