"""A server that answers something else than S3: errors that say what, nothing unbounded, no key in any of them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.errors import BadParameter, ObjectStoreAway
from fgd.remote.client import NotThere, RemoteStores, StoreClient
from fgd.remote_stores import RemoteStore

SECRET = "very-secret"
LIST = b"<ListBucketResult><IsTruncated>%s</IsTruncated>%s</ListBucketResult>"


class Wrong(ThreadingHTTPServer):
    """Answers what `answer` says: status, headers, body; a body of None never ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: tuple[int, dict[str, str], bytes | None] = (200, {}, b"")
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.paths.append(self.path)
        status, headers, body = server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if body is not None:
                self.wfile.write(body)
            else:
                for _ in range(10_000):
                    self.wfile.write(b"x" * 65536)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Wrong]:
    with Wrong() as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f'access_key = "AK"\nsecret_key = "{SECRET}"\n')
    return path


def ask(url: str, keys: Path, what: str = "page") -> Any:
    async def main() -> Any:
        client = StoreClient(RemoteStore("far", url, str(keys)), lambda: 1_800_000_000.0)
        try:
            return await (client.page("box", "", "") if what == "page" else client.has_bucket("box"))
        finally:
            await client.aclose()

    return trio.run(main)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, {}, b"hello"), "answers no XML"),
        ((200, {}, b""), "answers no XML"),
        ((200, {}, b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>'), "answers no XML"),
        ((200, {}, b"<a>" * 1000), "answers no XML"),
        ((200, {}, None), "more than 16777216 bytes"),
        ((200, {}, LIST % (b"true", b"")), "has no continuation"),
        ((301, {"Location": "http://169.254.169.254/"}, b""), "answers 301"),
        ((403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"), "403 .* AccessDenied no"),
        ((500, {}, None), "more than 65536 bytes"),
        ((503, {}, b"<html>"), "503 .* no reason"),
    ],
)
def test_answers_that_are_wrong_say_so(server: Wrong, keys: Path, answer: Any, says: str) -> None:
    server.answer = answer
    with pytest.raises(ObjectStoreAway, match=f"object store far: .*{says}") as failed:
        ask(server.url, keys)

    assert SECRET not in str(failed.value)
    assert 1 == len(server.paths), "redirects are not followed"


def test_what_is_not_there_is_known(server: Wrong, keys: Path) -> None:
    server.answer = (404, {}, b"")
    with pytest.raises(NotThere):
        ask(server.url, keys)

    assert ask(server.url, keys, "bucket") is False


def test_odd_rows_are_taken_as_they_are(server: Wrong, keys: Path) -> None:
    rows = b"<Contents><Key>a%2Bb+c</Key><Size>x</Size></Contents><Contents/>"
    server.answer = (200, {}, LIST % (b"false", b"<EncodingType>url</EncodingType>" + rows))
    found, token = ask(server.url, keys)

    assert [("a+b c", "", 0), ("", "", 0)] == [(one.key, one.etag, one.size) for one in found]
    assert "" == token


def test_nobody_there(keys: Path) -> None:
    with pytest.raises(ObjectStoreAway, match=r"127\.0\.0\.1:1 cannot be reached"):
        ask("http://127.0.0.1:1", keys)


@pytest.mark.parametrize(
    "text", ["", "access_key = ", 'access_key = "a"', "access_key = 1\nsecret_key = 2", "very-secret"]
)
def test_files_of_keys_that_are_none_are_named_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ObjectStoreAway, match="must have access_key and secret_key") as failed:
        ask("http://127.0.0.1:1", path)
    path.unlink()
    with pytest.raises(ObjectStoreAway, match="its keys cannot be read: No such file"):
        ask("http://127.0.0.1:1", path)

    assert SECRET not in str(failed.value)
    assert failed.value.__cause__ is None


def test_projects_use_what_is_theirs(keys: Path) -> None:
    stores = {
        "own": RemoteStore("own", "http://a", str(keys)),
        "theirs": RemoteStore("theirs", "http://b:1", str(keys), projects=("p2",)),
    }
    remote = RemoteStores(stores, "p1", lambda: 0.0)

    assert "own" == remote.of("p1", "own", "f").about.name
    assert "theirs" == remote.of("p2", "theirs", "f").about.name
    for project, name in (("p2", "own"), ("p1", "theirs"), ("p1", "none")):
        with pytest.raises(BadParameter, match="f: the project has no object store"):
            remote.of(project, name, "f")
    found = remote.by_url("p1", "http://a/box/dir/k%201.zip", "f")
    assert found is not None
    assert ("box", "dir/k 1.zip") == found[1:]
    assert remote.by_url("p1", "http://a.example.com/box/k.zip", "f") is None
    assert remote.by_url("p1", "http://b:11/box/k.zip", "f") is None
