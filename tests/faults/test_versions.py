"""The daemon is killed while versions are published and an alias moves: each change is there whole, or not at all."""

import contextlib
import http.client
import threading
import time

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

SOURCE = "def handler(event, context):\n    return %d\n"


def _publish_for_ever(api: Client, urn: str, done: list[int]) -> None:
    """Code n, published as v<n>, then the alias moved there; `done` holds each n that was acknowledged to the end."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        for number in range(1, 1000):
            answers = [
                api.replace_code(urn, SOURCE % number),
                api.functions("POST", f"/{urn}/versions", {"version": f"v{number}"}),
                api.functions("PUT", f"/{urn}/aliases/live", {"version": f"v{number}"}),
            ]
            assert [200, 200, 200] == [answer.status for answer in answers], answers
            done.append(number)
            if number > 2:  # twenty versions are all there may be
                api.functions("DELETE", f"/{urn}:v{number - 2}")


def test_killed_while_publishing(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = api.deploy("moving", SOURCE % 0).rpartition(":")[0]
    api.functions("POST", f"/{urn}/versions", {"version": "v0"})
    assert 200 == api.functions("POST", f"/{urn}/aliases", {"name": "live", "version": "v0"}).status
    for pause_s in (0.15, 0.4, 0.27):
        done: list[int] = []
        versions = api.functions("GET", f"/{urn}/versions").json()["versions"]
        for version in versions:  # numbers begin anew
            if version["version"] not in ("latest", "v0"):
                api.functions("PUT", f"/{urn}/aliases/live", {"version": "v0"})
                assert 204 == api.functions("DELETE", f"/{urn}:{version['version']}").status
        publisher = threading.Thread(target=_publish_for_ever, args=(daemon.client(keys), urn, done))
        publisher.start()
        time.sleep(pause_s)
        daemon.kill9()
        publisher.join()
        assert [] == daemon.wait_gone()
        daemon.start()
        api = daemon.client(keys)
        [alias] = api.functions("GET", f"/{urn}/aliases").json()
        found = {one["version"]: one for one in api.functions("GET", f"/{urn}/versions").json()["versions"]}

        last = done[-1] if done else 0
        assert int(alias["version"][1:]) in (last, last + 1)
        for name in found.keys() - {"latest"}:
            assert int(name[1:]) == api.invoke(f"{urn}:{name}").json(), "a version runs the code it was made of"
        assert int(alias["version"][1:]) == api.invoke(f"{urn}:!live").json()
