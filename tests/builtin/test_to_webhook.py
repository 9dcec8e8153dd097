"""Outcomes posted to a URL: which URLs are possible, what is sent, and what an answer can and cannot do."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from fgd.builtin.to_webhook import WebhookDestination
from fgd.builtin.web import parse_url
from fgd.plugin import BadDestination
from tests.builtin.node import PlainNode, delivery
from tests.e2e.hooks import Hooks


def post(url: str, allowed: str) -> None:
    kind = WebhookDestination(PlainNode(webhook_urls=allowed))

    async def main() -> None:
        with trio.fail_after(5):
            await kind.deliver(delivery(document=b'{"n":1}', success=False), kind.parse({"url": url}))

    trio.run(main)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as served:
        yield served


def test_the_document_is_posted_with_the_request_id(hooks: Hooks) -> None:
    post(hooks.url + "/x?a=b%20c", hooks.url)
    [(path, headers, body)] = hooks.got

    assert ("/fgd/x?a=b%20c", {"n": 1}) == (path, body)
    assert f"127.0.0.1:{hooks.port}" == headers["host"]
    assert ("application/json", "fgd", "failure") == (
        headers["content-type"], headers["user-agent"], headers["x-fgd-outcome"],
    )  # fmt: skip
    assert delivery().request_id == headers["x-cff-request-id"]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500])
def test_anything_but_success_is_a_failure_and_redirects_are_not_followed(hooks: Hooks, status: int) -> None:
    hooks.status = status
    hooks.headers = {"Location": hooks.url + "/elsewhere"}
    with pytest.raises(RuntimeError, match=f"answered {status}"):
        post(hooks.url, hooks.url)

    assert ["/fgd"] == [path for path, _, _ in hooks.got]


def test_a_proxy_of_the_environment_is_not_used(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    post(hooks.url, hooks.url)

    assert 1 == len(hooks.got)


@contextmanager
def raw_server(answer: bytes, *, forever: bool = False) -> Iterator[str]:
    """A server that answers every connection with these bytes, and then with more of the last for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                    while forever and not over.is_set():
                        connection.sendall(b"x" * 65536)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_an_answer_without_end_is_not_read() -> None:
    began_s = time.monotonic()
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n", forever=True) as url:
        post(url, url)

    assert time.monotonic() - began_s < 3


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50000])
def test_an_answer_that_is_no_http_is_a_failure(answer: bytes) -> None:
    with raw_server(answer) as url, pytest.raises(Exception) as failed:
        post(url, url)

    assert not isinstance(failed.value, trio.TooSlowError)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://hooks.test/a", "//hooks.test/a", "http:///a", "http://user@hooks.test/a",
        "http://user:pw@hooks.test/a", "http://hooks.test/a#b", "http://hooks.test/a/../b", "http://hooks.test/./a",
        "http://hooks.test/a/%2e%2E/b", "http://hooks.test/a%2fb", "http://hooks.test/a%5c..", "http://hooks.test\\@x/",
        "http://hooks.test/a b", "http://hooks.test/\n", "http://hooks.test:0/", "http://hooks.test:99999/",
        "http://hooks.test:x/", "http://hooks.test//a", "http://ho_ks.test/", "http://[::1/", "http://é.test/",
        "http://hooks.test/%00", "http://hooks.test/" + "a" * 2048, "http://127.1\t/",
    ],
)  # fmt: skip
def test_urls_that_servers_may_read_differently_are_refused(url: str) -> None:
    with pytest.raises(BadDestination, match=r"^url: "):
        WebhookDestination(PlainNode(webhook_urls="http://hooks.test/")).parse({"url": url})


@pytest.mark.parametrize(
    ("url", "allowed", "possible"),
    [
        ("https://hooks.test/fgd", "https://hooks.test/fgd", True),
        ("https://hooks.test/fgd/", "https://hooks.test/fgd", True),
        ("https://hooks.test/fgd/a?b", "https://hooks.test/fgd", True),
        ("https://HOOKS.test:443/fgd/a", "https://hooks.test/fgd/", True),
        ("https://hooks.test/fgd", "https://hooks.test/fgd/", False),
        ("https://hooks.test/fgdx", "https://hooks.test/fgd", False),
        ("https://hooks.test/", "https://hooks.test/fgd", False),
        ("http://hooks.test/fgd", "https://hooks.test/fgd", False),
        ("https://hooks.test:8443/fgd", "https://hooks.test/fgd", False),
        ("https://hooks.test.evil.test/fgd", "https://hooks.test/fgd", False),
        ("https://evil.test/fgd", "https://hooks.test/fgd https://other.test/", False),
        ("https://other.test/x", "https://hooks.test/fgd https://other.test", True),
        ("http://127.0.0.1/", "", False),
        ("http://[::1]:8080/a", "http://[::1]:8080", True),
    ],
)
def test_only_what_is_below_a_listed_url_is_possible(url: str, allowed: str, possible: bool) -> None:
    kind = WebhookDestination(PlainNode(webhook_urls=allowed))
    if possible:
        assert parse_url(url) == kind.parse({"url": url})
    else:
        with pytest.raises(BadDestination, match=r"^url: must be below one that the node's operator has listed"):
            kind.parse({"url": url})


def test_a_wrong_setting_names_itself() -> None:
    with pytest.raises(ValueError, match=r"^setting webhook_urls: url: must be http"):
        WebhookDestination(PlainNode(webhook_urls="https://hooks.test/ ftp://hooks.test/"))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "fe80::1"])
def test_a_name_that_leads_to_this_machine_is_refused(hooks: Hooks, address: str) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **kwargs: object) -> list[object]:  # type: ignore[override]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, hooks.port))]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    url = f"http://hooks.test:{hooks.port}/"
    kind = WebhookDestination(PlainNode(webhook_urls=url))

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        with pytest.raises(OSError, match=r"hooks\.test leads to .*; such an address must be listed itself"):
            await kind.deliver(delivery(), kind.parse({"url": url}))

    trio.run(main)

    assert [] == hooks.got


def test_localhost_is_reached_when_it_is_listed(hooks: Hooks) -> None:
    url = f"http://localhost:{hooks.port}/fgd"
    post(url, url)

    assert [f"localhost:{hooks.port}"] == [headers["host"] for _, headers, _ in hooks.got]
