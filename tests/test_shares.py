"""What an operator offers to be mounted, as the settings say it."""

from typing import Any

import pytest

from fgd.config import ConfigError, parse_config
from fgd.shares import HostRoot, NfsExport, parse_exports, parse_owners, parse_roots


def test_roots_have_a_name_or_are_called_by_their_path() -> None:
    assert (HostRoot("/srv/a", "/srv/a"), HostRoot("b", "/srv/b", True)) == parse_roots(["/srv/a", "b=/srv/b  ro"])
    assert (HostRoot("/x=y", "/x=y"),) == parse_roots(["/x=y"])


def test_exports_have_a_server_a_path_and_maybe_a_version() -> None:
    found = parse_exports(["nas:/", "a=10.0.0.5:/export vers=3 ro", "b=[fd00::1]:/x"])

    assert NfsExport("nas:/", "nas", "/") == found[0]
    assert NfsExport("a", "10.0.0.5", "/export", "3", True) == found[1]
    assert NfsExport("b", "fd00::1", "/x") == found[2]


def test_owners_are_two_ids() -> None:
    assert ((33, 34), (1003, 1003)) == parse_owners(["33:34", "1003:1003"])


@pytest.mark.parametrize(
    ("setting", "lines", "rule"),
    [
        ("mount_roots", ["srv"], "absolute"),
        ("mount_roots", [""], "absolute"),
        ("mount_roots", ["/srv/../etc"], "without '..'"),
        ("mount_roots", ["a b=/srv"], "absolute"),
        ("mount_roots", ["-a=/srv"], "the name"),
        ("mount_roots", ["/srv rw"], "does not know 'rw'"),
        ("mount_roots", ["a=/srv", "a=/data"], "twice"),
        ("mount_roots", "/srv", "list of texts"),
        ("mount_roots", [1], "list of texts"),
        ("nfs_servers", ["nas"], "HOST:/PATH"),
        ("nfs_servers", ["nas:export"], "HOST:/PATH"),
        ("nfs_servers", ["nas,x:/x"], "HOST:/PATH"),
        ("nfs_servers", ["fd00::1:/x"], "HOST:/PATH"),
        ("nfs_servers", ["nas:/x vers=2"], "does not know"),
        ("nfs_servers", ["nas:/x vers=3 vers=4.2"], "more than one version"),
        ("nfs_servers", ["nas:/x", "nas:/x"], "twice"),
        ("nfs_owners", ["0:5"], "UID:GID"),
        ("nfs_owners", ["5"], "UID:GID"),
        ("nfs_owners", ["70000:5"], "UID:GID"),
    ],
)
def test_a_line_of_another_form_ends_the_start(setting: str, lines: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        parse_config({setting: lines})

    assert str(caught.value).startswith(f"{setting}: ")
