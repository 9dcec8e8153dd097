"""Requests to a published API against direct invocations of the same Python function, in one run.

The function gives the answer that the gateway asks for and looks at nothing. `apig_ratio` is for a small event by
direct invocation, `apig_ratio_same_event` for the event that the API makes of the request: the difference is what a
longer event costs the function's own process.
"""

import json

from bench.host import report, say
from bench.load import Target, as_dict, run_load
from bench.node import node, target

CONNECTIONS = 8
ROUNDS = 5
ANSWER = """\
def handler(event, context):
    return {"statusCode": 200, "isBase64Encoded": False, "headers": {"Content-Type": "application/json"}, "body": "{}"}
"""
EVENT = {"name": "fgd", "number": 1}
#: What the gateway makes of the request below.
SAME = {
    "body": "eyJuYW1lIjogImZnZCIsICJudW1iZXIiOiAxfQ==",
    "requestContext": {
        "apiId": "b5a5f0a2-3b6b-4b4e-9f4e-2f1d7f0a9c11",
        "requestId": "7f3b2f0d-5c1a-4e6b-8a9c-0d1e2f3a4b5c",
        "stage": "RELEASE",
        "sourceIp": "127.0.0.1",
    },
    "queryStringParameters": {},
    "httpMethod": "POST",
    "pathParameters": {},
    "headers": {
        "x-request-id": "7f3b2f0d-5c1a-4e6b-8a9c-0d1e2f3a4b5c",
        "host": "127.0.0.1:18320",
        "content-type": "application/json",
        "content-length": "28",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "127.0.0.1:18320",
        "x-forwarded-port": "18320",
        "x-forwarded-proto": "http",
    },
    "path": "/answer",
    "isBase64Encoded": True,
}


def main(seconds: float = 1.5) -> None:
    with node() as (daemon, client):
        urn = client.deploy("answer", ANSWER)
        made = client.request(
            "POST",
            f"/v2/{client.project_id}/fgs/triggers/{urn}",
            {"trigger_type_code": "APIG", "event_data": {"name": "API_answer", "auth": "NONE", "protocol": "HTTP"}},
        )
        path = "/" + made.json()["event_data"]["invoke_url"].split("/", 3)[3]
        targets = {
            "direct": target(daemon, client, urn, EVENT),
            "apig": Target(daemon.port, path, json.dumps(EVENT).encode(), (("Content-Type", "application/json"),)),
            "direct_same_event": target(daemon, client, urn, SAME),
        }
        for one in targets.values():
            run_load(one, CONNECTIONS, 1, daemon.cpu_s)
        # Turn by turn, for the host's speed changes from minute to minute.
        loads: dict[str, list[object]] = {name: [] for name in targets}
        rates = dict.fromkeys(targets, 0.0)
        cpu_us = dict.fromkeys(targets, 0.0)
        for number in range(ROUNDS):
            for name, one in targets.items():
                say(f"apig: {name}, {number + 1} of {ROUNDS}")
                load = run_load(one, CONNECTIONS, seconds, daemon.cpu_s)
                loads[name].append(as_dict(load))
                rates[name] += load.requests_s / ROUNDS
                cpu_us[name] += load.cpu_us / ROUNDS
    results: dict[str, object] = dict(loads)
    results |= {f"{name}_requests_s": round(rate, 1) for name, rate in rates.items()}
    results["apig_ratio"] = round(rates["apig"] / rates["direct"], 3)
    results["apig_ratio_same_event"] = round(rates["apig"] / rates["direct_same_event"], 3)
    results["cpu_ratio"] = round(cpu_us["apig"] / cpu_us["direct"], 3)
    report("apig", results)


if __name__ == "__main__":
    main()
