"""The certificate that fgd signs itself: kept, and made anew when it is of no use."""

from pathlib import Path

from fgd.store.certificate import FILE, server_context

NOW_S = 1_900_000_000.0
ADDRESS = "127.100.0.1"


def _made(state_dir: Path, address: str = ADDRESS, now_s: float = NOW_S) -> bytes:
    server_context(state_dir, address, now_s)
    return (state_dir / FILE).read_bytes()


def test_it_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    first = _made(tmp_path)

    assert first == _made(tmp_path, now_s=NOW_S + 1000)
    assert 0o600 == (tmp_path / FILE).stat().st_mode & 0o777
    assert [FILE] == [path.name for path in tmp_path.iterdir()]


def test_one_for_another_address_an_old_and_a_damaged_one_are_replaced(tmp_path: Path) -> None:
    first = _made(tmp_path)
    other = _made(tmp_path, "127.100.0.2")
    later = _made(tmp_path, "127.100.0.2", NOW_S + 3650 * 86400)
    (tmp_path / FILE).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert 4 == len({first, other, later, _made(tmp_path)})
