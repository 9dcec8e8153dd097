"""Which version of an alias a request goes to."""

import pytest

from fgd.invoke.split import Split
from fgd.model import Alias, HeaderRule
from tests.control.test_directory import function

MAIN, OTHER = function("f", version="v1"), function("f", version="v2")


def split(**fields: object) -> Split:
    alias = Alias(func_id="f", name="live", version="v1", additional_version="v2", **fields)  # type: ignore[arg-type]
    return Split(alias, MAIN, OTHER)


def rule(name: str, *values: str) -> HeaderRule:
    return HeaderRule(name=name, values=values)


@pytest.mark.parametrize("weight", [0, 1, 5, 33, 50, 99, 100])
def test_the_share_is_right_to_a_tenth_of_a_percent_over_ten_thousand_requests(weight: int) -> None:
    one = split(weight=weight)
    picked = sum(one.pick() is OTHER for _ in range(10_000))

    assert weight * 100 == pytest.approx(picked, abs=10)


def test_a_share_is_spread_and_never_comes_in_long_runs() -> None:
    one = split(weight=50)
    picks = [one.pick() is OTHER for _ in range(1000)]
    longest = max(len(run) for run in "".join("x" if pick else " " for pick in picks).split(" "))

    assert longest <= 3


def test_without_an_additional_version_all_goes_to_the_main_one() -> None:
    one = Split(Alias(func_id="f", name="live", version="v1"), MAIN, None)

    assert all(one.pick() is MAIN for _ in range(10))


@pytest.mark.parametrize(
    ("combine", "headers", "expected"),
    [
        ("and", [(b"x-user", b"ann"), (b"x-beta", b"2")], OTHER),
        ("and", [(b"x-user", b"ann")], MAIN),
        ("and", [(b"x-user", b"bob"), (b"x-beta", b"2")], MAIN),
        ("or", [(b"x-beta", b"1")], OTHER),
        ("or", [(b"x-user", b"Ann")], MAIN),
        ("or", [(b"x-user", b"bob"), (b"x-user", b" ann ")], OTHER),
        ("or", [], MAIN),
    ],
)
def test_header_rules(combine: str, headers: list[tuple[bytes, bytes]], expected: object) -> None:
    one = split(rules=(rule("x-user", "ann"), rule("x-beta", "1", "2")), combine=combine)

    assert expected is one.pick(headers)
