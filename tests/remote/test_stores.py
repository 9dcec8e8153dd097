"""Lines of the setting `object_stores`."""

import pytest

from fgd.config import ConfigError, parse_config
from fgd.remote_stores import BadRemoteStore, RemoteStore, parse_remote_stores


def test_a_line_names_a_store() -> None:
    stores = parse_remote_stores(
        ["a-1 https://s3.example.com/ keys=/k region=r1 projects=p1,p2 poll_s=0.5", "b http://[::1]:9000 keys=/k2"]
    )

    assert {
        "a-1": RemoteStore("a-1", "https://s3.example.com", "/k", "r1", ("p1", "p2"), 0.5),
        "b": RemoteStore("b", "http://[::1]:9000", "/k2"),
    } == stores


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "a name must have"),
        ("A http://h keys=/k", "a name must have"),
        ("a", "must have http"),
        ("a ftp://h keys=/k", "must have http"),
        ("a http:// keys=/k", "must have http"),
        ("a http://h/path keys=/k", "must have http"),
        ("a http://user:pw@h keys=/k", "must have http"),
        ("a http://h:99999 keys=/k", "must have http"),
        ("a http://h:0 keys=/k", "must have http"),
        ("a http://h?x keys=/k", "must have http"),
        ("a http://h", "must have keys="),
        ("a http://h keys=", "must have keys="),
        ("a http://h keys=/k keys=/l", "must have keys="),
        ("a http://h keys=/k other=1", "must have keys="),
        ("a http://h keys=/k poll_s=0", "poll_s must be"),
        ("a http://h keys=/k poll_s=nan", "poll_s must be"),
        ("a http://h keys=/k poll_s=often", "poll_s must be"),
    ],
)
def test_lines_that_cannot_be_say_why(line: str, says: str) -> None:
    with pytest.raises(BadRemoteStore, match=says):
        parse_remote_stores([line])
    with pytest.raises(ConfigError, match=f"object_stores: .*{says}"):
        parse_config({"object_stores": [line]})


def test_a_name_is_there_once() -> None:
    with pytest.raises(BadRemoteStore, match="'a' is there twice"):
        parse_remote_stores(["a http://h keys=/k", "a http://i keys=/k"])
