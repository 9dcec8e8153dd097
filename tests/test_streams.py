"""Streams in the settings: which can be, and what is read of their files."""

import os
from pathlib import Path
from typing import Any

import pytest

from fgd.config import Config, ConfigError, parse_config
from fgd.errors import StreamNotFound
from fgd.stream import BadStream, Stream, check_files

GOOD: dict[str, Any] = {"brokers": ["10.0.0.5:9092", "[fd00::1]:9092"], "topic": "orders"}


def test_a_table_is_a_stream() -> None:
    full = {
        **GOOD, "user": "fgd", "password_file": "/p", "mechanism": "SCRAM-SHA-512", "tls": True, "ca_file": "/c",
        "check_hostname": False,
    }  # fmt: skip
    streams = parse_config({"streams": {"plain": dict(GOOD), "full_1": full}}).streams

    assert Stream("plain", ("10.0.0.5:9092", "[fd00::1]:9092"), "orders") == streams["plain"]
    assert ("SCRAM-SHA-512", True, False) == (
        streams["full_1"].mechanism, streams["full_1"].tls, streams["full_1"].check_hostname,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([], "streams: must be tables, [streams.NAME] each"),
        ({"a": 7}, "streams.a: must be a table with at least brokers and topic"),
        ({"a b": GOOD}, "streams.a b: the name must be"),
        ({"x" * 65: GOOD}, f"streams.{'x' * 65}: the name must be"),
        ({"a": {**GOOD, "brokers": []}}, "streams.a.brokers: must be a list of HOST:PORT"),
        ({"a": {"topic": "t"}}, "streams.a.brokers: must be a list of HOST:PORT"),
        ({"a": {**GOOD, "brokers": "h:1"}}, "streams.a.brokers: must be a list of HOST:PORT"),
        ({"a": {**GOOD, "brokers": ["h:0"]}}, "streams.a.brokers: must be HOST:PORT, not 'h:0'"),
        ({"a": {**GOOD, "brokers": ["h:1"] * 51}}, "streams.a.brokers: must be at most 50"),
        ({"a": {"brokers": ["h:1"]}}, "streams.a.topic: must be 1 to 249 letters"),
        ({"a": {**GOOD, "topic": ".."}}, "streams.a.topic: must be 1 to 249 letters"),
        ({"a": {**GOOD, "topic": "^.*"}}, "streams.a.topic: must be 1 to 249 letters"),
        ({"a": {**GOOD, "topic": 7}}, "streams.a.topic: must be a text"),
        ({"a": {**GOOD, "password": "p"}}, "streams.a.password: no such setting; possible are brokers, topic"),
        ({"a": {**GOOD, "user": "u"}}, "streams.a.password_file: is needed"),
        ({"a": {**GOOD, "password_file": "/p"}}, "streams.a.user: is needed"),
        ({"a": {**GOOD, "user": "u", "password_file": "p"}}, "streams.a.password_file: must be an absolute path"),
        ({"a": {**GOOD, "user": "u\n", "password_file": "/p"}}, "streams.a.user: must be a text of one line"),
        ({"a": {**GOOD, "mechanism": "PLAIN"}}, "streams.a.mechanism: needs user"),
        ({"a": {**GOOD, "mechanism": "GSSAPI"}}, "streams.a.mechanism: must be one of PLAIN, SCRAM"),
        ({"a": {**GOOD, "ca_file": "/c"}}, "streams.a.ca_file: needs tls"),
        ({"a": {**GOOD, "check_hostname": False}}, "streams.a.check_hostname: needs tls"),
        ({"a": {**GOOD, "tls": "yes"}}, "streams.a.tls: must be true or false"),
        ({"a": {**GOOD, "projects": []}}, "streams.a.projects: must be a list of ids of projects, and name at least"),
        ({"a": {**GOOD, "projects": "p"}}, "streams.a.projects: must be a list of ids of projects"),
        ({"a": {**GOOD, "projects": ["p", "*"]}}, "streams.a.projects: must be ids of projects, not '*'"),
        ({str(number): GOOD for number in range(1001)}, "streams: must be at most 1000"),
    ],
)  # fmt: skip
def test_what_cannot_be_names_the_setting(streams: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"streams": streams})

    assert str(refused.value).startswith(message)


def with_password(path: Path) -> Stream:
    return Stream("s", ("h:1",), "t", user="u", password_file=str(path))


@pytest.mark.parametrize(
    ("content", "password"), [(b"secret", "secret"), (b"two words\r\n", "two words"), ("grün\n".encode(), "grün")]
)
def test_a_password_is_one_line_of_a_file(tmp_path: Path, content: bytes, password: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)

    assert password == with_password(path).password()
    path.write_text("another")
    assert "another" == with_password(path).password(), "it is read anew"


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "must hold one line"), (b"\n", "must hold one line"), (b"hunter2\nhunter2\n", "must hold one line"),
     (b"hunter2\x00", "must hold one line"), (b"hunter2\xff", "must be UTF-8"),
     (b"hunter2" * 1000, "must be at most 1024 bytes")],
)  # fmt: skip
def test_a_file_without_a_password_is_refused_and_not_shown(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(BadStream) as refused:
        check_files([with_password(path)])

    assert str(refused.value).startswith(f"streams.s.password_file: {path} {rule}")
    assert "hunter2" not in repr(refused.value) + repr(refused.value.__cause__)


def test_a_file_that_cannot_be_read_or_is_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadStream, match=r"^streams\.s\.password_file: .* cannot be read .*: No such file"):
        check_files([with_password(tmp_path / "gone")])
    (tmp_path / "ca").write_text("no certificate")
    authority = Stream("s", ("h:1",), "t", tls=True, ca_file=str(tmp_path / "ca"))
    with pytest.raises(BadStream, match=r"^streams\.s\.ca_file: .* must be PEM text"):
        check_files([authority])
    (tmp_path / "ca").write_text("-----BEGIN CERTIFICATE-----\n")

    assert "-----BEGIN CERTIFICATE-----\n" == authority.authority()
    assert os.fspath(tmp_path) in authority.ca_file
    assert ("", "") == (Stream("s", ("h:1",), "t").password(), Stream("s", ("h:1",), "t").authority())


def test_a_stream_that_is_not_there_is_told_with_those_that_are() -> None:
    config = parse_config({"streams": {"a": dict(GOOD), "b": dict(GOOD)}})

    assert "a" == config.stream("a").name
    with pytest.raises(StreamNotFound, match=r"^stream_name: there is no stream 'c' on this node; there are a, b$"):
        config.stream("c")
    with pytest.raises(StreamNotFound, match=r"^x: there is no stream 'c' on this node; its settings name none$") as no:
        Config().stream("c", "x")
    assert ("FSS.1130", 404) == (no.value.code, no.value.status_hint)


def test_a_stream_of_certain_projects_is_not_there_for_others() -> None:
    config = parse_config({"streams": {"a": dict(GOOD), "b": {**GOOD, "projects": ["p1", "p2"]}}})

    assert ("p1", "p2") == config.stream("b", project_id="p2").projects
    with pytest.raises(StreamNotFound, match=r"^stream_name: there is no stream 'b' on this node; there are a$"):
        config.stream("b", project_id="p3")
    with pytest.raises(StreamNotFound, match=r"there are a, b$"):
        config.stream("c", project_id="p1")
    with pytest.raises(StreamNotFound, match=r"there are a$"):
        config.stream("c")
    assert "b" == config.stream("b").name, "a target is read before it is known whose it is"
