"""The history of requests, on disk."""

from pathlib import Path

import pytest
import trio

from fgd.store import history
from fgd.store.history import Minute, RequestHistory


def _minute(minute: int, func_id: str = "f", version: str = "latest", requests: int = 1) -> Minute:
    return Minute(func_id, version, minute, requests, requests / 4, 3, 2)


def test_minutes_come_back_in_order_of_time_after_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        first = await RequestHistory.open(tmp_path)
        many = [_minute(number, version="v1", requests=number) for number in range(300)]
        await first.add([*many, _minute(7), _minute(5, "g")])
        await first.aclose()
        second = await RequestHistory.open(tmp_path)

        assert [*many[5:7], _minute(7), *many[7:]] == await second.minutes("f", since=5)
        assert [_minute(7)] == await second.minutes("f", version="latest")
        assert [_minute(5, "g")] == await second.minutes("g")
        await second.add([_minute(7, requests=9)])
        assert [_minute(7, requests=9)] == await second.minutes("f", version="latest")
        await second.aclose()

    trio.run(body)


def test_old_minutes_deleted_functions_and_too_many_rows_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        store = await RequestHistory.open(tmp_path)
        await store.add([_minute(number) for number in range(20)] + [_minute(19, "gone")])
        await store.clean(10, ["f"])

        assert list(range(10, 20)) == [one.minute for one in await store.minutes("f")]
        assert [] == await store.minutes("gone")
        monkeypatch.setattr(history, "ROWS_MAX", 4)
        await store.clean(0, ["f"])
        assert 4 >= len(await store.minutes("f"))
        assert 19 == (await store.minutes("f"))[-1].minute
        await store.aclose()

    trio.run(body)
