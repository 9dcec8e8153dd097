"""What was published arrives at every subscriber, also when the daemon is killed in between."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually, fgd_command
from tests.e2e.hooks import Hooks
from tests.e2e.sources import ECHO

_PUBLICATIONS = 1000


def cli(daemon: DaemonProcess, *words: str) -> Any:
    command = [fgd_command(), "--json", "--admin-socket", str(daemon.admin_socket), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def subscribed(daemon: DaemonProcess, api: Client, hooks: Hooks) -> str:
    """A topic with a trigger, a subscribed function and an endpoint that has confirmed; gives its URN."""
    urn = str(cli(daemon, "smn", "topics", "create", "news")["topic_urn"])
    api.deploy("told", ECHO)
    api.deploy("triggered", ECHO)
    cli(daemon, "smn", "subscriptions", "add", "news", "told")
    cli(daemon, "triggers", "create", "triggered", "smn", "--set", f"topic_urn={urn}")
    cli(daemon, "smn", "subscriptions", "add", "news", hooks.url)
    assert eventually(lambda: len(hooks.got) == 1)
    link = urlsplit(hooks.got.pop()[2]["subscribe_url"])
    assert 200 == daemon.admin("GET", f"{link.path}?{link.query}").status
    return urn


def publish(daemon: DaemonProcess, urn: str, api: Client, number: int) -> None:
    path = f"/v2/{api.project_id}/notifications/topics/{urn}/publish"
    answer = daemon.admin("POST", path, {"message": str(number)})
    assert answer.status == 200, answer.text


def heard_all(daemon: DaemonProcess, api: Client, name: str) -> bool:
    """Whether as many invocations of a function have ended well as there were messages."""
    path = f"/v2/{api.project_id}/fgs/functions/{name}/async-invocations"
    answer = daemon.admin("GET", f"{path}?status=SUCCESS&marker={_PUBLICATIONS - 1}&limit=1")
    return 1 == len(answer.json()["invocations"])


def test_a_thousand_messages_reach_three_subscribers_and_none_is_lost_by_a_kill(tmp_path: Path) -> None:
    settings: dict[str, object] = {"drain_s": 1.0, "delivery_retry_first_s": 0.1, "delivery_timeout_s": 60.0}
    with Hooks() as hooks, DaemonProcess(tmp_path, {"webhook_urls": hooks.url, **settings}) as daemon:
        api = daemon.client(daemon.create_keys())
        urn = subscribed(daemon, api, hooks)
        hooks.gate.clear()
        for number in range(_PUBLICATIONS):
            publish(daemon, urn, api, number)
        api.close()
        daemon.kill9()
        assert [] == daemon.wait_gone()
        hooks.gate.set()
        daemon.start()

        assert eventually(lambda: [] == cli(daemon, "smn", "deliveries", "news")["deliveries"], timeout_s=60.0)
        seen = Counter(int(body["message"]) for _, _, body in hooks.got)
        assert set(range(_PUBLICATIONS)) == set(seen)
        assert 4 >= sum(seen.values()) - _PUBLICATIONS, "only what was on the wire comes twice"
        assert eventually(lambda: heard_all(daemon, api, "told"), timeout_s=60.0)
        assert eventually(lambda: heard_all(daemon, api, "triggered"), timeout_s=60.0)
