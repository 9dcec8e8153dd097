"""A second thread that reads the channel, for functions with a heartbeat and one call at a time.

Theory of operation: there the main thread runs the handler, and while it does nobody would read the question. So a
thread reads all frames, answers to heartbeats are given elsewhere, and whole frames of every other kind go to the main
thread, which cannot tell this from the channel itself. It costs two switches of threads for each call; functions
without a heartbeat do not pay for it.
"""

import collections
import threading

from _fgd_runtime.channel import HEADER, HEARTBEAT, Channel


class Relay(Channel):
    """Takes the place of a channel for the thread that runs the handler."""

    __slots__ = ("_filled", "_frames", "_heartbeat", "_source")

    def __init__(self, source, heartbeat):
        # Descriptor and lock are those of the source: its other users go on as before.
        for name in ("fd", "wait", "pid", "main", "lock"):
            setattr(self, name, getattr(source, name))
        self.rest = b""
        self._source = source
        self._heartbeat = heartbeat
        self._frames = collections.deque()
        self._filled = threading.Lock()
        self._filled.acquire()
        thread = threading.Thread(target=self._run, name="fgd-channel")
        thread.daemon = True
        thread.start()

    def read_some(self):
        """The next frame; waits for it."""
        while True:
            try:
                return self._frames.popleft()
            except IndexError:
                self._filled.acquire()

    def _run(self):
        while True:
            kind, flags, call_id, body = self._source.next_frame()
            if kind == HEARTBEAT:
                self._heartbeat.ask(call_id)
                continue
            self._frames.append(HEADER.pack(len(body), kind, flags, 0, call_id) + body)
            try:
                self._filled.release()
            except Exception:  # it is free already: the main thread has not taken up the frame before this one
                pass
