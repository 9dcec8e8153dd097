"""Tasks that clear up for as long as the daemon runs: a disk that fails once ends none of them, nor the daemon."""

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from fgd.config import Config
from fgd.control.log_streams import LogStreams
from fgd.control.public import PublicFolder
from fgd.errors import StorageFull


class FailsOnce:
    """A store of which the first call of each kind fails."""

    def __init__(self) -> None:
        self.calls = 0

    async def _answer(self, *_: object) -> None:
        self.calls += 1
        if self.calls == 1:
            raise StorageFull("the disk is full")

    trim = set_public = _answer

    def public(self) -> list[Any]:
        return [type("Gone", (), {"id": "1", "dep_id": "d", "version": 1, "label": "d 1"})]


def test_old_lines_of_log_streams_are_removed_later(caplog: pytest.LogCaptureFixture) -> None:
    store = FailsOnce()
    streams = LogStreams(Config(), cast(Any, None), cast(Any, None), cast(Any, store), cast(Any, None), lambda: 0.0)

    async def main() -> None:
        with trio.move_on_after(86_400):
            await streams.run()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert "old lines of log streams stay: the disk is full" in caplog.text
    assert store.calls > 1


def test_public_dependencies_are_taken_over_at_the_next_reload(caplog: pytest.LogCaptureFixture) -> None:
    store = FailsOnce()
    folder = PublicFolder("", cast(Any, store), ())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(folder.run)
            await trio.sleep(1)
            folder.reload()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert "reload to try again: the disk is full" in caplog.text
    assert 2 == store.calls
