"""The server's side: one change stream, read by whoever calls, which waits. No trio in here."""

import tempfile
import time
from collections.abc import Mapping
from typing import Any, Final

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure, PyMongoError

from fgd.plugin import Place
from fgd_dds.events import RECORDS_MAX_BYTES, Change, Flavour, record_of
from fgd_dds.settings import DdsSettings

_CONNECT_MS: Final = 3000
#: Longer, so that the error of a connection is known when the time is over.
_SELECT_MS: Final = 4000
_SOCKET_MS: Final = 15_000
_AWAIT_MAX_MS: Final = 500
#: Some servers answer at once that there is nothing; nobody is asked more often than this.
_IDLE_S: Final = 0.05
#: The server never fetches more documents at once for us, so that little is held in memory.
_FETCH_MAX: Final = 1000
_AUTHENTICATION: Final = frozenset({18, 13, 8000})
#: ChangeStreamFatalError, ChangeStreamHistoryLost, InvalidResumeToken, and what older servers say of a lost token.
_LOST: Final = frozenset({280, 286, 260, 40576, 40585, 40615})
#: Only replica sets have change streams.
_NO_STREAMS: Final = frozenset({40573})


class SourceFailed(Exception):
    """The server cannot be read; the text says why, as users understand it."""


class HistoryLost(Exception):
    """The server no longer knows the changes after the token."""


class Source:
    """A connection and its change stream. Every method waits for the server: call it in a thread."""

    def __init__(self, settings: DdsSettings, flavour: Flavour, place: Place) -> None:
        self._settings = settings
        self._flavour = flavour
        self._place = place
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None
        self._stream: CollectionChangeStream[dict[str, Any]] | None = None
        self.undecodable = 0

    def open(self, token: Mapping[str, Any] | None, *, after_end: bool = False) -> None:
        """Connects, and goes on after a token; without one from now on.

        Args:
            after_end: the token is that of the event that ended a stream.

        Raises:
            SourceFailed, HistoryLost.
        """
        self._close_stream()
        settings = self._settings
        try:
            if self._client is None:
                self._client = _client(settings)
            options: CodecOptions[dict[str, Any]] = CodecOptions(
                unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
            )
            collection = self._client.get_database(settings.db_name).get_collection(
                settings.collection_name, codec_options=options
            )
            self._stream = collection.watch(
                full_document="updateLookup",
                batch_size=min(settings.batch_size, _FETCH_MAX),
                max_await_time_ms=min(settings.batch_wait_ms, _AWAIT_MAX_MS),
                resume_after=None if after_end else token,
                start_after=token if after_end else None,
            )
        except (PyMongoError, ValueError) as error:
            raise _explained(error, settings) from error

    @property
    def token(self) -> Mapping[str, Any] | None:
        """Where the stream is: after all that was read. None where the server does not say before the first change."""
        return self._stream.resume_token if self._stream is not None else None

    @property
    def ended(self) -> bool:
        """Whether the stream is over: the collection was dropped or renamed."""
        return self._stream is None or not self._stream.alive

    def read(self) -> list[Change]:
        """Up to a batch of changes: full, or as many as came within the time that a batch waits. May be empty.

        Raises:
            SourceFailed, HistoryLost.
        """
        settings, stream = self._settings, self._stream
        if stream is None:
            raise SourceFailed("the change stream is not open")
        changes: list[Change] = []
        size, until_s = 0, 0.0
        while len(changes) < settings.batch_size and size < RECORDS_MAX_BYTES:
            began_s = time.monotonic()
            if changes and began_s >= until_s:
                break
            try:
                found = stream.try_next()
            except BSONError:
                # The stream has gone past it.
                self.undecodable += 1
                if (token := stream.resume_token) is not None:
                    changes.append(Change(b"", token))
                continue
            except PyMongoError as error:
                raise _explained(error, settings) from error
            if found is not None:
                if not changes:
                    until_s = time.monotonic() + settings.batch_wait_ms / 1000
                record = record_of(found, self._flavour, self._place, settings.instance_id)
                changes.append(Change(record, found["_id"]))
                size += len(record)
            elif not changes or not stream.alive:
                if stream.alive:
                    _pause(began_s)
                break
            else:
                _pause(began_s)
        return changes

    def close(self) -> None:
        """Ends the connection; may be called twice."""
        client, self._client = self._client, None
        self._stream = None
        if client is not None:
            client.close()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _pause(began_s: float) -> None:
    time.sleep(max(_IDLE_S - (time.monotonic() - began_s), 0))


def _client(settings: DdsSettings) -> pymongo.MongoClient[dict[str, Any]]:
    options: dict[str, Any] = {
        "serverSelectionTimeoutMS": _SELECT_MS,
        "connectTimeoutMS": _CONNECT_MS,
        "socketTimeoutMS": _SOCKET_MS,
        "maxPoolSize": 2,
        "appname": "fgd",
        "directConnection": settings.mode == "Single",
    }
    if settings.db_user:
        options |= {"username": settings.db_user, "password": settings.db_password, "authSource": "admin"}
    if settings.ssl_enable:
        options |= {"tls": True, "tlsAllowInvalidHostnames": not settings.ssl_check_host}
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as authority:
        if settings.ssl_ca:
            authority.write(settings.ssl_ca)
            authority.flush()
            options["tlsCAFile"] = authority.name
        # It reads the file here.
        return pymongo.MongoClient(settings.addresses(), **options)


def _explained(error: Exception, settings: DdsSettings) -> Exception:
    text = str(error).partition(", full error:")[0].partition(" (configured timeouts")[0]
    text = text.partition(", Timeout:")[0][:300]
    if isinstance(error, OperationFailure):
        if error.code in _LOST or error.has_error_label("NonResumableChangeStreamError"):
            return HistoryLost(text)
        if error.code in _AUTHENTICATION:
            return SourceFailed(f"FSS.1170: the server refuses the user {settings.db_user!r}: {text}")
        if error.code in _NO_STREAMS:
            return SourceFailed(f"FSS.1173: the server has no change streams, it is no replica set: {text}")
        return SourceFailed(f"FSS.1173: {text}")
    if isinstance(error, ConfigurationError):
        return SourceFailed(f"FSS.1173: {text}")
    if isinstance(error, ConnectionFailure):
        return SourceFailed(f"{', '.join(settings.addresses())} cannot be reached: {text}")
    return SourceFailed(text)
