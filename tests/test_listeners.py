"""What the settings say of places to listen at."""

import pytest

from fgd.config import Config
from fgd.listeners import parse_listeners, wants_tls
from fgd.startup import StartError


@pytest.mark.parametrize(
    "text", ["9300", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:9300 apis", "127.0.0.1:9300 tls tls", "h:9300, tls"]
)
def test_where_the_object_store_cannot_listen(text: str) -> None:
    with pytest.raises(StartError, match=r"obs_listen: must be HOST:PORT, then tls"):
        parse_listeners(Config(obs_listen=text, tls_cert="c", tls_key="k"))


@pytest.mark.parametrize(("text", "tls"), [("", False), ("127.0.0.1:9300", False), ("[::1]:9300  tls ", True)])
def test_where_it_can(text: str, tls: bool) -> None:
    config = Config(obs_listen=text, tls_cert="c", tls_key="k")

    assert [] == parse_listeners(config)
    assert tls is wants_tls(config, [])


def test_tls_needs_a_certificate() -> None:
    with pytest.raises(StartError, match=r"obs_listen: tls needs the settings tls_cert and tls_key"):
        parse_listeners(Config(obs_listen="127.0.0.1:9300 tls"))
    with pytest.raises(StartError, match=r"listeners: tls needs"):
        parse_listeners(Config(listeners=("127.0.0.1:9300 tls",)))
