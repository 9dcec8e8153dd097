"""Requests at the same time, each on a connection of its own."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fgd.testing.client import Answer, Client


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer and when it came, in seconds of the monotonic clock."""

    answer: Answer
    at_s: float


class Flood:
    """Sends `count` equal requests at once; `answers` has what came so far, in order of arrival."""

    def __init__(self, connect: Callable[[], Client], count: int, send: Callable[[Client], Answer]) -> None:
        self.answers: list[Timed] = []
        self._threads = [threading.Thread(target=self._one, args=(connect, send)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _one(self, connect: Callable[[], Client], send: Callable[[Client], Answer]) -> None:
        client = connect()
        try:
            answer = send(client)
            self.answers.append(Timed(answer, time.monotonic()))
        finally:
            client.close()

    def finish(self) -> list[Answer]:
        """Waits for all answers."""
        for thread in self._threads:
            thread.join()
        assert len(self.answers) == len(self._threads), "a request got no answer"
        return [one.answer for one in self.answers]
