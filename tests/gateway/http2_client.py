"""A blocking client that speaks HTTP/2 by TLS, and lets a test send whatever it wants."""

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.gateway.rig import Answer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

type Headers = Iterable[tuple[str, str]]


def unchecked(*protocols: str) -> ssl.SSLContext:
    """Settings of a client that takes any certificate and offers these protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


def dial(address: tuple[str, int], *protocols: str, timeout_s: float = 10.0) -> ssl.SSLSocket:
    """A connection after its handshake."""
    sock = socket.create_connection(address)
    sock.settimeout(timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return unchecked(*protocols).wrap_socket(sock)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame as it goes over the wire."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload


@dataclass
class Heard:
    """What came of a stream."""

    interim: list[int] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Http2:
    """One connection. What it sends is checked by nobody; with `acknowledge=False` windows stay as they become."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        window: int | None = None,
        acknowledge: bool = True,
        timeout_s: float = 10.0,
    ) -> None:
        self.sock = dial(address, "h2", timeout_s=timeout_s)
        assert "h2" == self.sock.selected_alpn_protocol()
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.acknowledge = acknowledge
        self.heard: dict[int, Heard] = {}
        #: Error code of the server's GOAWAY and the last stream that it took.
        self.goaway: tuple[int, int] | None = None
        self.pings = 0
        self.settings: dict[int, int] = {}
        self.gone = False
        if window is not None:
            self.h2.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def send_raw(self, data: bytes) -> bool:
        """Past everything; False when the server has closed."""
        try:
            self.sock.sendall(data)
        except (ConnectionError, ssl.SSLError):
            return False
        return True

    def forget_limit(self) -> None:
        """Opens more streams than the server wants from now on."""
        while SettingCodes.MAX_CONCURRENT_STREAMS not in self.settings:
            self.pump()
        self.h2.remote_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: 1_000_000})
        self.h2.remote_settings.acknowledge()

    def begin(
        self,
        path: str,
        *fields: tuple[str, str],
        method: str = "GET",
        ended: bool = True,
        authority: str = "gateway:8443",
        stream_id: int | None = None,
    ) -> int:
        """Sends the head of a request, gives its stream."""
        pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        return self.send_fields([*pseudo, *fields], ended, stream_id)

    def send_fields(self, fields: list[tuple[str, str]], ended: bool = True, stream_id: int | None = None) -> int:
        number = stream_id or self.h2.get_next_available_stream_id()
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        self.h2.send_headers(number, raw, end_stream=ended)
        self.heard[number] = Heard()
        self.flush()
        return number

    def body(self, stream_id: int, data: bytes, ended: bool = True) -> None:
        """Sends a body within the windows; stops when the server ends the stream."""
        at = 0
        heard = self.heard[stream_id]
        while at < len(data) and not heard.ended and heard.reset is None and not self.gone:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.pump()
                continue
            piece = data[at : at + room]
            at += len(piece)
            self.h2.send_data(stream_id, piece)
            self.flush()
        if ended and heard.reset is None and not self.gone:
            self.h2.end_stream(stream_id)
            self.flush()

    def pump(self) -> None:
        """Reads once."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.gone = True
            return
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            raise AssertionError(f"the server breaks the protocol: {error}") from error
        for event in events:
            self._handle(event)
        if self.goaway is None:
            with contextlib.suppress(OSError):  # it may have closed behind what it sent
                self.flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.heard[event.stream_id].fields = [(str(name), str(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self.heard[event.stream_id].interim.append(int(event.headers[0][1]))
        elif isinstance(event, h2.events.DataReceived):
            self.heard[event.stream_id].body += event.data
            if self.acknowledge:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.heard[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.heard.setdefault(event.stream_id, Heard()).reset = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (int(event.error_code or 0), event.last_stream_id or 0)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pings += 1
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings |= {int(code): changed.new_value for code, changed in event.changed_settings.items()}

    def wait(self, stream_id: int) -> Heard:
        """Reads until a stream is over."""
        heard = self.heard[stream_id]
        while not heard.ended and heard.reset is None and not self.gone:
            self.pump()
        return heard

    def answer(self, stream_id: int) -> Answer:
        """The whole answer of a stream."""
        heard = self.wait(stream_id)
        assert heard.ended, f"reset {heard.reset}, goaway {self.goaway}, gone {self.gone}"
        headers = dict(heard.fields)
        return Answer(int(headers.pop(":status")), headers, bytes(heard.body))

    def ask(self, path: str, *fields: tuple[str, str], method: str = "GET", body: bytes | None = None) -> Answer:
        stream_id = self.begin(path, *fields, method=method, ended=body is None)
        if body is not None:
            self.body(stream_id, body)
        return self.answer(stream_id)

    def until_gone(self) -> None:
        """Reads until the server closes."""
        while not self.gone:
            self.pump()

    def close(self) -> None:
        self.sock.close()


def pour(sock: ssl.SSLSocket, data: bytes, times: int = 1, patience_s: float = 0.5) -> int:
    """Sends that so often, as fast as it is taken, and reads what comes, until nothing moves any more; how many bytes
    were taken.

    All by one thread: two at once on one connection corrupt the memory of Python 3.12.
    """
    sock.setblocking(False)
    sent, size = 0, len(data) * times
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        while True:
            moved = False
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not sock.recv(65536):
                    break
                moved = True
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if count := sock.send(data[sent % len(data) :]) if sent < size else 0:
                    sent += count
                    moved = True
            writing = [sock] if sent < size else []
            if not moved and not any(select.select([sock], writing, [], patience_s)):
                break
    return sent
