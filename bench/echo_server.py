"""Ceiling: an HTTP server of trio and httptools that answers in place. Usage: python -m bench.echo_server PORT."""

import contextlib
import sys

import httptools
import trio

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class _Connection:
    """Answers every request with its own body, or with a greeting if it has none."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._body: list[bytes] = []

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body) or b'{"hello":"world"}'
        self.out.append(_ANSWER % (len(body), body))


async def _serve(stream: trio.SocketStream) -> None:
    connection = _Connection()
    parser = httptools.HttpRequestParser(connection)
    with contextlib.suppress(OSError), stream.socket as sock:  # clients may go away at any time
        while data := await sock.recv(65536):
            parser.feed_data(data)
            if connection.out:
                await sock.send(b"".join(connection.out))
                connection.out.clear()


async def main(port: int) -> None:
    """Serves until it is killed."""
    await trio.serve_tcp(_serve, port, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
