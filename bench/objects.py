"""The object store: small objects per second, MiB per second in and out, and events per second until a function ran.

Usage: python -m bench.objects
"""

import http.client
import threading
import time

from bench.host import report, say
from bench.node import node
from fgd.testing.client import Client
from fgd.testing.host import eventually, free_port

SMALL = 800
CLIENTS = (1, 8)
LARGE_MIB = 128
PATIENCE_S = 120.0
HANDLER = "def handler(event, context):\n    return 1\n"


class Store:
    """Requests with a token, so that signing costs the clients nothing."""

    def __init__(self, address: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        self._token = token

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        self._connection.request(method, path, body, {"X-Auth-Token": self._token})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return data


def put_many(address: str, token: str, bucket: str, clients: int) -> float:
    """Objects of 1 KB per second."""

    def work(number: int) -> None:
        store = Store(address, token)
        for index in range(SMALL // clients):
            store.ask("PUT", f"/{bucket}/{number}/{index}", b"x" * 1024)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return SMALL / (time.perf_counter() - start)


def ended(client: Client, name: str) -> bool:
    """Whether as many invocations have succeeded as there were objects."""
    path = f"/v2/{client.project_id}/fgs/functions/{name}/async-invocations?status=SUCCESS&marker={SMALL - 1}&limit=1"
    return bool(client.request("GET", path).json()["invocations"])


def main() -> None:
    address = f"127.0.0.1:{free_port()}"
    with node(obs_listen=address) as (_, client):
        results: dict[str, object] = {}
        store = Store(address, client.token)
        store.ask("PUT", "/quiet")
        for clients in CLIENTS:
            say(f"objects: {SMALL} objects of 1 KB, {clients} clients")
            results[f"puts_s_{clients}"] = round(put_many(address, client.token, "quiet", clients), 1)
        say(f"objects: one of {LARGE_MIB} MiB")
        data = b"x" * (LARGE_MIB << 20)
        start = time.perf_counter()
        store.ask("PUT", "/quiet/large", data)
        results["put_mib_s"] = round(LARGE_MIB / (time.perf_counter() - start), 1)
        start = time.perf_counter()
        store.ask("GET", "/quiet/large")
        results["get_mib_s"] = round(LARGE_MIB / (time.perf_counter() - start), 1)
        say(f"objects: {SMALL} objects of 1 KB in a bucket that a trigger follows")
        store.ask("PUT", "/followed")
        urn = client.deploy("objects", HANDLER)
        body = {"trigger_type_code": "OBS", "event_data": {"bucket": "followed", "events": ["Put"]}}
        client.request("POST", f"/v2/{client.project_id}/fgs/triggers/{urn}", body)
        start = time.perf_counter()
        put_many(address, client.token, "followed", 8)
        if not eventually(lambda: ended(client, "objects"), PATIENCE_S):
            raise RuntimeError("not all events came")
        results["events_s"] = round(SMALL / (time.perf_counter() - start), 1)
        report("objects", results)


if __name__ == "__main__":
    main()
