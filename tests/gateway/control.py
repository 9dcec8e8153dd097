"""What stands in for the control plane: a small real server on a unix socket."""

import contextlib
import socket
import threading


class Control:
    """Answers one request per connection, by its path; keeps what it got."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.ended_early = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _one(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                data += self._more(sock)
            head, _, data = data.partition(b"\r\n\r\n")
            self.heads.append(head)
            path = head.split(b" ")[1]
            if path == b"/early":
                sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                return
            if path == b"/die":
                return
            try:
                body = self._body(sock, head.lower(), data)
            except OSError:
                self.ended_early.set()
                raise
            self.bodies.append(body)
            self._answer(sock, path, body)

    def _body(self, sock: socket.socket, head: bytes, data: bytes) -> bytes:
        if b"transfer-encoding: chunked" in head:
            while not data.endswith(b"0\r\n\r\n"):
                data += self._more(sock)
            return data
        size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(data) < size:
            data += self._more(sock)
        return data

    def _more(self, sock: socket.socket) -> bytes:
        piece = sock.recv(65536)
        if not piece:
            raise OSError("the client left")
        return piece

    def _answer(self, sock: socket.socket, path: bytes, body: bytes) -> None:
        if path == b"/chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            sock.sendall(b"2\r\nde\r\n0\r\n\r\n")
        elif path == b"/until-close":
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
        elif path == b"/half":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        elif path == b"/none":
            sock.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        elif path == b"/interim":
            sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        elif path == b"/wait":
            if not sock.recv(1):
                self.ended_early.set()
        elif path == b"/big":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000)
        else:
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Kept: yes\r\nContent-Length: %d\r\n\r\n" % len(body)
            sock.sendall(head + (b"" if self.heads[-1].startswith(b"HEAD") else body))
