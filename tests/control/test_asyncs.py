"""Asynchronous settings and the queries of records."""

import pytest

from fgd.config import Config
from fgd.control.asyncs import parse_async_config, parse_record_query
from fgd.control.targets import Targets
from fgd.errors import BadParameter, BadQuery
from fgd.invoke.resolve import Directory
from tests.control.world import FixedNode, builtin_kinds

TARGETS = Targets(builtin_kinds(FixedNode(Config())), Directory())
NOW_S = 1_715_846_489.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_async_event_age_in_seconds", 0),
        ("max_async_event_age_in_seconds", 86401),
        ("max_async_event_age_in_seconds", "60"),
        ("max_async_retry_attempts", -1),
        ("max_async_retry_attempts", 4),
        ("max_async_retry_attempts", True),
        ("enable_async_status_log", "true"),
    ],
)
def test_bad_settings_name_the_field(field: str, value: object) -> None:
    with pytest.raises(BadParameter, match=f"^{field}:"):
        parse_async_config({field: value}, TARGETS)


def test_a_query_without_times_looks_back_an_hour_unless_it_names_a_request() -> None:
    assert NOW_S - 3600 == parse_record_query({}, NOW_S).begin_s
    assert 0.0 == parse_record_query({"request_id": "r"}, NOW_S).begin_s


def test_times_are_utc_with_and_without_zone() -> None:
    for text in ("2024-05-16T08:01:29", "2024-05-16T08:01:29Z", "2024-05-16T10:01:29+02:00"):
        assert NOW_S == parse_record_query({"query_begin_time": text}, NOW_S).begin_s


@pytest.mark.parametrize(
    "query",
    [{"status": "DONE"}, {"limit": "501"}, {"limit": "-1"}, {"marker": "x"}, {"query_begin_time": "yesterday"},
     {"query_end_time": "2024-13-01T00:00:00"}],
)  # fmt: skip
def test_bad_queries_name_the_parameter(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery, match=f"^{next(iter(query))}:"):
        parse_record_query(query, NOW_S)
