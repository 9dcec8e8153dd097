"""Counting against a throttling policy."""

from typing import Any

from fgd.control.api_throttle import Limit
from fgd.store.apis import ApiThrottle


def limit(**fields: Any) -> Limit:
    given: dict[str, Any] = {"id": "1", "project_id": "p", "name": "n", "api_limit": 100, **fields}
    return Limit(ApiThrottle(**given))


def test_a_window_ends_at_a_multiple_of_its_length() -> None:
    one = limit(api_limit=2, interval=10)
    taken = [one.take(moment, "", "", "") for moment in (109.0, 109.5, 109.9, 110.0, 110.1, 119.9, 120.0)]

    assert [True, True, False, True, True, False, True] == taken


def test_each_kind_of_caller_has_its_count() -> None:
    one = limit(user_limit=1, app_limit=2, ip_limit=3)
    users = [one.take(0.0, "u", "", "1.1.1.1"), one.take(0.0, "u", "", "1.1.1.2"), one.take(0.0, "v", "", "1.1.1.2")]
    apps = [one.take(0.0, "", "a", "1.1.1.3") for _ in range(3)]
    addresses = [one.take(0.0, "", "", "1.1.1.4") for _ in range(4)]

    assert [True, False, True] == users
    assert [True, True, False] == apps
    assert [True, True, True, False] == addresses


def test_what_is_refused_counts_for_nobody() -> None:
    one = limit(api_limit=3, ip_limit=1)
    for _ in range(10):
        one.take(0.0, "", "", "1.1.1.1")

    assert [True, True, False] == [one.take(0.0, "", "", address) for address in ("2", "3", "4")]


def test_very_many_addresses_take_bounded_memory() -> None:
    one = limit(api_limit=2_000_000, ip_limit=5, unit="DAY")
    for number in range(100_000):
        one.take(0.0, "", "", f"a{number}")

    assert [True] * 5 + [False] == [one.take(0.0, "", "", f"b{number}") for number in range(6)]
    assert one.take(0.0, "", "", "a1")
