"""What the host is asked, and how answers are read."""

from pathlib import Path

import pytest

from fgd.linux import probe


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("5.15.153.1-microsoft-standard-WSL2", (5, 15)), ("nonsense", (0, 0))],
)
def test_kernel_version_is_read_from_the_release(release: str, version: tuple[int, int]) -> None:
    assert probe.kernel_version(release) == version


@pytest.mark.parametrize(
    ("line", "clashes"),
    [
        ("alice:100000:65536", False), ("bob:1879048000:65536", True), ("eve:2000000000:1", True),
        ("eve:2000000001:1", False), ("carol:1879048191:1", False), ("# comment", False), ("broken:x:y", False),
        ("none:1900000000:0", False),
    ],
)  # fmt: skip
def test_ranges_of_others_are_compared_with_ours(line: str, clashes: bool) -> None:
    found = probe.subordinate_clashes(line + "\n", "/etc/subuid", 1879048192, 2000000000)

    assert bool(found) == clashes


def test_accounts_in_the_range_are_named() -> None:
    assert any(text.startswith("user root") for text in probe.range_clashes(0, 10, subordinate=()))


def test_a_missing_setting_is_none() -> None:
    assert probe.sysctl("kernel.no_such_setting") is None
    assert probe.sysctl("kernel.ostype") == "Linux"


def test_the_trial_of_namespaces_leaves_us_as_we_were() -> None:
    before = {kind: Path("/proc/self/ns", kind).readlink() for kind in probe.NAMESPACES}

    answer = probe.try_namespaces()

    assert isinstance(answer, str)
    assert before == {kind: Path("/proc/self/ns", kind).readlink() for kind in probe.NAMESPACES}


def test_probing_calls_harms_nothing() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    assert set(probe.missing_calls()) <= set(probe.NEEDED_CALLS)
    assert before == len(list(Path("/proc/self/fd").iterdir()))
