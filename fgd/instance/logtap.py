"""Turns what an instance prints into log lines, at a bounded rate. What is dropped is counted and said."""

import time
from typing import Final

from fgd.store.api import LogBook, LogLine

_LEVELS: Final = {0: "", 10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "ERROR"}
#: A longer line is cut into several (the cloud's own limit).
LINE_MAX_BYTES: Final = 90 * 1024


class LogTap:
    """One per instance: a budget of lines and bytes for each second, and the unfinished line of the raw output."""

    __slots__ = (
        "_book", "_bytes_left", "_bytes_per_s", "_dropped", "_func_id", "_instance_id", "_lines_left",
        "_lines_per_s", "_partial", "_second", "_version", "dropped_total",
    )  # fmt: skip

    def __init__(
        self, book: LogBook, func_id: str, version: str, instance_id: str, *, lines_per_s: int, bytes_per_s: int
    ) -> None:
        self._book = book
        self._func_id = func_id
        self._version = version
        self._instance_id = instance_id
        self._lines_per_s = self._lines_left = lines_per_s
        self._bytes_per_s = self._bytes_left = bytes_per_s
        self._second = 0
        self._dropped = 0
        self._partial = bytearray()
        self.dropped_total = 0

    def text(self, request_id: str, level: int, time_s: float, text: bytes) -> None:
        """Lines of a LOG frame. `time_s` comes from the runtime and is only believed within a minute."""
        now = time.time()
        if not abs(time_s - now) <= 60:  # written so that NaN is refused as well
            time_s = now
        if now >= self._second + 1:
            self.tick(now)
        if self._lines_left <= 0 or self._bytes_left <= 0:
            # Whoever floods must not make us look at each of its lines.
            self._dropped += text.count(b"\n") + (not text.endswith(b"\n"))
            return
        name = _LEVELS.get(level, "")
        for raw in text.removesuffix(b"\n").split(b"\n"):
            self._lines_left -= 1
            self._bytes_left -= len(raw)
            if self._lines_left < 0 or self._bytes_left < 0:
                self._dropped += 1
                continue
            line = raw.decode("utf-8", "replace")
            self._book.line(LogLine(time_s, self._func_id, self._version, self._instance_id, request_id, name, line))

    def raw(self, request_id: str, data: bytes) -> None:
        """Bytes of the raw output (descriptors 1 and 2), with lines cut anywhere."""
        self._partial += data
        whole = len(self._partial) >= LINE_MAX_BYTES
        cut = len(self._partial) if whole else self._partial.rfind(b"\n") + 1
        if cut:
            self.text(request_id, 0, time.time(), bytes(self._partial[:cut]))
            del self._partial[:cut]

    def finish(self, request_id: str) -> None:
        """Writes what is left of an unfinished line, and what was dropped."""
        if self._partial:
            self.text(request_id, 0, time.time(), bytes(self._partial))
            self._partial.clear()
        self.tick(time.time())

    def tick(self, now_s: float) -> None:
        """Renews the budget for a new second; call it about once a second so that drops are said in time."""
        if self._dropped:
            text = (
                f"fgd: {self._dropped} log lines dropped: over the limit of {self._lines_per_s} lines"
                f" or {self._bytes_per_s} bytes per second"
            )
            self._book.line(LogLine(now_s, self._func_id, self._version, self._instance_id, "", "WARN", text))
            self.dropped_total += self._dropped
            self._dropped = 0
        self._second = int(now_s)
        self._lines_left = self._lines_per_s
        self._bytes_left = self._bytes_per_s
