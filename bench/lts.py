"""Lines of 100 characters that clients report to one log stream: acknowledged, so on disk, per second."""

import gzip
import http.client
import threading
import time

from bench.host import report, say
from bench.node import node
from fgd.testing.client import Client

LINES = 5000
REQUESTS = 40
CLIENTS = 2


def make_stream(client: Client) -> str:
    """The id of a new stream of a new group."""
    groups = f"/v2/{client.project_id}/groups"
    group_id = client.request("POST", groups, {"log_group_name": "bench"}).json()["log_group_id"]
    made = client.request("POST", f"{groups}/{group_id}/streams", {"log_stream_name": "bench"})
    return str(made.json()["log_stream_id"])


def send(port: int, token: str, path: str, body: bytes, failed: list[int]) -> None:
    """One client's requests, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(REQUESTS):
        connection.request("POST", path, body, {"X-Auth-Token": token})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            failed.append(answer.status)
    connection.close()


def main() -> None:
    with node() as (daemon, client):
        path = f"/fgd/v1/projects/{client.project_id}/log-streams/{make_stream(client)}/lines"
        body = gzip.compress(b"".join(b"%0100d\n" % number for number in range(LINES)), 1)
        failed: list[int] = []
        send_all = [
            threading.Thread(target=send, args=(daemon.port, client.token, path, body, failed)) for _ in range(CLIENTS)
        ]
        say(f"lts: {CLIENTS} clients, {REQUESTS} requests each with {LINES} lines")
        before_cpu_s = daemon.cpu_s()
        start = time.perf_counter()
        for thread in send_all:
            thread.start()
        for thread in send_all:
            thread.join()
        lasted_s = time.perf_counter() - start
        total = CLIENTS * REQUESTS * LINES
        answer = client.request("GET", f"{path}?limit=1").json()
        report(
            "lts",
            {
                "lines": total,
                "lines_per_s": round(total / lasted_s, 1),
                "cpu_us_per_line": round((daemon.cpu_s() - before_cpu_s) / total * 1e6, 2),
                "failed": len(failed),
                "last": answer["lines"][0]["message"][-4:],
            },
        )


if __name__ == "__main__":
    main()
