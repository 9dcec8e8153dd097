"""Streams as the settings name them: a local name for a topic of Kafka brokers, and how the brokers let fgd in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
STREAMS_MAX: Final = 1000
_BROKERS_MAX: Final = 50
_PORT_MAX: Final = 65535
_PASSWORD_MAX_BYTES: Final = 1024
_AUTHORITY_MAX_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
_BROKER: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})\Z")
_PEM: Final = "-----BEGIN CERTIFICATE-----"


class BadStream(Exception):
    """A stream that cannot be; begins with the setting's name."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream. What is secret of it lies in files, read anew each time: a new password needs no restart."""

    name: str
    #: `HOST:PORT` each.
    brokers: tuple[str, ...]
    topic: str
    #: Name at the brokers (SASL), "" for none.
    user: str = ""
    password_file: str = ""
    #: One of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512: how `user` shows who it is.
    mechanism: str = "PLAIN"
    tls: bool = False
    #: PEM of the authorities, "" for those of the node.
    ca_file: str = ""
    #: Whether a broker's certificate must have the name it is reached by.
    check_hostname: bool = True
    #: Ids of the projects whose functions may use it; none given: all.
    projects: tuple[str, ...] = ()

    def open_to(self, project_id: str) -> bool:
        """Whether functions of a project may use it."""
        return not self.projects or project_id in self.projects

    def password(self) -> str:
        """What `password_file` holds, without the line end; "" without a user. Blocks.

        Raises:
            BadStream: the file cannot be read, or holds no password.
        """
        if not self.user:
            return ""
        at = f"streams.{self.name}.password_file"
        text = _read(at, self.password_file, _PASSWORD_MAX_BYTES).removesuffix("\n").removesuffix("\r")
        if not text or not text.isprintable():
            raise BadStream(f"{at}: {self.password_file} must hold one line, the password")
        return text

    def authority(self) -> str:
        """What `ca_file` holds; "" where there is none. Blocks.

        Raises:
            BadStream: the file cannot be read, or is no PEM.
        """
        if not self.ca_file:
            return ""
        at = f"streams.{self.name}.ca_file"
        text = _read(at, self.ca_file, _AUTHORITY_MAX_BYTES)
        if _PEM not in text:
            raise BadStream(f"{at}: {self.ca_file} must be PEM text, with {_PEM}")
        return text


def broker_fault(text: str) -> str:
    """What is wrong with the address of a broker; "" when nothing is."""
    found = _BROKER.match(text)
    if found is None or not 0 < int(found[3]) <= _PORT_MAX:
        return f"must be HOST:PORT, not {text[:80]!r}"
    return ""


def topic_fault(text: str) -> str:
    """What is wrong with the name of a topic of Kafka; "" when nothing is."""
    if not _TOPIC.match(text) or text in (".", ".."):
        return f"must be 1 to 249 letters, digits, dots, _ and -, not {text[:80]!r}"
    return ""


def parse_streams(tables: Mapping[str, object]) -> dict[str, Stream]:
    """The tables below `streams`. Reads no file.

    Raises:
        BadStream: a name, a field or a value that cannot be.
    """
    if len(tables) > STREAMS_MAX:
        raise BadStream(f"streams: must be at most {STREAMS_MAX}, not {len(tables)}")
    return {name: _parse(name, table) for name, table in tables.items()}


def check_files(streams: Iterable[Stream]) -> None:
    """Reads the files that streams name, as who uses them later. Blocks.

    Raises:
        BadStream: one cannot be used.
    """
    for stream in streams:
        stream.password()
        stream.authority()


_FIELDS: Final = (
    "brokers", "topic", "user", "password_file", "mechanism", "tls", "ca_file", "check_hostname", "projects",
)  # fmt: skip


def _parse(name: str, table: object) -> Stream:
    at = f"streams.{name}"
    if not _NAME.match(name):
        raise BadStream(f"{at}: the name must be 1 to 64 letters, digits, _ and -")
    if not isinstance(table, dict):
        raise BadStream(f"{at}: must be a table with at least brokers and topic")
    for key in table:
        if key not in _FIELDS:
            raise BadStream(f"{at}.{key}: no such setting; possible are {', '.join(_FIELDS)}")
    topic = _text(at, table, "topic")
    fault = topic_fault(topic)
    if fault:
        raise BadStream(f"{at}.topic: {fault}")
    stream = Stream(
        name=name,
        brokers=_brokers(f"{at}.brokers", table.get("brokers")),
        topic=topic,
        user=_text(at, table, "user"),
        password_file=_path(at, table, "password_file"),
        mechanism=_text(at, table, "mechanism", "PLAIN"),
        tls=_flag(at, table, "tls", default=False),
        ca_file=_path(at, table, "ca_file"),
        check_hostname=_flag(at, table, "check_hostname", default=True),
        projects=_projects(f"{at}.projects", table),
    )
    if stream.mechanism not in MECHANISMS:
        raise BadStream(f"{at}.mechanism: must be one of {', '.join(MECHANISMS)}, not {stream.mechanism!r}")
    if bool(stream.user) != bool(stream.password_file):
        lacking = "password_file" if stream.user else "user"
        raise BadStream(f"{at}.{lacking}: is needed, as user and password_file go together")
    for field, needed in (("mechanism", "user"), ("ca_file", "tls"), ("check_hostname", "tls")):
        if field in table and not getattr(stream, needed):
            raise BadStream(f"{at}.{field}: needs {needed}")
    return stream


def _brokers(at: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise BadStream(f'{at}: must be a list of HOST:PORT, such as ["10.0.0.5:9092"]')
    if len(value) > _BROKERS_MAX:
        raise BadStream(f"{at}: must be at most {_BROKERS_MAX}, not {len(value)}")
    for one in value:
        fault = broker_fault(one)
        if fault:
            raise BadStream(f"{at}: {fault}")
    return tuple(value)


def _projects(at: str, table: Mapping[str, object]) -> tuple[str, ...]:
    if "projects" not in table:
        return ()
    value = table["projects"]
    # An empty list would open the stream to everyone, where it looks as if it shut it.
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise BadStream(f"{at}: must be a list of ids of projects, and name at least one")
    for one in value:
        if not _NAME.match(one):
            raise BadStream(f"{at}: must be ids of projects, not {one[:80]!r}")
    return tuple(value)


def _text(at: str, table: Mapping[str, object], field: str, absent: str = "") -> str:
    value = table.get(field, absent)
    if not isinstance(value, str) or len(value) > 4096 or not (value.isprintable() or not value):
        raise BadStream(f"{at}.{field}: must be a text of one line")
    return value


def _path(at: str, table: Mapping[str, object], field: str) -> str:
    value = _text(at, table, field)
    if field in table and not value.startswith("/"):
        raise BadStream(f"{at}.{field}: must be an absolute path, not {value!r}")
    return value


def _flag(at: str, table: Mapping[str, object], field: str, *, default: bool) -> bool:
    value = table.get(field, default)
    if not isinstance(value, bool):
        raise BadStream(f"{at}.{field}: must be true or false, not {type(value).__name__}")
    return value


def _read(at: str, path: str, most: int) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise BadStream(f"{at}: {path} cannot be read by the daemon's user: {error.strerror}") from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Without its cause, which quotes what the file holds.
        raise BadStream(f"{at}: {path} must be UTF-8") from None
    if len(data) > most:
        raise BadStream(f"{at}: {path} must be at most {most} bytes")
    return text
